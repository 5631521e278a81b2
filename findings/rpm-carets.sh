#!/usr/bin/env bash
# A snapshot's version (`1.0^20240101git`) is newer than the release after it, for libraries that compare rpm's versions.
#
# Versions: rpm-vercmp 0.1.2 and version-utils 0.3.2 (Python), beside rpm 4.18.0 (Debian 12).
#
# Guess: libraries whose task is to compare versions of rpm say what rpm says.
#
# Behaviour: rpm sorts what follows a caret after 1.0 and before every 1.0.1 and 1.0a. Both libraries know the tilde of
# pre-releases, and take the caret for a separator like a dot: 1.0^20240101git is newer than 1.0.1 for them.
#
# Why it matters: the caret is how packages of snapshots are versioned. Whoever asks one of these libraries whether 1.0.1 updates
# such a snapshot, or whether an advisory that is fixed in 1.0.1 concerns it, is told that what is installed is newer already.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
rpm=4.18.0+dfsg-1+deb12u1
apt-get -qq download python3-rpm=$rpm librpm9=$rpm librpmio9=$rpm librpmbuild9=$rpm librpmsign9=$rpm \
  libfsverity0 liblua5.3-0 libpopt0 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check rpm-vercmp==0.1.2 version-utils==0.3.2 >/dev/null 2>&1
cat >pairs.txt <<'T'
1.0~rc1 1.0
1.0^20240101git 1.0
1.0^20240101git 1.0.1
1.0^20240101git 1.0a
T
cat >compare.py <<'P'
import sys
name = sys.argv[1]
if name == "rpm":
    import rpm
    compare = lambda a, b: rpm.labelCompare(("0", a, "1"), ("0", b, "1"))
elif name == "rpm-vercmp":
    from rpm_vercmp import vercmp as compare
else:
    from version_utils.rpm import compare_versions as compare
for a, b in (line.split() for line in open("pairs.txt")):
    print(f"{name}: {a} is {['the same as', 'newer than', 'older than'][compare(a, b)]} {b}")
P
{
  LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple PYTHONPATH=root/usr/lib/python3/dist-packages \
    /usr/bin/python3 compare.py rpm
  v/bin/python compare.py rpm-vercmp
  v/bin/python compare.py version-utils
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
rpm: 1.0~rc1 is older than 1.0
rpm: 1.0^20240101git is newer than 1.0
rpm: 1.0^20240101git is older than 1.0.1
rpm: 1.0^20240101git is older than 1.0a
rpm-vercmp: 1.0~rc1 is older than 1.0
rpm-vercmp: 1.0^20240101git is newer than 1.0
rpm-vercmp: 1.0^20240101git is newer than 1.0.1
rpm-vercmp: 1.0^20240101git is newer than 1.0a
version-utils: 1.0~rc1 is older than 1.0
version-utils: 1.0^20240101git is newer than 1.0
version-utils: 1.0^20240101git is newer than 1.0.1
version-utils: 1.0^20240101git is newer than 1.0a
T
