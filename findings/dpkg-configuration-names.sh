#!/usr/bin/env bash
# dpkg does not read a file in dpkg.cfg.d whose name has a dot.
#
# Version: dpkg 1.21.23 (Debian 12).
#
# Guess: /etc/dpkg/dpkg.cfg.d/01_nodoc.conf is read, as a `.conf` is in apt.conf.d and nearly everywhere; or dpkg warns.
#
# Behaviour: only files named with letters, digits, `-` and `_` are read. `nodoc.conf`, `no.doc` and `no+doc` are passed over
# without a word, and packages come with all that was to be left out.
#
# Why it matters: a Dockerfile that writes path-exclude lines to `….conf` makes an image that works and is no smaller. In
# apt's folders it is the other way round: preferences.d and apt.conf.d take names without an ending or with .pref and .conf.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, to put another folder over /etc/dpkg/dpkg.cfg.d for itself" >&2; exit 2; }
[ -z "${1-}" ] && exec unshare --mount "$0" inside
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download dpkg=1.21.23 2>apt.log || { cat apt.log >&2; exit 2; }
dpkg-deb -x dpkg_*.deb tool
mount -t tmpfs none /etc/dpkg/dpkg.cfg.d
mkdir -p package/DEBIAN package/usr/share/doc/example
printf '%s\n' 'Package: example' 'Version: 1' 'Architecture: all' 'Maintainer: A <a@example.org>' 'Description: example' >package/DEBIAN/control
echo text >package/usr/share/doc/example/copyright
dpkg-deb --build --root-owner-group package example.deb >/dev/null
for name in nodoc 01_nodoc nodoc.conf no.doc no+doc; do
  rm -f /etc/dpkg/dpkg.cfg.d/*
  echo 'path-exclude=/usr/share/doc/*' >"/etc/dpkg/dpkg.cfg.d/$name"
  rm -rf root && mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates && touch root/var/lib/dpkg/status
  tool/usr/bin/dpkg --root="$tmp/root" --log=/dev/null --install example.deb >out.txt 2>&1
  echo "$name: $([ -e root/usr/share/doc/example/copyright ] && echo not read || echo read), warnings: $(grep -ci warning out.txt || :)"
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
nodoc: read, warnings: 0
01_nodoc: read, warnings: 0
nodoc.conf: not read, warnings: 0
no.doc: not read, warnings: 0
no+doc: not read, warnings: 0
T
