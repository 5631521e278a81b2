#!/usr/bin/env bash
# skopeo finds no image for amd64 in an index of amd64/v1, and takes one that needs a feature which it does not have.
#
# Version: skopeo 1.9.3 (Debian 12); 1.22.0 (Debian testing) was seen to behave in the same way.
#
# Guess: amd64 without a variant is v1, as the lowest there is; who runs a higher variant runs the lower ones, as with 32-bit arm;
# and an entry with `os.features`, each of which the image specification calls mandatory, is passed over by whoever does not
# know them.
#
# Behaviour: an index whose only entry is amd64/v1 has nothing for amd64. A variant that is asked for takes itself or an entry
# without one, and lower ones for 32-bit arm alone: v4 of amd64 does not take v3, and v9 of arm64 not v8, which is the usual one. An entry
# with `os.features` is taken like any other if it is the first.
#
# Why it matters: an index whose entries say v1, which is what they are, is no image on most machines. What is layered for another kind
# of host (EROFS) is taken instead of the ordinary image beside it.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download skopeo=1.9.3+ds1-1+b10 libgpgme11 libassuan0 libdevmapper1.02.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
cat >make.py <<'P'
import hashlib, json, os, shutil, sys
oci = "application/vnd.oci.image."
shutil.rmtree("layout", ignore_errors=True)
os.makedirs("layout/blobs/sha256")
def blob(kind, document):
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    open("layout/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": f"{oci}{kind}.v1+json", "digest": "sha256:" + digest, "size": len(data)}
entries = []
for text in sys.argv[1:]:
    platform, _, feature = text.partition("+")
    architecture, _, variant = platform.partition("/")
    config = {"architecture": architecture, "os": "linux", "config": {"Labels": {"of": text}}, "rootfs": {"type": "layers", "diff_ids": []}}
    manifest = {"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": blob("config", config), "layers": []}
    platform = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {}), **({"os.features": [feature]} if feature else {})}
    entries.append({**blob("manifest", manifest), "platform": platform})
index = blob("index", {"schemaVersion": 2, "mediaType": oci + "index.v1+json", "manifests": entries})
json.dump({"schemaVersion": 2, "manifests": [{**index, "annotations": {"org.opencontainers.image.ref.name": "tag"}}]}, open("layout/index.json", "w"))
open("layout/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
P
choose() { # a platform, and the entries of an index
  local asked=$1
  python3 make.py "${@:2}"
  set -- "$asked" "${*:2}"
  local options="--override-os linux --override-arch ${asked%/*}"
  case $asked in */*) options+=" --override-variant ${asked#*/}" ;; esac
  # shellcheck disable=SC2086 # options
  LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple root/usr/bin/skopeo --insecure-policy $options inspect --config oci:layout:tag >config.json 2>log || :
  echo "$asked of $2: $(python3 -c 'import json; print(json.load(open("config.json"))["config"]["Labels"]["of"])' 2>/dev/null || grep -o 'no image found' log)"
}
{
  choose amd64 amd64/v3 amd64
  choose amd64 amd64/v1
  choose amd64/v4 amd64/v3
  choose amd64/v4 amd64/v3 amd64
  choose arm/v7 arm/v6
  choose arm64 arm64/v8
  choose arm64/v9 arm64/v8
  choose arm64/v9 arm64
  choose amd64 amd64+erofs amd64
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
amd64 of amd64/v3 amd64: amd64
amd64 of amd64/v1: no image found
amd64/v4 of amd64/v3: no image found
amd64/v4 of amd64/v3 amd64: amd64
arm/v7 of arm/v6: arm/v6
arm64 of arm64/v8: arm64/v8
arm64/v9 of arm64/v8: no image found
arm64/v9 of arm64: arm64
amd64 of amd64+erofs amd64: amd64+erofs
T
