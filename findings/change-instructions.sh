#!/usr/bin/env bash
# One `--change` makes other variables, labels and folders of docker and of podman.
#
# Versions: docker 20.10.24 and podman 4.3.1 (Debian 12); 28.5.2 and 5.8.6 (Debian testing) were seen to behave in the same way.
#
# Guess: what `import --change` takes is an instruction of a Dockerfile, for both: quotes go, several pairs are several, variables
# are expanded, WORKDIR is below the root.
#
# Behaviour: podman reads the first name and takes all that follows for its value: `ENV A=1 B=2` is one variable, `1 B=2`, and
# `LABEL k="v w" l=m` one label. Quotes go and stay as is seen below. `ENV A b` is a variable `A b`. `$PATH` stays as it is, where
# docker, whose image gets a PATH, makes it empty. WORKDIR stays relative. Only `EXPOSE 80-82` is an error. docker refuses `CMD=["a"]`.
#
# Why it matters: this is how base images are made of archives, and how scripts that call `docker` go on with podman behind that name. No
# message says that labels which say what an image is of (its source, its version) have become one text.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for the engines" >&2; exit 2; }
tmp=$(mktemp -d)
daemon=
cleanup() {
  if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || :; fi
  rm -rf "$tmp" 2>/dev/null || { sleep 2; rm -rf "$tmp"; }
}
trap cleanup EXIT
cd "$tmp"
apt-get -qq download docker.io=20.10.24+dfsg1-1+deb12u1+b6 containerd=1.6.20~ds1-1+deb12u3 runc=1.1.5+ds1-1+deb12u1 \
  podman=4.3.1+ds1-8+deb12u1+b3 conmon crun libyajl2 libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple PATH=$tmp/root/usr/bin:$tmp/root/usr/sbin:$PATH
export DOCKER_HOST=unix://$tmp/sock DOCKER_CONFIG=$tmp
echo '{}' >daemon.json
# In a mount namespace of its own: what it leaves mounted ends with it.
unshare --mount dockerd --data-root "$tmp/data" --exec-root "$tmp/exec" --pidfile "$tmp/pid" --host "$DOCKER_HOST" --config-file "$tmp/daemon.json" \
  --storage-driver vfs --bridge none --iptables=false --ip6tables=false >daemon.log 2>&1 &
daemon=$!
for ((i = 0; i < 300; i++)); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
p() {
  CONTAINERS_CONF=/dev/null podman --root "$tmp/storage" --runroot "$tmp/run" --tmpdir "$tmp/libpod" --storage-driver vfs --cgroup-manager cgroupfs \
    --events-backend file --conmon "$tmp/root/usr/bin/conmon" --runtime "$tmp/root/usr/bin/crun" "$@"
}
mkdir empty && tar -C empty -cf empty.tar .
cat >changes.txt <<'T'
ENV A="b c"
ENV A='b c'
ENV A=1 B=2
ENV A b
ENV A=$PATH
LABEL k="v w"
LABEL k='v w'
LABEL k="v w" l=m
WORKDIR app
EXPOSE 80-82
CMD ["a", "b"]
CMD=["a"]
T
cat >of.py <<'P'
import json, sys
config = json.load(sys.stdin)[0]["Config"]
config["Env"] = [pair for pair in config.get("Env") or [] if not pair.startswith("PATH=/")]
print(json.dumps({name: config[name] for name in ("Env", "Labels", "WorkingDir", "ExposedPorts", "Cmd") if config.get(name)}))
P
while IFS= read -r change; do
  echo "$change"
  if docker import --change "$change" empty.tar app:1 >log 2>&1; then echo "  docker: $(docker image inspect app:1 | python3 of.py)"; else echo "  docker: error"; fi
  if p import -q --change "$change" empty.tar localhost/app:1 >log 2>&1; then echo "  podman: $(p image inspect localhost/app:1 | python3 of.py)"; else echo "  podman: error"; fi
done <changes.txt >seen.txt
cat seen.txt
diff - seen.txt <<'T'
ENV A="b c"
  docker: {"Env": ["A=b c"]}
  podman: {"Env": ["A=b c"]}
ENV A='b c'
  docker: {"Env": ["A=b c"]}
  podman: {"Env": ["A='b c'"]}
ENV A=1 B=2
  docker: {"Env": ["A=1", "B=2"]}
  podman: {"Env": ["A=1 B=2"]}
ENV A b
  docker: {"Env": ["A=b"]}
  podman: {"Env": ["A b="]}
ENV A=$PATH
  docker: {"Env": ["A="]}
  podman: {"Env": ["A=$PATH"]}
LABEL k="v w"
  docker: {"Labels": {"k": "v w"}}
  podman: {"Labels": {"k": "v w"}}
LABEL k='v w'
  docker: {"Labels": {"k": "v w"}}
  podman: {"Labels": {"k": "'v w'"}}
LABEL k="v w" l=m
  docker: {"Labels": {"k": "v w", "l": "m"}}
  podman: {"Labels": {"k": "\"v w\" l=m"}}
WORKDIR app
  docker: {"WorkingDir": "/app"}
  podman: {"WorkingDir": "app"}
EXPOSE 80-82
  docker: {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}, "82/tcp": {}}}
  podman: error
CMD ["a", "b"]
  docker: {"Cmd": ["a", "b"]}
  podman: {"Cmd": ["a", "b"]}
CMD=["a"]
  docker: error
  podman: {"Cmd": ["a"]}
T
