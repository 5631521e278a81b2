#!/usr/bin/env bash
# Two path filters of dpkg with which a package cannot be installed at all.
#
# Version: dpkg 1.21.23 (Debian 12).
#
# Guess: path-exclude and path-include choose files; whatever they choose, the package is installed. What is included has its
# directories, and the second name of a file is a file of its own when the first is left out.
#
# Behaviour:
#   - `path-exclude=/usr/share/doc/*` with `path-include=/usr/share/doc/*/copyright` works: directories that might match the
#     beginning of the pattern up to its first wildcard stay. With the exact name,
#     `path-include=/usr/share/doc/example/copyright`, the directory `example` does not stay, and the installation fails:
#     "unable to create … No such file or directory".
#   - Of two hard links in a package, the first in the archive has the content. A filter that leaves out the first alone lets
#     the installation fail, "error creating hard link"; one that leaves out the second alone works.
#
# Why it matters: filters in images are written once, for packages that come later. An include that is made more exact, or a
# filter for some languages of a manual whose pages are links to one another, breaks `apt-get install` of one package in
# hundreds.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, since dpkg sets owners" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download dpkg=1.21.23 2>apt.log || { cat apt.log >&2; exit 2; }
dpkg-deb -x dpkg_*.deb tool
mkdir -p package/DEBIAN package/usr/share/doc/example package/usr/share/man/de package/usr/share/man/en
printf '%s\n' 'Package: example' 'Version: 1' 'Architecture: all' 'Maintainer: A <a@example.org>' 'Description: example' >package/DEBIAN/control
echo text | tee package/usr/share/doc/example/copyright >package/usr/share/doc/example/changelog
# dpkg-deb packs in the order of names, so that `de` comes first.
echo page >package/usr/share/man/de/example.1
ln package/usr/share/man/de/example.1 package/usr/share/man/en/example.1
dpkg-deb --build --root-owner-group package example.deb >/dev/null
try() {
  echo "== $*"
  rm -rf root && mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates && touch root/var/lib/dpkg/status
  if tool/usr/bin/dpkg --root="$tmp/root" --log=/dev/null "$@" --install example.deb >out.txt 2>&1; then
    (cd root && find usr -type f -printf '  %p\n' | sort)
  else
    grep -oE 'unable to create|error creating hard link|No such file or directory' out.txt | tr '\n' ' ' | sed 's/^/  /'
    echo
  fi
}
{
  try --path-exclude='/usr/share/doc/*' --path-include='/usr/share/doc/*/copyright'
  try --path-exclude='/usr/share/doc/*' --path-include='/usr/share/doc/example/copyright'
  try --path-exclude='/usr/share/man/en/*'
  try --path-exclude='/usr/share/man/de/*'
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
== --path-exclude=/usr/share/doc/* --path-include=/usr/share/doc/*/copyright
  usr/share/doc/example/copyright
  usr/share/man/de/example.1
  usr/share/man/en/example.1
== --path-exclude=/usr/share/doc/* --path-include=/usr/share/doc/example/copyright
  unable to create No such file or directory 
== --path-exclude=/usr/share/man/en/*
  usr/share/doc/example/changelog
  usr/share/doc/example/copyright
  usr/share/man/de/example.1
== --path-exclude=/usr/share/man/de/*
  error creating hard link No such file or directory 
T
