#!/usr/bin/env bash
# Two patterns of .dockerignore that mean the opposite, or nearly nothing, by who packs the context.
#
# Versions: buildah 1.28.2 (Debian 12; 1.43.2 of Debian testing was seen to behave in the same way), docker 7.2.0 (Python),
# @balena/dockerignore 1.0.2 (Node).
#
# Guess: `[!a]` and `[^a]` are both "anything but a", as in bash; and `*` with `!**/*.md`, the list of what may come in, lets
# in all .md files.
#
# Behaviour:
#   - `[!a].md` leaves out `a.md` and keeps `b.md` for buildah and @balena/dockerignore (a class of `!` and `a`, as in Go);
#     for docker-py it is the other way round (as in Python's fnmatch). With `[^a].md` each does the opposite of that.
#   - `*` and `!**/*.md` keep the .md files at the top alone for buildah and docker-py: a folder that `*` takes out is only
#     looked into if an exception begins with the folder's name, and `**` does not count; `!docs/**/*.md` lets in
#     `docs/c.md`, and not `docs/more/d.md`. For @balena/dockerignore, each keeps what it says.
#
# Why it matters: lists of what may come in are the advice for keeping secrets and caches out of contexts. The same file
# gives the COPY of one builder files that another one lacks, and nobody is told of either.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for buildah" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download buildah=1.28.2+ds1-3+deb12u1+b3 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check docker==7.2.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install @balena/dockerignore@1.0.2 >/dev/null
mkdir -p context/docs/more
touch context/a.md context/b.md context/docs/c.md context/docs/more/d.md context/other
printf 'FROM scratch\nCOPY . /\n' >Dockerfile
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
cat >names.py <<'P'
import sys
from docker.utils.build import exclude_paths
patterns = open("context/.dockerignore").read().split()
print("  docker-py:", *sorted(name for name in exclude_paths("context", patterns) if name.endswith(".md")))
P
cat >names.js <<'J'
const names = ["a.md", "b.md", "docs/c.md", "docs/more/d.md", "other"];
const patterns = require("fs").readFileSync("context/.dockerignore", "utf8");
console.log("  @balena/dockerignore:", ...require("@balena/dockerignore")().add(patterns).filter(names).filter(name => name.endsWith(".md")));
J
b() { LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple root/usr/bin/buildah --root "$tmp/storage" --runroot "$tmp/run" --storage-driver vfs "$@"; }
for patterns in '[!a].md' '[^a].md' '* !**/*.md' '* !docs/**/*.md'; do
  echo "$patterns"
  tr ' ' '\n' <<<"$patterns" >context/.dockerignore
  image=$(b bud --signature-policy policy.json -q -f Dockerfile context)
  container=$(b from --signature-policy policy.json "$image")
  echo "  buildah: $(cd "$(b mount "$container")" && find . -name '*.md' -printf '%P\n' | sort | paste -sd' ')"
  v/bin/python names.py
  node names.js
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
[!a].md
  buildah: b.md docs/c.md docs/more/d.md
  docker-py: a.md docs/c.md docs/more/d.md
  @balena/dockerignore: b.md docs/c.md docs/more/d.md
[^a].md
  buildah: a.md docs/c.md docs/more/d.md
  docker-py: b.md docs/c.md docs/more/d.md
  @balena/dockerignore: a.md docs/c.md docs/more/d.md
* !**/*.md
  buildah: a.md b.md
  docker-py: a.md b.md
  @balena/dockerignore: a.md b.md docs/c.md docs/more/d.md
* !docs/**/*.md
  buildah: docs/c.md
  docker-py: docs/c.md
  @balena/dockerignore: docs/c.md docs/more/d.md
T
