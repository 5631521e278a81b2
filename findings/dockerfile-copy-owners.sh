#!/usr/bin/env bash
# Owners and modes of what COPY and WORKDIR make, and where a file goes whose place is a link, by the builder.
#
# Versions: Docker 20.10.24 with its old builder and with BuildKit, buildah 1.28.2 (Debian 12). 28.5.2 with BuildKit and buildah 1.43.2
# (Debian testing) were seen to behave as these do, but for --chmod.
#
# Guess: modes are copied as they are, `--chmod` is for everything that is copied, `--chown=app` gives a file to the user and to
# the group that /etc/passwd has for it, and WORKDIR makes a directory for the user who is set, or for root, but the same everywhere.
#
# Behaviour:
#   - `--chown=app` takes the group *named* app for the old builder, and the user's own group for the two others;
#   - WORKDIR after USER makes a directory of that user for BuildKit, and of root for the two others;
#   - the old builder and buildah take the set-user bit off what they copy from the context;
#   - `--chmod=640` on a directory is for the directory and for what is in it (BuildKit 28.5), or for the latter only (buildah and
#     BuildKit 20.10, which makes 4640 of 4755);
#   - `COPY f /link`, where the link points to a name that is not there yet, writes a file of that name (Docker), or makes a
#     directory of that name and puts the file in (buildah).
#
# Why it matters: an application that writes into its WORKDIR, a helper that needs its set-user bit, and a file that only a group
# may read work with one builder and fail with the next one, at run time, and without a word when they are built.
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
  buildah=1.28.2+ds1-3+deb12u1+b3 libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple PATH=$tmp/root/usr/bin:$tmp/root/usr/sbin:$PATH
export DOCKER_HOST=unix://$tmp/sock DOCKER_CONFIG=$tmp
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
echo '{}' >daemon.json
# In a mount namespace of its own: what it leaves mounted ends with it.
unshare --mount dockerd --data-root "$tmp/data" --exec-root "$tmp/exec" --pidfile "$tmp/pid" --host "$DOCKER_HOST" --config-file "$tmp/daemon.json" \
  --storage-driver vfs --bridge none --iptables=false --ip6tables=false >daemon.log 2>&1 &
daemon=$!
for ((i = 0; i < 300; i++)); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
b() { buildah --root "$tmp/storage" --runroot "$tmp/run" --storage-driver vfs "$@"; }
echo '{}' >config.json
mkdir -p base/etc context/folder/inner
printf '%s\n' root:x:0:0::/root:/bin/sh app:x:1000:100::/:/bin/sh >base/etc/passwd
printf '%s\n' root:x:0: users:x:100: app:x:2000: >base/etc/group
ln -s later base/link
tar -C base --owner=0 --group=0 -cf base.tar .
echo a >context/file && echo b >context/folder/inner/deep && echo c >context/folder/program
chmod 4755 context/folder/program
docker import base.tar base >/dev/null
# BuildKit and buildah look for it under these names.
docker tag base localhost/base
c=$(b from --signature-policy policy.json scratch) && b add -q "$c" base.tar / >/dev/null && b commit -q --signature-policy policy.json "$c" localhost/base >/dev/null
see() { # what it is about, the places to look at, words for the builder; the Dockerfile is read
  local title=$1 places=$2 engine
  shift 2
  cat >Dockerfile
  echo "$title"
  for engine in docker buildkit buildah; do
    case $engine in
      docker) DOCKER_BUILDKIT=0 docker build -q --no-cache -t app "$@" -f Dockerfile context ;;
      buildkit) DOCKER_BUILDKIT=1 docker build -q --no-cache -t app "$@" -f Dockerfile context ;;
      buildah) b bud -q --layers --no-cache --pull-never --signature-policy policy.json -t app "$@" -f Dockerfile context ;;
    esac >log 2>&1 || { echo "  $engine: $(grep -o 'requires BuildKit' log || tail -1 log)"; continue; }
    rm -rf out && mkdir out
    case $engine in
      buildah) c=$(b from --pull-never --signature-policy policy.json localhost/app) && tar -C "$(b mount "$c")" -c . | tar -C out -xp && b rm "$c" >/dev/null ;;
      *) c=$(docker create app /none) && docker export "$c" | tar -C out -xp && docker rm "$c" >/dev/null ;;
    esac
    echo "  $engine: $(cd out && stat -c '%n %u:%g %a %F' $places 2>/dev/null | paste -sd, | sed 's/,/, /g')"
  done
}
{
  see '--chown=app' a <<<$'FROM localhost/base\nCOPY --chown=app file /a'
  see '--chown=1000' a <<<$'FROM localhost/base\nCOPY --chown=1000 file /a'
  see 'WORKDIR after USER' 'w w/x' <<<$'FROM localhost/base\nUSER app\nWORKDIR /w/x\nCOPY file .'
  see 'a program with its set-user bit' program <<<$'FROM localhost/base\nCOPY folder/program /program'
  see 'chmod of a directory' 'f f/inner f/inner/deep f/program' <<<$'FROM localhost/base\nCOPY --chmod=640 folder /f'
  see 'a link to what is not there' 'link later later/file' <<<$'FROM localhost/base\nCOPY file /link'
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
--chown=app
  docker: a 1000:2000 644 regular file
  buildkit: a 1000:100 644 regular file
  buildah: a 1000:100 644 regular file
--chown=1000
  docker: a 1000:1000 644 regular file
  buildkit: a 1000:1000 644 regular file
  buildah: a 1000:1000 644 regular file
WORKDIR after USER
  docker: w 0:0 755 directory, w/x 0:0 755 directory
  buildkit: w 1000:100 755 directory, w/x 1000:100 755 directory
  buildah: w 0:0 755 directory, w/x 0:0 755 directory
a program with its set-user bit
  docker: program 0:0 755 regular file
  buildkit: program 0:0 4755 regular file
  buildah: program 0:0 755 regular file
chmod of a directory
  docker: requires BuildKit
  buildkit: f 0:0 755 directory, f/inner 0:0 640 directory, f/inner/deep 0:0 640 regular file, f/program 0:0 4640 regular file
  buildah: f 0:0 755 directory, f/inner 0:0 640 directory, f/inner/deep 0:0 640 regular file, f/program 0:0 640 regular file
a link to what is not there
  docker: link 0:0 777 symbolic link, later 0:0 644 regular file
  buildkit: link 0:0 777 symbolic link, later 0:0 644 regular file
  buildah: link 0:0 777 symbolic link, later 0:0 755 directory, later/file 0:0 644 regular file
T
