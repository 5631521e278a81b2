#!/usr/bin/env bash
# ADD unpacks an archive or copies it, by the builder and by what is installed beside it.
#
# Versions: Docker 20.10.24 with its old builder and with BuildKit, buildah 1.28.2 (Debian 12). Docker 28.5.2 and buildah 1.43.2
# (Debian testing) were seen too: Docker unpacks .tar.zst there, and the rest is the same.
#
# Guess: ADD unpacks what the documentation of Dockerfiles names (gzip, bzip2, xz, and plain tar); a builder that lacks something for
# it says so.
#
# Behaviour: Docker starts the program `xz`, which is not part of it and not needed by its package. On a machine without it, ADD copies
# the archive as it is, and the build succeeds, with both builders. A .tar.zst is unpacked by buildah, and copied by Docker 20.10.
# None of them unpacks .tar.lzma, though xz can.
#
# Why it matters: `ADD rootfs.tar.xz /` is how base images of distributions are made. The same file gives a root file system on one
# machine, and an image with one archive in it on the next; what is built of it fails far from the cause.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for the engines" >&2; exit 2; }
tmp=$(mktemp -d)
daemon=
cleanup() {
  b umount -a >/dev/null 2>&1 || :
  if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || :; fi
  rm -rf "$tmp" 2>/dev/null || { sleep 2; rm -rf "$tmp"; }
}
trap cleanup EXIT
cd "$tmp"
apt-get -qq download docker.io=20.10.24+dfsg1-1+deb12u1+b6 containerd=1.6.20~ds1-1+deb12u3 runc=1.1.5+ds1-1+deb12u1 \
  buildah=1.28.2+ds1-3+deb12u1+b3 libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 xz-utils=5.4.1-1+deb12u2 zstd bzip2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple PATH=$tmp/root/usr/bin:$tmp/root/usr/sbin:$PATH
export DOCKER_HOST=unix://$tmp/sock DOCKER_CONFIG=$tmp
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
echo '{}' >daemon.json
mkdir xz without && mv root/usr/bin/*xz* root/usr/bin/*lzma* xz/
find /usr/sbin /usr/bin /sbin /bin -maxdepth 1 ! -name '*xz*' ! -name '*lzma*' ! -name 'docker*' ! -name 'containerd*' -type f,l -exec ln -sf -t without {} +
start() { # the path of programs
  # In a mount namespace of its own: what it leaves mounted ends with it.
  PATH=$tmp/root/usr/bin:$tmp/root/usr/sbin:$1 unshare --mount dockerd --data-root "$tmp/data" --exec-root "$tmp/exec" --pidfile "$tmp/pid" --host "$DOCKER_HOST" \
    --config-file "$tmp/daemon.json" --storage-driver vfs --bridge none --iptables=false --ip6tables=false >daemon.log 2>&1 &
  daemon=$!
  for ((i = 0; i < 300; i++)); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
}
stop() { kill "$daemon" && wait "$daemon" || :; daemon=; }
b() { buildah --root "$tmp/storage" --runroot "$tmp/run" --storage-driver vfs "$@"; }
echo '{}' >config.json
mkdir context folder && echo a >folder/file && tar -C folder -cf a.tar file
cp a.tar context/plain && gzip -c a.tar >context/gzip && bzip2 -c a.tar >context/bzip2 && xz/xz -c a.tar >context/xz && zstd -qc a.tar >context/zstd && xz/xz --format=lzma -c a.tar >context/lzma
kinds='plain gzip bzip2 xz zstd lzma'
{ echo FROM scratch; for kind in $kinds; do echo "ADD $kind /$kind-/"; done; } >Dockerfile
say() { # a name; where the root file system is
  local kind line="$1:"
  for kind in $kinds; do [ -e "$2/$kind-/file" ] && line+=" $kind unpacked;" || line+=" $kind $(cd "$2/$kind-" && ls | sed "s/^$kind\$/copied/");"; done
  echo "${line%;}"
}
{
  for path in "$tmp/xz:$tmp/without" "$tmp/without"; do
    start "$path"
    [ "$path" = "$tmp/without" ] && where=' without xz' || where=''
    for buildkit in 0 1; do
      DOCKER_BUILDKIT=$buildkit docker build -q --no-cache -t app -f Dockerfile context >/dev/null 2>&1
      rm -rf out && mkdir out
      c=$(docker create app /none) && docker export "$c" | tar -C out -xp && docker rm "$c" >/dev/null
      say "docker$([ $buildkit = 0 ] || echo ', BuildKit')$where" out
    done
    stop
    PATH=$tmp/root/usr/bin:$path b bud -q --layers --no-cache --signature-policy policy.json -t app -f Dockerfile context >/dev/null
    c=$(b from --pull-never --signature-policy policy.json localhost/app)
    say "buildah$where" "$(b mount "$c")"
    b rm "$c" >/dev/null
  done
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
docker: plain unpacked; gzip unpacked; bzip2 unpacked; xz unpacked; zstd copied; lzma copied
docker, BuildKit: plain unpacked; gzip unpacked; bzip2 unpacked; xz unpacked; zstd copied; lzma copied
buildah: plain unpacked; gzip unpacked; bzip2 unpacked; xz unpacked; zstd unpacked; lzma copied
docker without xz: plain unpacked; gzip unpacked; bzip2 unpacked; xz copied; zstd copied; lzma copied
docker, BuildKit without xz: plain unpacked; gzip unpacked; bzip2 unpacked; xz copied; zstd copied; lzma copied
buildah without xz: plain unpacked; gzip unpacked; bzip2 unpacked; xz unpacked; zstd unpacked; lzma copied
T
