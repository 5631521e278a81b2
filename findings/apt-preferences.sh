#!/usr/bin/env bash
# Pins that look right are not there, and others hold for more than they name; apt says nothing of either.
#
# Version: apt 2.6.1 (Debian 12); 3.3.3 (Debian testing) was seen to behave in the same way.
#
# Guess: `Package: a, b` is two names, a comment after a value is none of the value, a line of blanks parts two pins, `v=12` is Debian 12,
# and what does not fit anything is told. Names of suites and packages are compared letter by letter.
#
# Behaviour:
#   - `Package: a, b` pins b alone: the first name is `a,`.
#   - `Pin: version 1.0 # why` pins nothing, and after a number in Pin-Priority the same comment does no harm.
#   - A space in the line between two pins makes them one, of which each field counts as it was given last: the first is gone.
#   - `Pin: release v=12` is not 12.5; `v=12*` is.
#   - Patterns are compared without regard to case: `FOO-*` and `/^FOO/` pin foo-x, and `FOO-X` does not. So are all fields of a
#     release: `a=STABLE` is stable.
#
# Why it matters: pins hold a version back, or keep a repository from replacing the distribution's packages. One that is not there is seen
# when the wrong package has been installed.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download apt=2.6.1 libapt-pkg6.0=2.6.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
mkdir -p repository etc/apt/{preferences.d,apt.conf.d} var/lib/apt/lists/partial var/cache/apt/archives/partial var/lib/dpkg
: >var/lib/dpkg/status >apt.conf
for name in a b foo-x; do
  for version in 1.0 2.0; do
    printf '%s\n' "Package: $name" "Version: $version" 'Architecture: amd64' 'Maintainer: A <a@example.org>' 'Description: example' \
      "Filename: ./$name.deb" 'Size: 1' "SHA256: $(printf %064d 0)" ''
  done
done >repository/Packages
printf '%s\n' 'Origin: Example' 'Suite: stable' 'Codename: book' 'Version: 12.5' "Date: $(date -Ru)" \
  'SHA256:' " $(sha256sum repository/Packages | cut -d' ' -f1) $(stat -c %s repository/Packages) Packages" >repository/Release
echo "deb [trusted=yes] file:$tmp/repository ./" >etc/apt/sources.list
a() {
  APT_CONFIG=$tmp/apt.conf LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu "root/usr/bin/$1" -o Dir="$tmp" \
    -o Dir::State::status="$tmp/var/lib/dpkg/status" -o Dir::Bin::methods="$tmp/root/usr/lib/apt/methods" -o APT::Sandbox::User= \
    -o APT::Architecture=amd64 -o APT::Architectures=amd64 "${@:2}"
}
a apt-get -qq update
try() {
  # shellcheck disable=SC2059 # what it escapes
  printf "$1" >etc/apt/preferences
  printf '%s\n ' "$1" | sed 's/\\n/ | /g; s/ | $//' | head -1
  for name in a b foo-x; do
    a apt-cache policy $name 2>&1 | sed -n "s/^[EW]:.*/ said: &/p; s/^  Candidate: \(.*\)/ $name \1/p"
  done | tr -d '\n'
  echo
}
version='Pin: version 1.0\nPin-Priority: 1001\n'
{
  try "Package: a b\n$version"
  try "Package: a, b\n$version"
  try 'Package: a\nPin: version 1.0 # why\nPin-Priority: 1001\n'
  try 'Package: a\nPin: version 1.0\nPin-Priority: 1001 # why\n'
  try "Package: a\n$version\nPackage: b\n$version"
  try "Package: a\n$version \nPackage: b\n$version"
  try 'Package: *\nPin: release v=12\nPin-Priority: -1\n'
  try 'Package: *\nPin: release v=12*\nPin-Priority: -1\n'
  try 'Package: *\nPin: release a=STABLE\nPin-Priority: -1\n'
  try "Package: FOO-X\n$version"
  try "Package: FOO-*\n$version"
  try "Package: /^FOO/\n$version"
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
Package: a b | Pin: version 1.0 | Pin-Priority: 1001
 a 1.0 b 1.0 foo-x 2.0
Package: a, b | Pin: version 1.0 | Pin-Priority: 1001
 a 2.0 b 1.0 foo-x 2.0
Package: a | Pin: version 1.0 # why | Pin-Priority: 1001
 a 2.0 b 2.0 foo-x 2.0
Package: a | Pin: version 1.0 | Pin-Priority: 1001 # why
 a 1.0 b 2.0 foo-x 2.0
Package: a | Pin: version 1.0 | Pin-Priority: 1001 |  | Package: b | Pin: version 1.0 | Pin-Priority: 1001
 a 1.0 b 1.0 foo-x 2.0
Package: a | Pin: version 1.0 | Pin-Priority: 1001 |   | Package: b | Pin: version 1.0 | Pin-Priority: 1001
 a 2.0 b 1.0 foo-x 2.0
Package: * | Pin: release v=12 | Pin-Priority: -1
 a 2.0 b 2.0 foo-x 2.0
Package: * | Pin: release v=12* | Pin-Priority: -1
 a (none) b (none) foo-x (none)
Package: * | Pin: release a=STABLE | Pin-Priority: -1
 a (none) b (none) foo-x (none)
Package: FOO-X | Pin: version 1.0 | Pin-Priority: 1001
 a 2.0 b 2.0 foo-x 2.0
Package: FOO-* | Pin: version 1.0 | Pin-Priority: 1001
 a 2.0 b 2.0 foo-x 1.0
Package: /^FOO/ | Pin: version 1.0 | Pin-Priority: 1001
 a 2.0 b 2.0 foo-x 1.0
T
