#!/usr/bin/env bash
# All names but one of a file with hard links are empty for a library that reads what rpm packs.
#
# Versions: rpmfile 2.2.1 (Python), beside rpmbuild 4.18.0 and bsdtar of libarchive 3.6.2 (Debian 12).
#
# Guess: a library that gives a package's files by name gives each name its content, as an installation does; or it says that one
# is a link to another.
#
# Behaviour: in the payload (cpio, the format newc), a file's content stands at the last of its names, and the others are there with no
# bytes. rpmfile gives these as plain files of size 0, though the package's header says 8 for each. bsdtar, which reads packages of rpm
# too, unpacks one file with all names.
#
# Why it matters: rpm keeps the links that a package's own build made (git's programs, perl's, locales, Java's legal notices). A
# scanner that hashes what it reads has the hash of nothing, and an image that is made of such packages has an empty program.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
rpm=4.18.0+dfsg-1+deb12u1 archive=3.6.2-1+deb12u5
apt-get -qq download rpm=$rpm rpm-common=$rpm librpm9=$rpm librpmio9=$rpm librpmbuild9=$rpm librpmsign9=$rpm libarchive-tools=$archive \
  libarchive13=$archive libfsverity0 liblua5.3-0 libpopt0 libdw1 libelf1 libmagic1 libgomp1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple RPM_CONFIGDIR=$tmp/root/usr/lib/rpm
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check rpmfile==2.2.1 >/dev/null 2>&1
cat >example.spec <<'T'
Name: example
Version: 1.0
Release: 1
Summary: An example
License: MIT
BuildArch: noarch
AutoReqProv: no
%define __spec_install_post %{nil}
%description
An example.
%install
mkdir -p %{buildroot}/opt/example
echo content >%{buildroot}/opt/example/a
ln %{buildroot}/opt/example/a %{buildroot}/opt/example/b
ln %{buildroot}/opt/example/a %{buildroot}/opt/example/c
%files
/opt/example
T
root/usr/bin/rpmbuild -bb --define "_topdir $tmp/build" example.spec >build.log 2>&1 || { cat build.log >&2; exit 2; }
cp build/RPMS/noarch/example-1.0-1.noarch.rpm example.rpm
cat >of.py <<'P'
import rpmfile
with rpmfile.open("example.rpm") as package:
    for member in sorted(package.getmembers(), key=lambda member: member.name):
        print(f"  {member.name}: size {member.size}, {package.extractfile(member).read()!r}")
P
{
  echo "rpm:"
  root/usr/bin/rpm --dbpath "$tmp/db" -qp --qf '[  %{FILENAMES}: size %{FILESIZES}, %{FILENLINKS} links\n]' example.rpm | grep example/
  echo "bsdtar:"
  mkdir out
  root/usr/bin/bsdtar -xf example.rpm -C out
  (cd out && stat -c '  %n: size %s, %h links' opt/example/*)
  echo "rpmfile:"
  v/bin/python of.py
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
rpm:
  /opt/example/a: size 8, 3 links
  /opt/example/b: size 8, 3 links
  /opt/example/c: size 8, 3 links
bsdtar:
  opt/example/a: size 8, 3 links
  opt/example/b: size 8, 3 links
  opt/example/c: size 8, 3 links
rpmfile:
  ./opt/example/a: size 0, b''
  ./opt/example/b: size 0, b''
  ./opt/example/c: size 8, b'content\n'
T
