#!/usr/bin/env bash
# univers cannot read the version of musl in Alpine 3.19: it reads Alpine's versions as Gentoo's.
#
# Version: univers 32.0.1 (Python).
#
# Guess: a class AlpineLinuxVersion takes every version that apk takes.
#
# Behaviour: of apk's suffixes `_alpha`, `_beta`, `_pre`, `_rc`, `_p` are read, the ones that Gentoo has. `_cvs`, `_svn`,
# `_git` and `_hg`, which apk has besides, are an InvalidVersion, as musl's 1.2.4_git20230717-r4.
#
# Why it matters: the package that every image of that Alpine has at its bottom cannot be compared with any advisory; what
# leaves out versions that do not parse, so as to go on, is silent just about the C library.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check univers==32.0.1 >/dev/null 2>&1
v/bin/python - >seen.txt <<'P'
from univers.versions import AlpineLinuxVersion, InvalidVersion
for suffix in ["alpha1", "beta1", "pre1", "rc1", "cvs1", "svn1", "git1", "hg1", "p1"]:
    text = f"1.0_{suffix}-r0"
    try:
        read = AlpineLinuxVersion(text)
        print(text, "is", "less" if read < AlpineLinuxVersion("1.0-r0") else "more", "than 1.0-r0")
    except InvalidVersion:
        print(text, "is invalid")
try:
    print(AlpineLinuxVersion("1.2.4_git20230717-r4") < AlpineLinuxVersion("1.2.5-r0"))
except InvalidVersion as error:
    print("musl's:", str(error).split(" is ")[0])
P
cat seen.txt
diff - seen.txt <<'T'
1.0_alpha1-r0 is less than 1.0-r0
1.0_beta1-r0 is less than 1.0-r0
1.0_pre1-r0 is less than 1.0-r0
1.0_rc1-r0 is less than 1.0-r0
1.0_cvs1-r0 is invalid
1.0_svn1-r0 is invalid
1.0_git1-r0 is invalid
1.0_hg1-r0 is invalid
1.0_p1-r0 is more than 1.0-r0
musl's: '1.2.4_git20230717-r4'
T
