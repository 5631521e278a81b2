#!/usr/bin/env bash
# A zstd layer of a hundred bytes that asks for 256 MiB, or 1 GiB: each reader has a limit of its own.
#
# Versions: zstd 1.5.4 and buildah 1.28.2 (Debian 12; 1.43.2 of Debian testing was seen to behave in the same way), zstandard
# 0.25.0 (Python), fzstd 0.1.1 (Node), zstd 0.13.3 and ruzstd 0.8.3 (Rust).
#
# Guess: the memory that a reader needs grows with what was compressed, so an option for large inputs does no harm to small
# ones; and a layer that one engine reads, others do, too.
#
# Behaviour: from a pipe (as `tar | zstd --long=28` is) zstd does not know the size, and writes the whole window of 2^28
# bytes into the frame's header, for ten kilobytes of input. Its own tool does not read that without the option, nor do
# Python's zstandard and Rust's zstd. buildah (with a reader in Go) takes it, and refuses 2^30, "window size exceeded"; fzstd
# and ruzstd take both. `--ultra -22` asks for 2^27, which all take.
#
# Why it matters: a layer that was made with --long to be small runs with one engine, and cannot be scanned, flattened or
# unpacked by tools beside it. --long=27 is the largest that is read everywhere.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for buildah" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download buildah=1.28.2+ds1-3+deb12u1+b3 zstd=1.5.4+dfsg2-5+deb12u1 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check zstandard==0.25.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install fzstd@0.1.1 >/dev/null
mkdir -p rust/src
cat >rust/Cargo.toml <<'C'
[package]
name = "read"
version = "0.1.0"
edition = "2021"
[dependencies]
ruzstd = "=0.8.3"
zstd = "=0.13.3"
C
cat >rust/src/main.rs <<'R'
use std::{env, fs, io};
fn main() {
    let data = fs::read(env::args().nth(1).unwrap()).unwrap();
    let say = |library: &str, read: bool| println!("  {library}: {}", if read { "reads it" } else { "refuses" });
    say("zstd (Rust)", zstd::decode_all(&data[..]).is_ok());
    let read = ruzstd::decoding::StreamingDecoder::new(&data[..]).is_ok_and(|mut from| io::copy(&mut from, &mut io::sink()).is_ok());
    say("ruzstd (Rust)", read);
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >read.py <<'P'
import sys, zstandard
data = open(sys.argv[1], "rb").read()
try:
    zstandard.ZstdDecompressor().stream_reader(data).read()
    print("  zstandard (Python): reads it")
except zstandard.ZstdError as error:
    print("  zstandard (Python): refuses")
P
cat >read.js <<'J'
try {
  require("fzstd").decompress(require("fs").readFileSync(process.argv[2]));
  console.log("  fzstd (Node): reads it");
} catch (error) {
  console.log("  fzstd (Node): refuses");
}
J
cat >layout.py <<'P'
import hashlib, json, os, sys
os.makedirs("layout/blobs/sha256", exist_ok=True)
def blob(data, media):
    digest = hashlib.sha256(data).hexdigest()
    open("layout/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": "application/vnd.oci.image." + media, "digest": "sha256:" + digest, "size": len(data)}
diff_id = "sha256:" + hashlib.sha256(open("layer.tar", "rb").read()).hexdigest()
config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": [blob(open("layer.zst", "rb").read(), "layer.v1.tar+zstd")]}
named = {**blob(json.dumps(manifest).encode(), "manifest.v1+json"), "annotations": {"org.opencontainers.image.ref.name": "t"}}
json.dump({"schemaVersion": 2, "manifests": [named]}, open("layout/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open("layout/oci-layout", "w"))
P
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
b() { LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple root/usr/bin/buildah --root "$tmp/storage" --runroot "$tmp/run" --storage-driver vfs "$@"; }
zstd=root/usr/bin/zstd
echo text >file
tar -cf layer.tar file
for options in '--ultra -22' --long=28 --long=30; do
  # shellcheck disable=SC2086 # two words
  $zstd -q $options -c <layer.tar >layer.zst
  echo "$options"
  $zstd -qdc layer.zst >out.tar 2>/dev/null && echo "  zstd: reads it" || echo "  zstd: refuses"
  v/bin/python read.py layer.zst
  target/debug/read layer.zst
  node read.js layer.zst
  python3 layout.py
  b from --signature-policy policy.json oci:layout:t >/dev/null 2>error.txt && echo "  buildah: reads it" || echo "  buildah: $(grep -o 'window size exceeded' error.txt | head -1)"
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
--ultra -22
  zstd: reads it
  zstandard (Python): reads it
  zstd (Rust): reads it
  ruzstd (Rust): reads it
  fzstd (Node): reads it
  buildah: reads it
--long=28
  zstd: refuses
  zstandard (Python): refuses
  zstd (Rust): refuses
  ruzstd (Rust): reads it
  fzstd (Node): reads it
  buildah: reads it
--long=30
  zstd: refuses
  zstandard (Python): refuses
  zstd (Rust): refuses
  ruzstd (Rust): reads it
  fzstd (Node): reads it
  buildah: window size exceeded
T
