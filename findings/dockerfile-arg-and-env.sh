#!/usr/bin/env bash
# Which value `$V` has after ENV and ARG of one name, and in a stage that is from another one, by the builder.
#
# Versions: Docker 20.10.24 with its old builder and with BuildKit, buildah 1.28.2 (Debian 12). Docker 28.5.2's BuildKit and buildah
# 1.43.2 (Debian testing) were seen too; where they differ it is said below.
#
# Guess: ENV wins over an ARG of the same name, as the documentation of Dockerfiles says; an argument ends with its stage;
# and proxies, which need no ARG, are the same for all.
#
# Behaviour:
#   - for BuildKit an ARG that comes after ENV wins, even by its default, in what is expanded; a variable of the base image is hidden
#     by it in the same way. For the old builder and buildah ENV wins;
#   - a stage that is FROM another stage has that one's arguments for BuildKit and for buildah 1.43, and not for the two others;
#   - `ARG TARGETARCH=own` is `own`, and the machine's architecture for buildah 1.43;
#   - `ARG A=1 B=${A}x`: B is `x`, and `1x` for Docker 28;
#   - a proxy that is given is part of what ENV can expand, and gets into the image, but for BuildKit.
#
# Why it matters: `ENV VERSION=$VERSION` is how a version gets into an image, and what the next instruction downloads by. The same
# file with the same words gives another version after a change of the builder, or after a base image has begun to set the name.
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
mkdir context
build() { # what it is about, then further words; the Dockerfile is read
  local title=$1 engine
  shift
  cat >Dockerfile
  echo "$title"
  for engine in docker buildkit buildah; do
    case $engine in
      docker) DOCKER_BUILDKIT=0 docker build -q --no-cache -t app "$@" -f Dockerfile context ;;
      buildkit) DOCKER_BUILDKIT=1 docker build -q --no-cache -t app "$@" -f Dockerfile context ;;
      buildah) b bud -q --layers --no-cache --signature-policy policy.json -t app "$@" -f Dockerfile context ;;
    esac >log 2>&1 || { echo "  $engine: $(tail -1 log)"; continue; }
    case $engine in
      buildah) b inspect --type image --format '{{.OCIv1.Config.Env}}' localhost/app && echo ;;
      *) docker image inspect --format '{{.Config.Env}}' app ;;
    esac | sed "s/PATH=[^] ]* *//; s/^\[/  $engine: /; s/\]$//; /^$/d"
  done
}
{
  build 'ENV, then ARG, and --build-arg' --build-arg V=cli <<<$'FROM scratch\nENV V=env\nARG V=default\nENV SEEN=$V'
  build 'ENV, then ARG' <<<$'FROM scratch\nENV V=env\nARG V=default\nENV SEEN=$V'
  build 'ENV, then ARG without a value' <<<$'FROM scratch\nENV V=env\nARG V\nENV SEEN=$V'
  build 'ARG, then ENV, and --build-arg' --build-arg V=cli <<<$'FROM scratch\nARG V=default\nENV V=env\nENV SEEN=$V'
  build 'ARG of the stage that this one is from' <<<$'FROM scratch AS first\nARG V=default\nENV A=1\nFROM first\nENV SEEN=${V:-none}'
  build 'the same, and --build-arg' --build-arg V=cli <<<$'FROM scratch AS first\nARG V=default\nENV A=1\nFROM first\nENV SEEN=${V:-none}'
  build 'a default for TARGETARCH' <<<$'FROM scratch\nARG TARGETARCH=own\nENV SEEN=$TARGETARCH'
  build 'two in one ARG' <<<$'FROM scratch\nARG A=1 B=${A}x\nENV SEEN=$B'
  build 'a proxy, and --build-arg' --build-arg HTTP_PROXY=http://localhost:1 <<<$'FROM scratch\nENV SEEN=${HTTP_PROXY:-none}'
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
ENV, then ARG, and --build-arg
  docker: V=env SEEN=env
  buildkit: V=env SEEN=cli
  buildah: V=env SEEN=env
ENV, then ARG
  docker: V=env SEEN=env
  buildkit: V=env SEEN=default
  buildah: V=env SEEN=env
ENV, then ARG without a value
  docker: V=env SEEN=env
  buildkit: V=env SEEN=env
  buildah: V=env SEEN=env
ARG, then ENV, and --build-arg
  docker: V=env SEEN=env
  buildkit: V=env SEEN=env
  buildah: V=env SEEN=env
ARG of the stage that this one is from
  docker: A=1 SEEN=none
  buildkit: A=1 SEEN=default
  buildah: A=1 SEEN=none
the same, and --build-arg
  docker: A=1 SEEN=none
  buildkit: A=1 SEEN=cli
  buildah: A=1 SEEN=none
a default for TARGETARCH
  docker: SEEN=own
  buildkit: SEEN=own
  buildah: SEEN=own
two in one ARG
  docker: SEEN=x
  buildkit: SEEN=x
  buildah: SEEN=x
a proxy, and --build-arg
  docker: SEEN=http://localhost:1
  buildkit: SEEN=none
  buildah: SEEN=http://localhost:1
T
