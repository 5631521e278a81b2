#!/usr/bin/env bash
# A hard link to a file of a lower layer: fine, or no image at all, by buildah's storage driver.
#
# Versions: umoci 0.4.7, buildah 1.28.2 (Debian 12); umoci 0.6.0 and buildah 1.43.2 (Debian testing) were seen to behave in
# the same way.
#
# Guess: an entry of type "hard link" may name what is below, as entries of any other type may lie in directories that are
# below: layers are applied one after another.
#
# Behaviour: umoci and buildah's vfs make the link: both names are one file (2 links). With overlay, the same buildah refuses
# the image, "no such file or directory": the layer is unpacked where nothing lower is. The image can neither be run nor
# mounted.
#
# Why it matters: it is the obvious way to give a file of the base a second name without storing it twice, and such a layer
# passes every check that looks at media types, digests and DiffIDs. A layer must bring the content again.
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
def layer(name, link=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        if link:
            info.type, info.linkname = tarfile.LNKTYPE, link
        tar.addfile(info)
    return blob(out.getvalue(), "layer.v1.tar")
named = []
for name, layers in {"file": [layer("first"), layer("second")], "link": [layer("first"), layer("second", "first")]}.items():
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [l["digest"] for l in layers]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": layers}
    named.append({**blob(json.dumps(manifest).encode(), "manifest.v1+json"), "annotations": {"org.opencontainers.image.ref.name": name}})
json.dump({"schemaVersion": 2, "manifests": named}, open("layout/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open("layout/oci-layout", "w"))
P
links() { (cd "$1" && find . -type f -printf '%P has %n\n' | sort | paste -sd, | sed 's/,/, /'); }
for image in file link; do
  root/usr/bin/umoci unpack --image layout:$image bundle-$image >/dev/null 2>&1
  echo "a $image in the second layer, umoci: $(links bundle-$image/rootfs)"
  for how in vfs overlay; do
    if container=$(b $how from --signature-policy policy.json oci:layout:$image 2>error.txt); then
      echo "a $image in the second layer, $how: $(links "$(b $how mount "$container")")"
    else
      echo "a $image in the second layer, $how: $(grep -o 'no such file or directory' error.txt | head -1)"
    fi
  done
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
a file in the second layer, umoci: first has 1, second has 1
a file in the second layer, vfs: first has 1, second has 1
a file in the second layer, overlay: first has 1, second has 1
a link in the second layer, umoci: first has 2, second has 2
a link in the second layer, vfs: first has 2, second has 2
a link in the second layer, overlay: no such file or directory
T
