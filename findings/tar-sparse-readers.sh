#!/usr/bin/env bash
# A sparse file in a tar becomes another file, under another name, or none, for libraries that unpack images' archives.
#
# Versions: tar (Node) 7.5.23, tar-stream 3.2.2 (Node), tar 0.4.46 (Rust), beside GNU tar and Python's tarfile.
#
# Guess: a library restores a sparse file, as GNU tar, Python and Go do, or fails on one.
#
# Behaviour: of `disk`, 300,003 bytes, most of them a hole,
#   - as `tar --sparse --format=posix` writes it, both Node libraries and Rust's tar bring a file `GNUSparseFile.N/disk` of a
#     few thousand bytes: the map of the holes as text, and the data without them;
#   - as `tar --sparse --format=gnu` writes it, Rust's tar restores it; tar (Node) passes it over; tar-stream tells no type
#     of entry, and the data without the holes.
# None of them says a word.
#
# Why it matters: root file systems and disk images that ADD unpacks, and archives for offline machines, are made with
# --sparse; a database's preallocated file comes out short, with the same bytes at other places, and its checksums fail much
# later.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm --silent --no-audit --no-fund install tar@7.5.23 tar-stream@3.2.2 >/dev/null
truncate -s 300000 disk
printf middle | dd of=disk bs=1 seek=200000 conv=notrunc status=none
printf end >>disk
for format in gnu posix; do tar --sparse --hole-detection=raw --format=$format -cf $format.tar disk; done
cat >read.js <<'J'
const crypto = require("crypto"), fs = require("fs"), stream = require("tar-stream"), tar = require("tar");
const archive = process.argv[2];
const say = (library, name, type, data) => {
  const sum = crypto.createHash("sha256").update(data).digest("hex");
  console.log(`${library}: ${name}, ${type}, ${data.length} bytes, ${sum === process.argv[3] ? "the same" : "other"} content`);
};
const collect = (entry, done) => {
  const chunks = [];
  entry.on("data", chunk => chunks.push(chunk));
  entry.on("end", () => done(Buffer.concat(chunks)));
};
let entries = 0;
tar.t({ file: archive, sync: true, strict: true, onReadEntry: entry => {
  entries += 1;
  collect(entry, data => say("tar (Node)", entry.path, entry.type, data));
} });
if (!entries) console.log("tar (Node): no entry, no error");
const extract = stream.extract();
extract.on("entry", (header, body, next) => collect(body, data => { say("tar-stream", header.name, header.type, data); next(); }));
fs.createReadStream(archive).pipe(extract);
J
mkdir -p rust/src
cat >rust/Cargo.toml <<'C'
[package]
name = "read"
version = "0.1.0"
edition = "2021"
[dependencies]
tar = "=0.4.46"
C
cat >rust/src/main.rs <<'R'
use std::{env, fs, io::Read};
fn main() {
    let [archive, original] = [1, 2].map(|at| env::args().nth(at).unwrap());
    let original = fs::read(original).unwrap();
    for entry in tar::Archive::new(fs::File::open(archive).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        let same = if data == original { "the same" } else { "other" };
        println!("tar (Rust): {name}, {:?}, {} bytes, {same} content", entry.header().entry_type(), data.len());
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
sum=$(sha256sum disk | cut -d' ' -f1)
for format in gnu posix; do
  echo "== $format"
  python3 - "$format.tar" <<'P'
import sys, tarfile
tar = tarfile.open(sys.argv[1])
for entry in tar:
    data = tar.extractfile(entry).read()
    same = "the same" if data == open("disk", "rb").read() else "other"
    print(f"tarfile (Python): {entry.name}, {len(data)} bytes, {same} content")
P
  node read.js $format.tar "$sum" 2>&1
  target/debug/read $format.tar disk
done | sed -E 's/GNUSparseFile\.[0-9]+/GNUSparseFile.N/; s/ [0-9]{3,4} bytes/ fewer bytes/' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
== gnu
tarfile (Python): disk, 300003 bytes, the same content
tar (Node): no entry, no error
tar-stream: disk, null, fewer bytes, other content
tar (Rust): disk, GNUSparse, 300003 bytes, the same content
== posix
tarfile (Python): disk, 300003 bytes, the same content
tar (Node): ./GNUSparseFile.N/disk, File, fewer bytes, other content
tar-stream: ./GNUSparseFile.N/disk, file, fewer bytes, other content
tar (Rust): ./GNUSparseFile.N/disk, Regular, fewer bytes, other content
T
