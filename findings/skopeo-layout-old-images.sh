#!/usr/bin/env bash
# Copying to the same tag of an image layout keeps every earlier image, without a name.
#
# Versions: skopeo 1.9.3, umoci 0.4.7 (Debian 12); skopeo 1.22.0 and umoci 0.6.0 (Debian testing) were seen to behave in the
# same way.
#
# Guess: `skopeo copy … oci:layout:latest` puts the new image in the place of the old one, as with a registry's tag, and the
# old one is garbage.
#
# Behaviour: index.json keeps a descriptor for each earlier image and only takes the name off. So `umoci gc` frees nothing
# (all of them are named by the index), and `oci:layout` without a tag stops working: "more than one image in oci". umoci, in
# contrast, removes what has the name before.
#
# Why it matters: a layout that a pipeline copies to day after day grows by an image a day, and no collector takes it for
# garbage; what reads `manifests[0]` gets the oldest one.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download umoci=0.4.7+ds-3+b7 skopeo=1.9.3+ds1-1+b10 libgpgme11 libassuan0 libdevmapper1.02.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
umoci=root/usr/bin/umoci
skopeo() { root/usr/bin/skopeo --insecure-policy "$@"; }
$umoci init --layout from
for day in 1 2 3; do
  $umoci new --image from:$day
  $umoci config --image from:$day --config.label day=$day
done
show() {
  python3 - "$1" <<'P'
import json, os, sys
named = json.load(open(sys.argv[1] + "/index.json"))["manifests"]
names = [d.get("annotations", {}).get("org.opencontainers.image.ref.name", "without a name") for d in named]
print(f"  {sys.argv[1]}: {', '.join(names)}; {len(os.listdir(sys.argv[1] + '/blobs/sha256'))} blobs")
P
}
{
  for day in 1 2 3; do
    skopeo copy -q oci:from:$day oci:to:latest >/dev/null
    echo "day $day:"; show to
  done
  echo "after umoci gc:"
  $umoci gc --layout to; show to
  skopeo inspect oci:to 2>&1 | grep -o 'more than one image in oci' || :
  echo "umoci tag, over a name that is there:"
  $umoci tag --image from:1 2; show from
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
day 1:
  to: latest; 2 blobs
day 2:
  to: without a name, latest; 4 blobs
day 3:
  to: without a name, without a name, latest; 6 blobs
after umoci gc:
  to: without a name, without a name, latest; 6 blobs
more than one image in oci
umoci tag, over a name that is there:
  from: 1, 3, 2; 12 blobs
T
