#!/usr/bin/env bash
# Versions of packages that are equal for python-debian are two keys of a dictionary.
#
# Version: python-debian 1.0.1, beside dpkg 1.21.
#
# Guess: `Version("1.0") == Version("0:1.0")` is true, as for dpkg, so a set has one of them.
#
# Behaviour: they are equal, neither is less, and their hashes are those of their texts: a set has both, and a look-up in a
# dictionary misses what `==` finds.
#
# Why it matters: scanners and updaters that key advisories or installed packages by Version take an epoch of 0, or a
# revision of -0, for another version: a fix is not found, or offered again and again.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check python-debian==1.0.1 >/dev/null 2>&1
v/bin/python - >seen.txt <<'P'
from debian.debian_support import Version
names = ["1.0", "0:1.0", "1.0-0"]
versions = [Version(name) for name in names]
print("all equal:", all(a == b for a in versions for b in versions))
print("in a set:", len(set(versions)))
print("found under another form:", Version("0:1.0") in {Version("1.0"): "fixed"})
P
for other in 0:1.0 1.0-0; do dpkg --compare-versions 1.0 eq "$other" && echo "dpkg: 1.0 is $other"; done >>seen.txt
cat seen.txt
diff - seen.txt <<'T'
all equal: True
in a set: 3
found under another form: False
dpkg: 1.0 is 0:1.0
dpkg: 1.0 is 1.0-0
T
