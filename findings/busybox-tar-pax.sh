#!/usr/bin/env bash
# busybox's tar takes names from a pax archive's extended headers and nothing else: large users become root, and times 1970.
#
# Version: busybox 1.35.0 (Debian 12), beside GNU tar 1.34 and tarfile of Python 3.11.
#
# Guess: what takes long names and targets of links from the extended headers of POSIX's format takes users, groups and times, too.
#
# Behaviour: names and targets are right. A user or group above 2097151, or a time that the older header has no room for, is 0,
# which is what tarfile writes there beside the extended header; not a word is said. In an archive of GNU's format all is right.
#
# Why it matters: busybox is what unpacks in Alpine's images, and pax is the format that Python, Go and `tar --format=posix` write by
# themselves. Where users have large numbers (OpenShift's projects, 1000650000 and on, or directory services), their files belong to
# root in the container, and the application cannot write them.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, since owners are unpacked" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download busybox=1:1.35.0-4+deb12u1+b1 2>apt.log || { cat apt.log >&2; exit 2; }
dpkg-deb -x busybox_*.deb root
cat >make.py <<'P'
import io, tarfile
long = "d/" + "n" * 110
entries = [(long + ".first", b"first", {}), (long + ".second", b"second", {}), ("user", b"user", {"uid": 1000650000, "gid": 1000650000}),
           ("old", b"old", {"mtime": 8589934592}), ("link", b"", {"type": tarfile.SYMTYPE, "linkname": "t" * 110})]
for name, form in [("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
    with tarfile.open(name + ".tar", "w", format=form) as out:
        for path, data, more in entries:
            info = tarfile.TarInfo(path)
            info.size = len(data)
            for field, value in more.items():
                setattr(info, field, value)
            out.addfile(info, io.BytesIO(data))
P
/usr/bin/python3 make.py
for archive in gnu pax; do
  for reader in 'tar --warning=no-timestamp' 'root/bin/busybox tar'; do
    rm -rf out && mkdir out
    if [ "${reader%% *}" = tar ]; then echo "$archive, GNU tar:"; else echo "$archive, busybox:"; fi
    $reader -xf $archive.tar -C out
    for file in out/d/*; do
      name=${file#out/d/}
      echo "  a name of ${#name} bytes with ${name: -6} at its end: $(cat "$file")"
    done
    echo "  $(stat -c 'user %u, group %g' out/user); $(TZ=UTC date -r out/old +%F); a link to $(readlink out/link | tr -d '\n' | wc -c) bytes"
  done
done >seen.txt 2>&1
cat seen.txt
diff - seen.txt <<'T'
gnu, GNU tar:
  a name of 116 bytes with .first at its end: first
  a name of 117 bytes with second at its end: second
  user 1000650000, group 1000650000; 2242-03-16; a link to 110 bytes
gnu, busybox:
  a name of 116 bytes with .first at its end: first
  a name of 117 bytes with second at its end: second
  user 1000650000, group 1000650000; 2242-03-16; a link to 110 bytes
pax, GNU tar:
  a name of 116 bytes with .first at its end: first
  a name of 117 bytes with second at its end: second
  user 1000650000, group 1000650000; 2242-03-16; a link to 110 bytes
pax, busybox:
  a name of 116 bytes with .first at its end: first
  a name of 117 bytes with second at its end: second
  user 0, group 0; 1970-01-01; a link to 110 bytes
T
