#!/usr/bin/env bash
# One layout, two kinds of manifests: skopeo does not see the one of Docker's, and umoci's gc takes its blobs away.
#
# Versions: umoci 0.4.7, skopeo 1.9.3 (Debian 12). umoci 0.6.0 (Debian testing) was seen to behave in the same way; skopeo
# 1.22.0 reads such images, so that they work there until the collection.
#
# Guess: index.json of an image layout may name a manifest of Docker's media type (the specification leaves the media type
# open). skopeo reads both kinds everywhere else; a garbage collection keeps what the index leads to, or refuses.
#
# Behaviour: skopeo says that there is `no descriptor found for reference`, though the reference is there. `umoci ls` lists
# it, `umoci gc` takes its manifest for a blob that leads nowhere, and deletes its config and layers without a word.
#
# Why it matters: tools that copy without conversion (so that digests and signatures hold) write such layouts. One `umoci gc`
# after a change of another image of the layout, and the image is a manifest alone.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download umoci=0.4.7+ds-3+b7 skopeo=1.9.3+ds1-1+b10 libgpgme11 libassuan0 libdevmapper1.02.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
cat >make.py <<'P'
import hashlib, io, json, os, tarfile
kinds = {
    "oci": ["application/vnd.oci.image." + end for end in ["manifest.v1+json", "config.v1+json", "layer.v1.tar"]],
    "docker": ["application/vnd.docker." + end for end in
               ["distribution.manifest.v2+json", "container.image.v1+json", "image.rootfs.diff.tar"]],
}
os.makedirs("layout/blobs/sha256")
def blob(data, media):
    digest = hashlib.sha256(data).hexdigest()
    open("layout/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": media, "digest": "sha256:" + digest, "size": len(data)}
named = []
for name, (manifest, config, layer) in kinds.items():
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        out.addfile(tarfile.TarInfo(name))
    layers = [blob(tar.getvalue(), layer)]
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [l["digest"] for l in layers]}}
    whole = {"schemaVersion": 2, "mediaType": manifest, "config": blob(json.dumps(document).encode(), config), "layers": layers}
    named.append({**blob(json.dumps(whole).encode(), manifest), "annotations": {"org.opencontainers.image.ref.name": name}})
json.dump({"schemaVersion": 2, "manifests": named}, open("layout/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open("layout/oci-layout", "w"))
P
cat >whole.py <<'P'
import json, os
has = lambda d: os.path.exists("layout/blobs/sha256/" + d["digest"][7:])
for named in json.load(open("layout/index.json"))["manifests"]:
    name = named["annotations"]["org.opencontainers.image.ref.name"]
    manifest = json.load(open("layout/blobs/sha256/" + named["digest"][7:]))
    print(f"  {name}: config {has(manifest['config'])}, layer {has(manifest['layers'][0])}")
P
python3 make.py
{
  for image in oci docker; do
    echo "skopeo inspect $image: $(root/usr/bin/skopeo --insecure-policy inspect --raw oci:layout:$image 2>&1 |
      python3 -c 'import re, sys; text = sys.stdin.read(); print(re.search(r"no descriptor found for reference|\"schemaVersion\"", text)[0])')"
  done
  echo "umoci ls: $(root/usr/bin/umoci ls --layout layout | sort | tr '\n' ' ')"
  echo "before umoci gc:"; python3 whole.py
  root/usr/bin/umoci gc --layout layout 2>&1
  echo "after umoci gc:"; python3 whole.py
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
skopeo inspect oci: "schemaVersion"
skopeo inspect docker: no descriptor found for reference
umoci ls: docker oci 
before umoci gc:
  oci: config True, layer True
  docker: config True, layer True
after umoci gc:
  oci: config True, layer True
  docker: config False, layer False
T
