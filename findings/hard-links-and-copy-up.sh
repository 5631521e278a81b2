#!/usr/bin/env bash
# Writing to one name of a file with several: the other names have it with vfs, and not with overlay.
#
# Version: buildah 1.28.2 (Debian 12), with its drivers vfs and overlay; buildah 1.43.2 (Debian testing) was seen to behave
# in the same way.
#
# Guess: two hard links of the base are one file in a container, so what is appended through one name is there under the
# other.
#
# Behaviour: with vfs, all names have the new text, and the layer holds them as links of one file. With overlay (and the
# kernel's default, index=off) the first write copies the file up under the one name: the others keep the old text, and the
# layer holds one name alone.
#
# Why it matters: base images have such links, as perl and perl5.36.0 of Debian 12. A step that edits one in place gives two
# images by the machine's driver, and nothing fails; editors that write a new file and move it give the same on both.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for the overlay mount" >&2; exit 2; }
tmp=$(mktemp -d)
cleanup() {
  for d in vfs overlay; do b "$d" umount -a >/dev/null 2>&1 || :; umount "$tmp/$d/overlay" 2>/dev/null || :; done
  rm -rf "$tmp"
}
trap cleanup EXIT
cd "$tmp"
apt-get -qq download buildah=1.28.2+ds1-3+deb12u1+b3 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
b() { local d=$1; shift; root/usr/bin/buildah --root "$tmp/$d" --runroot "$tmp/$d.run" --storage-driver "$d" "$@"; }
for driver in vfs overlay; do
  echo "== $driver"
  base=$(b $driver from --signature-policy policy.json scratch)
  root=$(b $driver mount "$base")
  echo old >"$root/a" && ln "$root/a" "$root/b" && ln "$root/a" "$root/c"
  b $driver umount "$base" >/dev/null
  image=$(b $driver commit -q --signature-policy policy.json "$base")
  container=$(b $driver from --signature-policy policy.json "$image")
  root=$(b $driver mount "$container")
  echo "before: $(cd "$root" && stat -c '%n has %h' a b c | paste -sd' ')"
  echo new >>"$root/a"
  for name in a b c; do echo "after: $name: $(paste -sd' ' "$root/$name")"; done
  b $driver umount "$container" >/dev/null
  b $driver commit -q --signature-policy policy.json "$container" "oci:$driver.out:t" >/dev/null 2>&1
  python3 - $driver.out <<'P'
import json, sys, tarfile
blob = lambda d: f"{sys.argv[1]}/blobs/sha256/{d['digest'][7:]}"
manifest = json.load(open(blob(json.load(open(sys.argv[1] + "/index.json"))["manifests"][0])))
print("layer:", ", ".join(e.name + (f" -> {e.linkname}" if e.islnk() else "") for e in tarfile.open(blob(manifest["layers"][-1])) if not e.isdir()))
P
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
== vfs
before: a has 3 b has 3 c has 3
after: a: old new
after: b: old new
after: c: old new
layer: a, b -> a, c -> a
== overlay
before: a has 3 b has 3 c has 3
after: a: old new
after: b: old
after: c: old
layer: a
T
