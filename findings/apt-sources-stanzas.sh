#!/usr/bin/env bash
# A blank in the line between two stanzas of a .sources file, and apt does not know the first one; nothing is said.
#
# Versions: apt 2.6.1 (Debian 12; 3.3.3 of Debian testing was seen to behave in the same way), python-debian 1.1.1.
#
# Guess: a line of blanks parts stanzas like an empty one, as for python-debian; a field that is there twice is an error; and `no`
# with a comment after it is no, or is refused.
#
# Behaviour:
#   - A line with a space or a tab goes on with the field before it, and so both stanzas are one. Each field counts as it was given
#     last: the first repository is gone, without a warning. A line with `#` alone does not part stanzas either.
#   - A comment after a value is none: `Enabled: no # why` is enabled, and `Suites: stable # old` has three suites.
#   - A comment among the lines of a field does not end it: the lines after it count.
#
# Why it matters: editors and templates leave blanks in empty lines. What goes first is mostly the distribution itself, and what
# follows its security updates, or the other way round: packages stay at the version that the remaining one has.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download apt=2.6.1 libapt-pkg6.0=2.6.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check python-debian==1.1.1 >/dev/null 2>&1
mkdir -p etc/apt/{sources.list.d,preferences.d,apt.conf.d} var/lib/apt/lists/partial var/cache/apt/archives/partial var/lib/dpkg
: >var/lib/dpkg/status >etc/apt/sources.list >apt.conf
of_apt() { # the release files that it would fetch
  APT_CONFIG=$tmp/apt.conf LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu root/usr/bin/apt-get -o Dir="$tmp" -o Dir::State::status="$tmp/var/lib/dpkg/status" \
    -o Dir::Bin::methods="$tmp/root/usr/lib/apt/methods" -o APT::Architecture=amd64 -o APT::Architectures=amd64 update --print-uris 2>&1 |
    sed -n "s|^'https://\([^']*\)/InRelease'.*| \1|p; s|^[EW]:.*| an error or a warning|p" | sort | tr -d '\n'
}
cat >of.py <<'P'
from debian.deb822 import Deb822
for stanza in Deb822.iter_paragraphs(open("etc/apt/sources.list.d/one.sources", "rb"), use_apt_pkg=False):
    print("", " ".join(f"{name}={' '.join(stanza[name].split())}" for name in ["Enabled", "Suites"] if name in stanza), end=";")
P
try() {
  echo "$1"
  # shellcheck disable=SC2059 # what it escapes
  printf "$2" >etc/apt/sources.list.d/one.sources
  echo "  apt:$(of_apt)"
  echo "  python-debian:$(v/bin/python of.py)"
}
one='Types: deb\nURIs: https://deb.example\nSuites: stable\nComponents: main\n'
two='Types: deb\nURIs: https://security.example\nSuites: stable-security\nComponents: main\n'
{
  try 'an empty line between two stanzas' "$one\n$two"
  try 'a space in that line' "$one \n$two"
  try 'a tab in that line' "$one\t\n$two"
  try 'a # in that line' "$one#\n$two"
  try 'Enabled: no' "Enabled: no\n$one"
  try 'Enabled: no # why' "Enabled: no # why\n$one"
  try 'Suites: stable # old' "${one/stable/stable # old}"
  try 'a comment among the lines of a field' "${one/stable/'\n stable\n# not yet\n testing'}"
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
an empty line between two stanzas
  apt: deb.example/dists/stable security.example/dists/stable-security
  python-debian: Suites=stable; Suites=stable-security;
a space in that line
  apt: security.example/dists/stable-security
  python-debian: Suites=stable; Suites=stable-security;
a tab in that line
  apt: security.example/dists/stable-security
  python-debian: Suites=stable; Suites=stable-security;
a # in that line
  apt: security.example/dists/stable-security
  python-debian: Suites=stable-security;
Enabled: no
  apt:
  python-debian: Enabled=no Suites=stable;
Enabled: no # why
  apt: deb.example/dists/stable
  python-debian: Enabled=no # why Suites=stable;
Suites: stable # old
  apt: deb.example/dists/# deb.example/dists/old deb.example/dists/stable
  python-debian: Suites=stable # old;
a comment among the lines of a field
  apt: deb.example/dists/stable deb.example/dists/testing
  python-debian: Suites=stable testing;
T
