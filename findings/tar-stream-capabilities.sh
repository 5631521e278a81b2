#!/usr/bin/env bash
# tar-stream loses file capabilities that its reader and writer pass on.
#
# Version: tar-stream 3.1.7 (Node).
#
# Guess: what extract() gives as header.pax and pack() takes as header.pax comes out as it went in.
#
# Behaviour: the values of pax records are decoded as UTF-8. An extended attribute is bytes: each byte of 0x80 and above
# becomes U+FFFD, three bytes long. `security.capability` with cap_setuid (bit 7) is no longer one; with capabilities
# below bit 7 alone it survives, so that tests with `ping` pass.
#
# Why it matters: tools that rewrite layers entry by entry (squash, slim, sign, patch) with this library ship programs whose
# capabilities cannot be set any more, which unpacking may report or pass over.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm --silent --no-audit --no-fund install tar-stream@3.1.7 >/dev/null
cat >make.py <<'P'
import tarfile, io, sys
out = tarfile.open("in.tar", "w", format=tarfile.PAX_FORMAT)
for name, bits in [("raw", 0x2000), ("setuid", 0x80)]:
    value = (0x02000001).to_bytes(4, "little") + bits.to_bytes(4, "little") + bytes(12)
    info = tarfile.TarInfo(name)
    info.pax_headers = {"SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")}
    out.addfile(info)
out.close()
P
python3 make.py
cat >copy.js <<'J'
const tar = require("tar-stream"), fs = require("fs");
const into = tar.pack(), from = tar.extract();
from.on("entry", (header, stream, next) => stream.pipe(into.entry(header, next)));
from.on("finish", () => into.finalize());
fs.createReadStream("in.tar").pipe(from);
into.pipe(fs.createWriteStream("out.tar"));
J
node copy.js
python3 - >seen.txt <<'P'
import tarfile
for archive in ["in.tar", "out.tar"]:
    for entry in tarfile.open(archive):
        value = entry.pax_headers.get("SCHILY.xattr.security.capability", "").encode("utf-8", "surrogateescape")
        print(archive, entry.name, len(value), value.hex())
P
cat seen.txt
diff - seen.txt <<'T'
in.tar raw 20 0100000200200000000000000000000000000000
in.tar setuid 20 0100000280000000000000000000000000000000
out.tar raw 20 0100000200200000000000000000000000000000
out.tar setuid 22 01000002efbfbd000000000000000000000000000000
T
