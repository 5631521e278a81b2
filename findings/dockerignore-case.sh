#!/usr/bin/env bash
# `.dockerignore` is read without regard to case by the libraries that build contexts.
#
# Versions: docker 7.1.0 (Python), @balena/dockerignore 1.0.2 and ignore 7.0.5 (Node).
#
# Guess: `build` in a .dockerignore leaves out `build`, and `Build` stays, as with `docker build` on Linux.
#
# Behaviour: docker-py, @balena/dockerignore and ignore take both out; the Node ones can be told otherwise (`ignorecase:
# false`). buildah and `docker build` keep `Build`. So one project has two contexts, and what the service behind such a client builds
# lacks files that the Dockerfile copies.
#
# Why it matters: contexts packed by deploy clients and by `docker build` are not the same; a missing `Makefile`
# beside an ignored `makefile` shows only there.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check docker==7.1.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install @balena/dockerignore@1.0.2 ignore@7.0.5 >/dev/null
mkdir context && touch context/f.txt context/F.TXT && printf 'f.txt\n' >context/.dockerignore
{
  v/bin/python - <<'P'
from docker.utils.build import exclude_paths
print("docker-py keeps:", sorted(exclude_paths("context", ["f.txt"]) - {".dockerignore"}))
P
  node -e '
    const names = ["F.TXT", "f.txt"];
    const balena = require("@balena/dockerignore"), ignore = require("ignore");
    console.log("@balena/dockerignore keeps:", JSON.stringify(balena().add("f.txt").filter(names)));
    console.log("@balena/dockerignore, ignorecase false, keeps:", JSON.stringify(balena({ignorecase: false}).add("f.txt").filter(names)));
    console.log("ignore keeps:", JSON.stringify(ignore().add("f.txt").filter(names)));'
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
docker-py keeps: []
@balena/dockerignore keeps: []
@balena/dockerignore, ignorecase false, keeps: ["F.TXT"]
ignore keeps: []
T
