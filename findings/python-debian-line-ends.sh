#!/usr/bin/env bash
# One description with a Unicode line separator, and python-debian reads no package of dpkg's database.
#
# Versions: python-debian 1.1.1 and debian-inspector 31.1.1 (Python), dpkg 1.21.23 (Debian 12).
#
# Guess: lines of a control file end with a line feed, for everybody, and a field may hold any other text.
#
# Behaviour: dpkg builds, and has on record, a package whose description has U+2028, U+0085 or a form feed within a line.
# python-debian breaks the value at them too (as Python's splitlines does), finds that what follows does not begin with a
# space, and raises ValueError, out of the loop over all paragraphs: the packages after this one are not seen.
# debian-inspector reads all.
#
# Why it matters: text that was copied from a web page or an old changelog has such characters. A scanner built on it fails
# on an image in which apt, dpkg and every other reader find nothing wrong, or, where it catches the error, ends its list
# there.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download dpkg=1.21.23 2>apt.log || { cat apt.log >&2; exit 2; }
dpkg-deb -x dpkg_*.deb tool
export PATH=$tmp/tool/usr/bin:$PATH
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check python-debian==1.1.1 debian-inspector==31.1.1 >/dev/null 2>&1
cat >read.py <<'P'
from debian import deb822
from debian_inspector import debcon
names = []
try:
    for paragraph in deb822.Deb822.iter_paragraphs(open("root/var/lib/dpkg/status", "rb"), use_apt_pkg=False):
        names.append(paragraph["Package"])
except ValueError as error:
    names.append(f"ValueError: {error}")
print("  python-debian:", *names)
print("  debian-inspector:", *(p["package"] for p in debcon.get_paragraphs_data_from_file("root/var/lib/dpkg/status")))
P
{
  for character in U+0020:' ' U+2028:$'\xe2\x80\xa8' U+0085:$'\xc2\x85' U+000C:$'\f'; do
    echo "${character%%:*}"
    rm -rf root && mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates && touch root/var/lib/dpkg/status
    for name in a b c; do
      mkdir -p $name/DEBIAN
      between=' '
      [ $name != b ] || between=${character#*:}
      printf '%s\n' "Package: $name" 'Version: 1' 'Architecture: all' 'Maintainer: A <a@example.org>' "Description: short" " one${between}two" >$name/DEBIAN/control
      dpkg-deb --build --root-owner-group $name $name.deb >/dev/null
      dpkg-deb --ctrl-tarfile $name.deb | tar -xO ./control | sed '/^Version/a Status: install ok installed' >>root/var/lib/dpkg/status
      echo >>root/var/lib/dpkg/status
    done
    echo "  dpkg: $(dpkg-query --admindir=root/var/lib/dpkg --show --showformat='${Package} ')"
    v/bin/python read.py
  done
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
U+0020
  dpkg: a b c 
  python-debian: a b c
  debian-inspector: a b c
U+2028
  dpkg: a b c 
  python-debian: a ValueError: each line must start with whitespace
  debian-inspector: a b c
U+0085
  dpkg: a b c 
  python-debian: a ValueError: each line must start with whitespace
  debian-inspector: a b c
U+000C
  dpkg: a b c 
  python-debian: a ValueError: each line must start with whitespace
  debian-inspector: a b c
T
