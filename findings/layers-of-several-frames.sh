#!/usr/bin/env bash
# A layer of several gzip members or zstd frames: one library reads it whole or in part, by the function that is called.
#
# Versions: fflate 0.8.3 (Node), zstandard 0.25.0 (Python), flate2 1.1.9 and ruzstd 0.8.3 (Rust).
#
# Guess: a library reads several members or frames, or it does not and says that something is left over.
#
# Behaviour: of a layer that is the same tar in two pieces,
#   - fflate's `gunzipSync` gives the first piece, without an error, its `Gunzip` both;
#   - zstandard's `decompress`, `read_to_iter` and `decompressobj` give the first frame, `stream_reader` and `copy_stream`
#     both (though `read_across_frames` is false unless asked for);
#   - flate2's `GzDecoder` and ruzstd's `StreamingDecoder` stop after the first, flate2's `MultiGzDecoder` goes on.
# GNU tar lists what comes out of the first piece alone without complaint, since a tar may end without its two blocks of
# zeros.
#
# Why it matters: eStargz has a gzip member, and zstd:chunked a frame, for each file. With such a layer the wrong function
# finds the first file and nothing else; an ordinary layer works, so that no test shows it. An SBOM made so is short and
# looks complete.
set -euo pipefail
export LC_ALL=C
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check zstandard==0.25.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install fflate@0.8.3 >/dev/null
v/bin/python - <<'P'
import gzip, io, tarfile, zstandard
pieces = []
for name in ["one", "two"]:
    out = io.BytesIO()
    tar = tarfile.open(fileobj=out, mode="w")
    tar.addfile(tarfile.TarInfo(name))
    pieces.append(out.getvalue()[:tar.offset])
pieces[-1] += bytes(1024)
open("layer.gz", "wb").write(b"".join(gzip.compress(piece, mtime=0) for piece in pieces))
open("layer.zst", "wb").write(b"".join(zstandard.compress(piece) for piece in pieces))
P
cat >read.js <<'J'
const fflate = require("fflate"), fs = require("fs");
const layer = fs.readFileSync("layer.gz");
fs.writeFileSync("fflate gunzipSync", fflate.gunzipSync(layer));
const chunks = [], gunzip = new fflate.Gunzip(chunk => chunks.push(chunk));
gunzip.push(layer, true);
fs.writeFileSync("fflate Gunzip", Buffer.concat(chunks));
J
node read.js
v/bin/python - <<'P'
import io, zstandard
layer = open("layer.zst", "rb").read()
reader = zstandard.ZstdDecompressor
copied = io.BytesIO()
reader().copy_stream(io.BytesIO(layer), copied)
for name, content in {
    "decompress": reader().decompress(layer),
    "read_to_iter": b"".join(reader().read_to_iter(layer)),
    "decompressobj": reader().decompressobj().decompress(layer),
    "stream_reader": reader().stream_reader(layer).read(),
    "copy_stream": copied.getvalue(),
}.items():
    open("zstandard " + name, "wb").write(content)
P
mkdir -p rust/src
cat >rust/Cargo.toml <<'C'
[package]
name = "read"
version = "0.1.0"
edition = "2021"
[dependencies]
flate2 = "=1.1.9"
ruzstd = "=0.8.3"
C
cat >rust/src/main.rs <<'R'
use std::{fs, io::{self, Read}};
fn save(name: &str, mut from: impl Read) {
    io::copy(&mut from, &mut fs::File::create(name).unwrap()).unwrap();
}
fn main() {
    let (gz, zst) = (fs::read("layer.gz").unwrap(), fs::read("layer.zst").unwrap());
    save("flate2 GzDecoder", flate2::read::GzDecoder::new(&gz[..]));
    save("flate2 MultiGzDecoder", flate2::read::MultiGzDecoder::new(&gz[..]));
    save("ruzstd StreamingDecoder", ruzstd::decoding::StreamingDecoder::new(&zst[..]).unwrap());
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
target/debug/read
for library in fflate zstandard flate2 ruzstd; do
  for out in "$library "*; do echo "$out: $(tar -tf "$out" | tr '\n' ' ')"; done
done >seen.txt
echo "gzip -d: $(gzip -dc layer.gz | tar -t | tr '\n' ' ')" >>seen.txt
cat seen.txt
diff - seen.txt <<'T'
fflate Gunzip: one two 
fflate gunzipSync: one 
zstandard copy_stream: one two 
zstandard decompress: one 
zstandard decompressobj: one 
zstandard read_to_iter: one 
zstandard stream_reader: one two 
flate2 GzDecoder: one 
flate2 MultiGzDecoder: one two 
ruzstd StreamingDecoder: one 
gzip -d: one two 
T
