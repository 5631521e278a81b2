#!/usr/bin/env bash
# The history of an image that buildah makes says that the wrong instruction made the layer.
#
# Version: buildah 1.28.2 (Debian 12); buildah 1.43.2 (Debian testing) was seen to behave in the same way.
#
# Guess: of a config's history, the entries without `empty_layer` belong to the layers, one each, as the image specification
# has it; so COPY has the layer, and ENV and LABEL have none.
#
# Behaviour: without --layers, buildah makes one layer for the whole stage, and counts it as that of the last instruction:
# COPY is marked as empty, and the LABEL or CMD behind it has the layer. If the last instruction is a COPY, all COPYs before
# it are empty. With --layers each has its own.
#
# Why it matters: what shows an image layer by layer, or finds the line of a Dockerfile for a layer with a vulnerable
# package, points at a LABEL. Numbers of entries and layers agree, so no check finds it.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for buildah" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download buildah=1.28.2+ds1-3+deb12u1+b3 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
b() { root/usr/bin/buildah --root "$tmp/storage" --runroot "$tmp/run" --storage-driver vfs "$@"; }
mkdir context && echo program >context/program && echo data >context/data
printf '%s\n' 'FROM scratch' 'COPY program /' 'COPY data /' 'ENV A=1' 'LABEL b=2' >Dockerfile
for layers in false true; do
  echo "--layers=$layers"
  b bud -q --layers=$layers --signature-policy policy.json -f Dockerfile -t app context >/dev/null
  b inspect --type image app | python3 -c '
import json, sys
config = json.load(sys.stdin)["OCIv1"]
print(" ", len(config["rootfs"]["diff_ids"]), "layers")
for entry in config["history"]:
    words = entry["created_by"].split("#(nop) ")[-1].split()
    print(" ", words[0], "no layer" if entry.get("empty_layer") else "has a layer")'
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
--layers=false
  1 layers
  COPY no layer
  COPY no layer
  ENV no layer
  LABEL has a layer
--layers=true
  2 layers
  COPY has a layer
  COPY has a layer
  ENV no layer
  LABEL no layer
T
