#!/usr/bin/env bash
# Canonical JSON of in-toto need not be JSON, and is not the canonical JSON of others.
#
# Versions: securesystemslib 1.6.0 (Python; used by in-toto and TUF), canonicalize 4.0.0 (Node; RFC 8785).
#
# Guess: both write the one form of a document that has its keys sorted and no spaces, so what one signs the other can check;
# and what comes out can be read as JSON.
#
# Behaviour: securesystemslib's form (of OLPC) escapes only `"` and `\`: a line feed in a text is written as it is, which
# JSON does not allow, and Python's own json refuses it. RFC 8785 writes `\n`. Keys are sorted by code point in one and by
# UTF-16 unit in the other, so an emoji and a letter of U+FB33 change places. A fraction is an error for the first.
#
# Why it matters: classic link metadata of in-toto has the output of commands, whose lines end in line feeds; so ordinary
# links are affected. A verifier in another language that takes "canonical JSON" for the RFC finds every such signature
# wrong, and those of tests right.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check securesystemslib==1.6.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install canonicalize@4.0.0 >/dev/null
cat >documents.json <<'J'
[{"b": "text", "a": 1}, {"stdout": "done\n"}, {"\ufb33": 1, "\ud83d\ude00": 2}]
J
cat >write.py <<'P'
import json
from securesystemslib.formats import encode_canonical
for document in json.load(open("documents.json")):
    text = encode_canonical(document)
    try:
        again = "read back as JSON" if json.loads(text) == document else "other"
    except ValueError as error:
        again = f"not JSON: {error}"
    print(f"securesystemslib: {len(text.encode())} bytes, {text.encode().hex()[-12:]} at the end,", again)
P
cat >write.mjs <<'J'
import canonicalize from "canonicalize";
import { readFileSync } from "node:fs";
for (const document of JSON.parse(readFileSync("documents.json", "utf8"))) {
  const bytes = Buffer.from(canonicalize(document));
  console.log(`canonicalize: ${bytes.length} bytes, ${bytes.toString("hex").slice(-12)} at the end`);
}
J
{ v/bin/python write.py; node write.mjs; } >seen.txt
cat seen.txt
diff - seen.txt <<'T'
securesystemslib: 18 bytes, 74657874227d at the end, read back as JSON
securesystemslib: 18 bytes, 6f6e650a227d at the end, not JSON: Invalid control character at: line 1 column 16 (char 15)
securesystemslib: 18 bytes, 9880223a327d at the end, read back as JSON
canonicalize: 18 bytes, 74657874227d at the end
canonicalize: 19 bytes, 6e655c6e227d at the end
canonicalize: 18 bytes, acb3223a317d at the end
T
