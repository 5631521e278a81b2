#!/usr/bin/env bash
# One image, one buildah, two storage drivers, two file systems.
#
# Versions: buildah 1.28.2 (Debian 12), compared with umoci 0.4.7; buildah 1.43.2 (Debian testing)
# and umoci 0.6.0 were seen to behave in the same way.
#
# Guess: what a layer means is settled by the image specification, so the storage driver is a
# matter of speed only.
#
# Behaviour: a layer may hold `lib/new` without an entry for `lib`, and a lower layer may have `lib`.
#   - `lib` is a symbolic link to `usr/lib` below: umoci and buildah's `vfs` follow the link; under
#     `overlay` a real directory `lib` takes the link's place, and all that `lib/` showed is gone
#     from there (it is how a merged /usr breaks);
#   - `secret` is a directory of mode 0700 below: umoci and `vfs` leave it so; under `overlay` it
#     becomes 0755;
#   - `.wh..wh..opq` at the root of a layer hides everything below for umoci and `vfs`; `overlay`
#     does not regard it, and the lower files stay.
#
# Why it matters: tools that write layers by hand (appenders, language-specific image builders, a
# rebase) must write every parent directory with the attributes it has below, and must not rely on an
# opaque marker at the root. A check made with one driver says nothing about another.
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
lib=$tmp/root/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$lib:$tmp/root/lib/$(uname -m)-linux-gnu
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
b() { local d=$1; shift; root/usr/bin/buildah --root "$tmp/$d" --runroot "$tmp/$d.run" --storage-driver "$d" "$@"; }

python3 - <<'PY'
import hashlib, io, json, os, tarfile

def layer(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, value in entries:
            info = tarfile.TarInfo(name)
            if kind == "dir":
                info.type, info.mode = tarfile.DIRTYPE, value
                tar.addfile(info)
            elif kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, value
                tar.addfile(info)
            else:
                info.size = len(value)
                tar.addfile(info, io.BytesIO(value))
    return out.getvalue()

def layout(path, *layers):
    os.makedirs(path + "/blobs/sha256")
    def blob(data, media):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{path}/blobs/sha256/{digest}", "wb") as file:
            file.write(data)
        return {"mediaType": "application/vnd.oci.image." + media, "digest": "sha256:" + digest, "size": len(data)}
    blobs = [blob(data, "layer.v1.tar") for data in layers]
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": [l["digest"] for l in blobs]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": blobs}
    top = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    top["annotations"] = {"org.opencontainers.image.ref.name": "t"}
    json.dump({"schemaVersion": 2, "manifests": [top]}, open(path + "/index.json", "w"))
    json.dump({"imageLayoutVersion": "1.0.0"}, open(path + "/oci-layout", "w"))

layout("parents",
       layer(("usr/", "dir", 0o755), ("usr/lib/", "dir", 0o755), ("usr/lib/old", "file", b"old"),
             ("lib", "link", "usr/lib"), ("secret/", "dir", 0o700), ("secret/old", "file", b"old")),
       layer(("lib/new", "file", b"new"), ("secret/new", "file", b"new")))
layout("opaque",
       layer(("old", "file", b"old")),
       layer((".wh..wh..opq", "file", b""), ("new", "file", b"new")))
PY

show() { (cd "$1" && find . -mindepth 1 -name '*[!.]*' -printf '%y %#m %p %l\n' | sed 's/ $//' | sort -k3); }
for image in parents opaque; do
  for how in umoci vfs overlay; do
    echo "== $image, $how"
    if [ $how = umoci ]; then
      root/usr/bin/umoci unpack --image $image:t bundle-$image >/dev/null 2>&1
      show bundle-$image/rootfs
    else
      c=$(b $how from --signature-policy policy.json oci:$image:t 2>/dev/null)
      show "$(b $how mount "$c")"
    fi
  done
done >seen.txt
cat >wanted.txt <<'TXT'
== parents, umoci
l 0777 ./lib usr/lib
d 0700 ./secret
f 0644 ./secret/new
f 0644 ./secret/old
d 0755 ./usr
d 0755 ./usr/lib
f 0644 ./usr/lib/new
f 0644 ./usr/lib/old
== parents, vfs
l 0777 ./lib usr/lib
d 0700 ./secret
f 0644 ./secret/new
f 0644 ./secret/old
d 0755 ./usr
d 0755 ./usr/lib
f 0644 ./usr/lib/new
f 0644 ./usr/lib/old
== parents, overlay
d 0755 ./lib
f 0644 ./lib/new
d 0755 ./secret
f 0644 ./secret/new
f 0644 ./secret/old
d 0755 ./usr
d 0755 ./usr/lib
f 0644 ./usr/lib/old
== opaque, umoci
f 0644 ./new
== opaque, vfs
f 0644 ./new
== opaque, overlay
f 0644 ./new
f 0644 ./old
TXT
cat seen.txt
diff wanted.txt seen.txt >&2 && echo "as described"
