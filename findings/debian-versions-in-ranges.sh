#!/usr/bin/env bash
# A Debian version that an advisory names is not in univers' range of it, and `9~` is none for debian-inspector.
#
# Versions: univers 32.0.1 and debian-inspector 31.1.1 (Python), beside dpkg.
#
# Guess: libraries whose only task is to compare versions say what `dpkg --compare-versions` says.
#
# Behaviour:
#   - 1.0-1 and 1.0-01 are equal for dpkg (numbers are compared as numbers). For both libraries `<=` and `>=` are true, `<`
#     and `>` are false, and `==` is false as well: it compares texts. So a range of univers with that version alone,
#     `vers:deb/1.0-01`, does not contain it.
#   - debian-inspector takes a version that ends in `~` or `+` for invalid. dpkg takes both, and `(>= 9~)` is the usual way
#     to let in backports.
#
# Why it matters: scanners ask `version in range`, and advisories name single versions: with a zero more or less nothing is
# found, and nothing says so. What compares a dependency's version with debian-inspector stops at the first backport's.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check univers==32.0.1 debian-inspector==31.1.1 >/dev/null 2>&1
{
  dpkg --compare-versions 1.0-1 eq 1.0-01 && echo "dpkg: 1.0-1 is 1.0-01"
  for pair in '9 9~' '1.0+ 1.0'; do
    # shellcheck disable=SC2086 # two words
    set -- $pair
    dpkg --compare-versions "$1" gt "$2" && echo "dpkg: $1 is more than $2"
  done
  v/bin/python - <<'P'
from debian_inspector.version import Version
from univers.version_range import VersionRange
from univers.versions import DebianVersion
for library, make in {"univers": DebianVersion, "debian-inspector": Version.from_string}.items():
    a, b = make("1.0-1"), make("1.0-01")
    print(f"{library}: <= {a <= b}, >= {a >= b}, < {a < b}, > {a > b}, == {a == b}")
print("univers: 1.0-1 in vers:deb/1.0-01:", DebianVersion("1.0-1") in VersionRange.from_string("vers:deb/1.0-01"))
for text in ["9~", "1.0+"]:
    print(f"univers: {text} is {DebianVersion(text)}")
    try:
        print(f"debian-inspector: {text} is {Version.from_string(text)}")
    except ValueError as error:
        print(f"debian-inspector: {error}")
P
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
dpkg: 1.0-1 is 1.0-01
dpkg: 9 is more than 9~
dpkg: 1.0+ is more than 1.0
univers: <= True, >= True, < False, > False, == False
debian-inspector: <= True, >= True, < False, > False, == False
univers: 1.0-1 in vers:deb/1.0-01: False
univers: 9~ is 9~
debian-inspector: Invalid version string: "9~"
univers: 1.0+ is 1.0+
debian-inspector: Invalid version string: "1.0+"
T
