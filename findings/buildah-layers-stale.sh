#!/usr/bin/env bash
# With --layers, buildah builds an image with a base's old variables, and with what was mounted the last time.
#
# Version: buildah 1.28.2 (Debian 12). 1.43.2 (Debian testing) was seen to behave in the same way for the first two; it notices
# the last two. Of Docker 20.10, the old builder was seen to notice the first, and BuildKit those of a stage and of the context.
#
# Guess: a step is taken from the cache only if what it starts from is the same image, and if what it sees is the same: as COPY
# notices another file, RUN notices another file that it mounts.
#
# Behaviour: a base is known by its layers and its history. If only its config is another (here a variable), every
# step comes from the cache, and the new image has the config of the base before: it is the old image. Nor is anything of
# a bind mount asked for but its text, be it of the context, of a stage, or of an image. COPY notices a change of all of them.
#
# Why it matters: `--mount=type=bind` is the usual way to give a build its list of packages or what another stage compiled. The build
# of today says that it succeeded, and has yesterday's program or list in it. Where times are fixed (SOURCE_DATE_EPOCH), a
# repair of a base's config alone reaches no image that is built on it.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for buildah" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'b umount -a >/dev/null 2>&1 || :; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download buildah=1.28.2+ds1-3+deb12u1+b3 skopeo=1.9.3+ds1-1+b10 busybox-static=1:1.35.0-4+deb12u1+b1 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
b() { "$tmp/root/usr/bin/buildah" --root "$tmp/storage" --runroot "$tmp/run" --storage-driver vfs "$@"; }
mkdir -p base/bin context/folder
cp root/bin/busybox base/bin/ && ln -s busybox base/bin/sh && ln -s busybox base/bin/cat
tar -C base -cf base.tar --owner=0 --group=0 --mtime=@0 --sort=name .
cat >image.py <<'P'
import hashlib, json, os, shutil, sys
name, archive, variable = sys.argv[1:]
oci = "application/vnd.oci.image."
shutil.rmtree("layout", ignore_errors=True)
os.makedirs("layout/blobs/sha256")
def blob(kind, data):
    digest = hashlib.sha256(data).hexdigest()
    open("layout/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": oci + kind, "digest": "sha256:" + digest, "size": len(data)}
layer = blob("layer.v1.tar", open(archive, "rb").read())
config = {"architecture": os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"), "os": "linux", "created": "2024-01-01T00:00:00Z",
          "config": {"Env": ["PATH=/bin", "BASE=" + variable]}, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
          "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "archive"}]}
manifest = {"schemaVersion": 2, "config": blob("config.v1+json", json.dumps(config).encode()), "layers": [layer]}
entry = {**blob("manifest.v1+json", json.dumps(manifest).encode()), "annotations": {"org.opencontainers.image.ref.name": "tag"}}
json.dump({"schemaVersion": 2, "manifests": [entry]}, open("layout/index.json", "w"))
open("layout/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
P
image() { # name, archive, the value of the variable
  python3 image.py "$@"
  root/usr/bin/skopeo --insecure-policy copy -q oci:layout:tag "containers-storage:[vfs@$tmp/storage+$tmp/run]localhost/$1:1"
}
build() { # words before what is seen; the Dockerfile is read
  cat >Dockerfile
  b bud -q --layers --isolation chroot --pull-never --network host --signature-policy policy.json -f Dockerfile -t app context >/dev/null
  local container
  container=$(b from --pull-never --signature-policy policy.json localhost/app)
  echo "$1: file $(cat "$(b mount "$container")/out"), $(b inspect --type image localhost/app | python3 -c 'import json, sys; print(json.load(sys.stdin)["OCIv1"]["config"]["Env"][1])')"
  b rm "$container" >/dev/null
}
for day in one two; do
  echo "$day" >context/folder/input
  tar -C context/folder -cf other.tar --owner=0 --group=0 --mtime=@0 input
  image base base.tar "$day"
  build "config of the base" <<<$'FROM localhost/base:1\nRUN echo $BASE >/out'
  image base base.tar none
  build "stage, mounted" <<<$'FROM localhost/base:1 AS made\nCOPY folder /made\nFROM localhost/base:1\nRUN --mount=type=bind,from=made,source=/made,target=/m cat /m/input >/out'
  build "stage, copied" <<<$'FROM localhost/base:1 AS made\nCOPY folder /made\nFROM localhost/base:1\nCOPY --from=made /made/input /out'
  build "context, mounted" <<<$'FROM localhost/base:1\nRUN --mount=type=bind,source=folder,target=/m cat /m/input >/out'
  image other other.tar none
  build "image, mounted" <<<$'FROM localhost/base:1\nRUN --mount=type=bind,from=localhost/other:1,target=/m cat /m/input >/out'
  build "image, copied" <<<$'FROM localhost/base:1\nCOPY --from=localhost/other:1 /input /out'
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
config of the base: file one, BASE=one
stage, mounted: file one, BASE=none
stage, copied: file one, BASE=none
context, mounted: file one, BASE=none
image, mounted: file one, BASE=none
image, copied: file one, BASE=none
config of the base: file one, BASE=one
stage, mounted: file one, BASE=none
stage, copied: file two, BASE=none
context, mounted: file one, BASE=none
image, mounted: file one, BASE=none
image, copied: file two, BASE=none
T
