#!/usr/bin/env bash
# `skopeo copy` from one image layout to another makes another image where layers are not compressed, and drops what it says of them.
#
# Version: skopeo 1.9.3 (Debian 12); 1.22.0 (Debian testing) was seen to behave in the same way, but for `artifactType`, which it keeps.
#
# Guess: a copy between two places of one kind, without an option, has the digest of the original.
#
# Behaviour: layers without compression are compressed by gzip on their way. So the manifest is another one; annotations of
# layers are not in it, and in 1.9.3 no `artifactType` either, while `subject` and the manifest's own annotations stay. What the
# index has of the image beside its tag (annotations, platform) is dropped with compressed layers too. With `--preserve-digests` the
# manifest is the same.
#
# Why it matters: umoci and buildah write layers without compression if they are told to, which is good for comparing and for disks
# that compress. References by digest, signatures and referrers of such an image do not lead to its copy.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download skopeo=1.9.3+ds1-1+b10 libgpgme11 libassuan0 libdevmapper1.02.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
skopeo() { LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple root/usr/bin/skopeo --insecure-policy "$@"; }
cat >make.py <<'P'
import gzip, hashlib, io, json, os, tarfile
oci = "application/vnd.oci.image."
def make(layout, compress):
    os.makedirs(f"{layout}/blobs/sha256")
    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        open(f"{layout}/blobs/sha256/{digest}", "wb").write(data)
        return {"digest": "sha256:" + digest, "size": len(data)}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    layer = file.getvalue()
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}
    stored = gzip.compress(layer, mtime=0) if compress else layer
    manifest = {
        "schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "artifactType": "application/vnd.example.app",
        "config": {"mediaType": oci + "config.v1+json", **blob(json.dumps(config).encode())},
        "layers": [{"mediaType": oci + "layer.v1.tar" + ("+gzip" if compress else ""), **blob(stored), "annotations": {"org.example.of": "layer"}}],
        "subject": {"mediaType": oci + "manifest.v1+json", "digest": "sha256:" + "a" * 64, "size": 2},
        "annotations": {"org.example.of": "manifest"}}
    named = {"mediaType": oci + "manifest.v1+json", **blob(json.dumps(manifest).encode()), "platform": {"architecture": "amd64", "os": "linux"},
             "annotations": {"org.opencontainers.image.ref.name": "tag", "org.example.of": "descriptor"}}
    json.dump({"schemaVersion": 2, "manifests": [named]}, open(f"{layout}/index.json", "w"))
    open(f"{layout}/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
make("plain", False)
make("compressed", True)
P
python3 make.py
cat >compare.py <<'P'
import json, sys
def of(layout):
    named, = json.load(open(layout + "/index.json"))["manifests"]
    return named, json.load(open(f"{layout}/blobs/{named['digest'].replace(':', '/')}"))
(a, before), (b, after) = of(sys.argv[1]), of("copy")
lost = [name for name in before if name not in after] + [f"layers' {name}" for name in before["layers"][0] if name not in after["layers"][0]]
gone = [name for name in [*a, *a["annotations"]] if name not in b and name not in b["annotations"]]
print(f"{sys.argv[1]}{sys.argv[2]}: {'the same digest' if a['digest'] == b['digest'] else 'another digest'},",
      after["layers"][0]["mediaType"].rsplit(".", 1)[1] + ";", "not in the manifest:", ", ".join(lost) or "nothing", end="; ")
print("not in the index:", ", ".join(gone) or "nothing")
P
for case in 'plain ' 'plain --preserve-digests' 'compressed '; do
  read -r layout option <<<"$case"
  rm -rf copy
  # shellcheck disable=SC2086 # one option or none
  skopeo copy -q $option oci:"$layout":tag oci:copy:tag >/dev/null
  python3 compare.py "$layout" "${option:+ with $option}"
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
plain: another digest, tar+gzip; not in the manifest: artifactType, layers' annotations; not in the index: platform, org.example.of
plain with --preserve-digests: the same digest, tar; not in the manifest: nothing; not in the index: platform, org.example.of
compressed: the same digest, tar+gzip; not in the manifest: nothing; not in the index: platform, org.example.of
T
