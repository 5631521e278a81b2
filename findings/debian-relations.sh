#!/usr/bin/env bash
# `python3:any` is met by no package, a comma at the end is a package without a name, and `<<` becomes `<=`, by library.
#
# Versions: python3-apt 2.6.0 (Debian 12), python-debian 1.1.1, debian-inspector 31.1.1, deb-pkg-tools 8.4 (Python).
#
# Guess: what reads Debian's dependencies gives back a name, a relation as it was written, and a version, and can be asked whether
# a package meets it.
#
# Behaviour:
#   - For debian-inspector and deb-pkg-tools, `:any` belongs to the name: a dependency on `python3:any (>= 3.9)` says nothing
#     of the package python3 (None), and only one named `python3:any` meets it.
#   - python3-apt gives `<` for `<<`. What is put together of its three parts again is read as `<=`, which `<` is for dpkg too.
#   - python-debian gives one more relation for a comma at the end, with an empty name.
#
# Why it matters: nearly each program in Python depends on `python3:any`, and many control files have a comma after the last line.
# What rewrites dependencies with python3-apt lets in the very version that a `<<` keeps out, as in each `Breaks`.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download python3-apt=2.6.0 libapt-pkg6.0=2.6.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check \
  python-debian==1.1.1 debian-inspector==31.1.1 deb-pkg-tools==8.4 >/dev/null 2>&1
cat >of_apt.py <<'P'
import apt_pkg
apt_pkg.init_config()
apt_pkg.init_system()
print("python3-apt: python3:any (>= 3.9) is", apt_pkg.parse_depends("python3:any (>= 3.9)"))
for text in ["a (<< 2)", "a (>> 2)"]:
    (name, version, relation), = apt_pkg.parse_depends(text)[0]
    again = f"{name} ({relation} {version})"
    print(f"python3-apt: {text} is {relation!r} {version!r}; {again} is {apt_pkg.parse_depends(again)[0][0][2]!r}")
print("python3-apt: a, b, is", [entry[0][0] for entry in apt_pkg.parse_depends("a, b,")])
P
cat >of_others.py <<'P'
import logging
logging.disable()
from deb_pkg_tools.deps import parse_depends
from debian.deb822 import PkgRelation
from debian_inspector import deps
for name, parse in {"debian-inspector": deps.parse_depends, "deb-pkg-tools": parse_depends}.items():
    met = parse("python3:any (>= 3.9)")
    print(f"{name}: python3:any (>= 3.9) is met by python3 3.11.2: {met.matches('python3', '3.11.2')}, "
          f"by python3:any 3.11.2: {met.matches('python3:any', '3.11.2')}")
print("python-debian: a, b, is", [entry[0]["name"] for entry in PkgRelation.parse_relations("a, b,")])
P
{
  LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu PYTHONPATH=root/usr/lib/python3/dist-packages /usr/bin/python3 of_apt.py
  v/bin/python of_others.py
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
python3-apt: python3:any (>= 3.9) is [[('python3', '3.9', '>=')]]
python3-apt: a (<< 2) is '<' '2'; a (< 2) is '<='
python3-apt: a (>> 2) is '>' '2'; a (> 2) is '>='
python3-apt: a, b, is ['a', 'b']
debian-inspector: python3:any (>= 3.9) is met by python3 3.11.2: None, by python3:any 3.11.2: True
deb-pkg-tools: python3:any (>= 3.9) is met by python3 3.11.2: None, by python3:any 3.11.2: True
python-debian: a, b, is ['a', 'b', '']
T
