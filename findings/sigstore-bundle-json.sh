#!/usr/bin/env bash
# The JSON of one Sigstore bundle is a bundle, none, or another signature, by library, where it is written in another form that is valid.
#
# Versions: @sigstore/bundle 5.0.1 and @sigstore/protobuf-specs 0.5.2 (Node), sigstore-protobuf-specs 0.5.2 (Python).
#
# Guess: a bundle is a message of protobuf in JSON, and for that protobuf's documentation says what each reader has to take: names as
# `logIndex` or as `log_index`, bytes in base64 of either alphabet, with padding or without, numbers of 64 bits as text or as numbers.
#
# Behaviour:
#   - With names as in the .proto files (`media_type`), Node's reader of messages gives an empty one, without a word, and
#     @sigstore/bundle says that the bundle is invalid.
#   - With bytes in base64url, Python's library leaves out each `-` and `_`, and so the signature is another one, or it fails where the
#     length is wrong then. Without padding it fails, too.
#   - 64 bits as numbers, an enumeration as a number and null as nothing are read by both.
#
# Why it matters: tools in other languages write what their protobuf writes when it is told to keep names, or another base64. What
# was signed well is reported as a wrong signature.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null
v/bin/pip -q install --disable-pip-version-check sigstore-protobuf-specs==0.5.2 >/dev/null 2>&1
npm --silent --no-audit --no-fund install @sigstore/bundle@5.0.1 @sigstore/protobuf-specs@0.5.2 >/dev/null
cat >make.py <<'P'
import base64, json, re
signature, certificate = bytes([251, 255, 191, 1, 2, 3]), bytes([251, 1, 2])
base = lambda value: base64.b64encode(value).decode()
text = lambda value: base(value.encode())
entry = {"logIndex": "5", "logId": {"keyId": text("key")}, "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
         "integratedTime": "1700000000", "inclusionPromise": {"signedEntryTimestamp": text("set")}, "canonicalizedBody": text("body"),
         "inclusionProof": {"logIndex": "5", "rootHash": text("root"), "treeSize": "6", "hashes": [], "checkpoint": {"envelope": "e"}}}
plain = json.dumps({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                    "verificationMaterial": {"certificate": {"rawBytes": base(certificate)}, "tlogEntries": [entry]},
                    "messageSignature": {"messageDigest": {"algorithm": "SHA2_256", "digest": text("digest")}, "signature": base(signature)}})
forms = {
    "as most write it": plain,
    "log_index": re.sub(r'"(\w+)":', lambda key: '"' + re.sub("[A-Z]", lambda c: "_" + c[0].lower(), key[1]) + '":', plain),
    "numbers": re.sub(r'"(\d+)"', r"\1", plain).replace('"SHA2_256"', "1"),
    "null": plain.replace('{"certificate"', '{"timestampVerificationData": null, "certificate"'),
    "base64url": plain.replace(base(signature), base64.urlsafe_b64encode(signature).decode()),
    "base64url of another length": plain.replace(base(certificate), base64.urlsafe_b64encode(certificate).decode()),
    "no padding": plain.replace(text("key"), text("key").rstrip("=")).replace(text("root"), text("root").rstrip("=")),
}
for form, document in forms.items():
    json.loads(document)
    print(f"{form}\t{document}")
P
python3 make.py >forms.txt
cat >of.js <<'J'
const { bundleFromJSON } = require("@sigstore/bundle");
const { Bundle } = require("@sigstore/protobuf-specs");
const told = (signature, entries) =>
  signature ? `signature ${Buffer.from(signature).toString("hex")}, log index ${entries[0].logIndex}` : "an empty message";
for (const line of require("fs").readFileSync("forms.txt", "utf8").trimEnd().split("\n")) {
  const document = JSON.parse(line.split("\t")[1]);
  const read = Bundle.fromJSON(document);
  let said;
  try {
    const bundle = bundleFromJSON(document);
    said = told(bundle.content.messageSignature.signature, bundle.verificationMaterial.tlogEntries);
  } catch (error) { said = error.message; }
  const message = told(read.content?.messageSignature.signature, read.verificationMaterial?.tlogEntries);
  console.log(`  @sigstore/protobuf-specs: ${message}\t  @sigstore/bundle: ${said}`);
}
J
cat >of.py <<'P'
import binascii, json
from sigstore_protobuf_specs.dev.sigstore.bundle.v1 import Bundle
for line in open("forms.txt"):
    try:
        read = Bundle.from_dict(json.loads(line.split("\t")[1]))
        said = f"signature {read.message_signature.signature.hex()}, log index {read.verification_material.tlog_entries[0].log_index}"
    except binascii.Error as error:
        said = f"binascii.Error, {error}"
    print(f"  sigstore-protobuf-specs: {said}")
P
paste <(cut -f1 forms.txt) <(node of.js) <(v/bin/python of.py) | tr '\t' '\n' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
as most write it
  @sigstore/protobuf-specs: signature fbffbf010203, log index 5
  @sigstore/bundle: signature fbffbf010203, log index 5
  sigstore-protobuf-specs: signature fbffbf010203, log index 5
log_index
  @sigstore/protobuf-specs: an empty message
  @sigstore/bundle: invalid bundle
  sigstore-protobuf-specs: signature fbffbf010203, log index 5
numbers
  @sigstore/protobuf-specs: signature fbffbf010203, log index 5
  @sigstore/bundle: signature fbffbf010203, log index 5
  sigstore-protobuf-specs: signature fbffbf010203, log index 5
null
  @sigstore/protobuf-specs: signature fbffbf010203, log index 5
  @sigstore/bundle: signature fbffbf010203, log index 5
  sigstore-protobuf-specs: signature fbffbf010203, log index 5
base64url
  @sigstore/protobuf-specs: signature fbffbf010203, log index 5
  @sigstore/bundle: signature fbffbf010203, log index 5
  sigstore-protobuf-specs: signature 010203, log index 5
base64url of another length
  @sigstore/protobuf-specs: signature fbffbf010203, log index 5
  @sigstore/bundle: signature fbffbf010203, log index 5
  sigstore-protobuf-specs: binascii.Error, Incorrect padding
no padding
  @sigstore/protobuf-specs: signature fbffbf010203, log index 5
  @sigstore/bundle: signature fbffbf010203, log index 5
  sigstore-protobuf-specs: binascii.Error, Incorrect padding
T
