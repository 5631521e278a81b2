#!/usr/bin/env bash
# tar-stream writes every large user and group as 262143, and does not read those of pax records.
#
# Version: tar-stream 3.2.2 (Node), beside GNU tar and Python's tarfile.
#
# Guess: a numeric user goes as far as the header does (2097151, seven octal digits), and beyond that there is a pax record
# or an error, as with sizes and long names, for which tar-stream writes such records.
#
# Behaviour: pack() writes 262143 (six octal digits of ones) for 262144 and all above, without an error. extract() does not
# apply `uid` and `gid` of pax records, in which others write what is too large: header.uid is what the ustar header has
# instead, 0 for Python's. (GNU's binary numbers are read as they should be.)
#
# Why it matters: files of a layer written with this library belong to somebody else, where users are given by large numbers:
# OpenShift's projects (1000650000 and on), directory services, subordinate users of rootless engines. Small numbers, as all
# tests have, are right.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm --silent --no-audit --no-fund install tar-stream@3.2.2 >/dev/null
cat >write.js <<'J'
const tar = require("tar-stream"), fs = require("fs");
const pack = tar.pack();
for (const id of [262143, 262144, 1000650000]) pack.entry({ name: String(id), uid: id, gid: id }, "");
pack.finalize();
pack.pipe(fs.createWriteStream("written.tar"));
J
node write.js
python3 - <<'P'
import tarfile
for name, kind in {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}.items():
    with tarfile.open(name + ".tar", "w", format=kind) as tar:
        info = tarfile.TarInfo("1000650000")
        info.uid = info.gid = 1000650000
        tar.addfile(info)
P
cat >read.js <<'J'
const tar = require("tar-stream"), fs = require("fs");
const extract = tar.extract();
extract.on("entry", (header, body, next) => {
  console.log(`  tar-stream: ${header.uid}/${header.gid}, pax: ${header.pax ? header.pax.uid : "none"}`);
  body.on("end", next).resume();
});
fs.createReadStream(process.argv[2]).pipe(extract);
J
{
  echo "written by tar-stream, read by GNU tar:"
  tar --numeric-owner -tvf written.tar | awk '{ print "  " $NF ": " $2 }'
  for kind in pax gnu; do
    echo "written by Python ($kind):"
    tar --numeric-owner -tvf $kind.tar | awk '{ print "  GNU tar: " $2 }'
    node read.js $kind.tar
  done
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
written by tar-stream, read by GNU tar:
  262143: 262143/262143
  262144: 262143/262143
  1000650000: 262143/262143
written by Python (pax):
  GNU tar: 1000650000/1000650000
  tar-stream: 0/0, pax: 1000650000
written by Python (gnu):
  GNU tar: 1000650000/1000650000
  tar-stream: 1000650000/1000650000, pax: none
T
