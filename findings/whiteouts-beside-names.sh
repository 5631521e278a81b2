#!/usr/bin/env bash
# A whiteout beside what it names, in one layer: the order of two entries decides, and each tool decides otherwise.
#
# Versions: umoci 0.4.7, buildah 1.28.2 (Debian 12) with its drivers vfs and overlay; umoci 0.6.0 and buildah 1.43.2 (Debian
# testing) were seen to behave in the same way.
#
# Guess: the image specification says that a whiteout hides only what lower layers have. So `.wh.a` beside a new `a` in one
# layer is the new `a`, whichever entry comes first; and `.wh.d` with a new directory `d` is the new directory alone.
#
# Behaviour:
#   - `a`, then `.wh.a`: umoci has the new `a`; buildah with vfs has no `a`; buildah with overlay refuses the image ("file
#     exists"). The other way round all have the new one.
#   - `.wh.d`, then `d/` with a new file: umoci and vfs have the new file alone; with overlay all files of the lower `d` are
#     there again, because the directory takes the whiteout's place and is not made opaque.
#
# Why it matters: what "replaces a directory" in a layer is best written as an opaque directory (`d/.wh..wh..opq`), on which
# all agree, wherever it stands; and of a path there should be either an entry or a whiteout. Tools that merge layers and
# append both get images that differ by the reader.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for the overlay mount" >&2; exit 2; }
tmp=$(mktemp -d)
cleanup() {
  for d in vfs overlay; do b "$d" umount -a >/dev/null 2>&1 || :; umount "$tmp/$d/overlay" 2>/dev/null || :; done
  rm -rf "$tmp"
}
trap cleanup EXIT
cd "$tmp"
apt-get -qq download buildah=1.28.2+ds1-3+deb12u1+b3 umoci=0.4.7+ds-3+b7 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
b() { local d=$1; shift; root/usr/bin/buildah --root "$tmp/$d" --runroot "$tmp/$d.run" --storage-driver "$d" "$@"; }
python3 - <<'P'
import hashlib, io, json, os, tarfile
os.makedirs("layout/blobs/sha256")
def blob(data, media):
    digest = hashlib.sha256(data).hexdigest()
    open("layout/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": "application/vnd.oci.image." + media, "digest": "sha256:" + digest, "size": len(data)}
def layer(content, *names):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name.rstrip("/"))
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return blob(out.getvalue(), "layer.v1.tar")
lower = layer(b"lower", "a", "d/", "d/old")
images = {
    "whiteout-after-file": layer(b"upper", "a", ".wh.a"),
    "whiteout-before-file": layer(b"upper", ".wh.a", "a"),
    "whiteout-before-directory": layer(b"upper", ".wh.d", "d/", "d/new"),
    "opaque-after": layer(b"upper", "d/", "d/new", "d/.wh..wh..opq"),
}
named = []
for name, upper in images.items():
    layers = [lower, upper]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [l["digest"] for l in layers]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": layers}
    named.append({**blob(json.dumps(manifest).encode(), "manifest.v1+json"), "annotations": {"org.opencontainers.image.ref.name": name}})
json.dump({"schemaVersion": 2, "manifests": named}, open("layout/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open("layout/oci-layout", "w"))
P
files() { (cd "$1" && find . -type f -printf '%P\n' | sort | while read -r name; do printf '%s (%s) ' "$name" "$(cat "$name")"; done); }
for image in whiteout-after-file whiteout-before-file whiteout-before-directory opaque-after; do
  echo "$image"
  root/usr/bin/umoci unpack --image layout:$image bundle-$image >/dev/null 2>&1
  echo "  umoci: $(files bundle-$image/rootfs)"
  for how in vfs overlay; do
    if container=$(b $how from --signature-policy policy.json oci:layout:$image 2>error.txt); then
      echo "  $how: $(files "$(b $how mount "$container")")"
    else
      echo "  $how: $(grep -o 'file exists' error.txt | head -1)"
    fi
  done
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
whiteout-after-file
  umoci: a (upper) d/old (lower) 
  vfs: d/old (lower) 
  overlay: file exists
whiteout-before-file
  umoci: a (upper) d/old (lower) 
  vfs: a (upper) d/old (lower) 
  overlay: a (upper) d/old (lower) 
whiteout-before-directory
  umoci: a (lower) d/new (upper) 
  vfs: a (lower) d/new (upper) 
  overlay: a (lower) d/new (upper) d/old (lower) 
opaque-after
  umoci: a (lower) d/new (upper) 
  vfs: a (lower) d/new (upper) 
  overlay: a (lower) d/new (upper) 
T
