#!/usr/bin/env bash
# One tar is two file systems of squashfs by the tool that makes it: another root, another file of two, or none at all.
#
# Versions: sqfstar of squashfs-tools 4.5.1 and tar2sqfs of squashfs-tools-ng 1.2.0 (Debian 12), with what GNU tar 1.34 writes.
#
# Guess: what makes an image of a tar makes what tar itself unpacks. The entry `./` says who has the root, and its mode; of two entries with
# one name, as `tar -r` and `cat` of layers write them, the last one holds; directories that are not listed get the same mode and time each
# time; a time that squashfs has not (32 bits, from 1970) is moved to the nearest one or is an error.
#
# Behaviour:
#   - sqfstar passes over `./`: the root is root's, with mode 0777, and has the time at which the image was made, as have directories that
#     are not listed. tar2sqfs takes `./` but for its time.
#   - Of two entries sqfstar takes the first one, with a line of text and status 0; tar2sqfs makes no image. The same for a directory.
#   - A time before 1970 is 1970 for tar2sqfs; sqfstar makes no image, as it "failed to parse pax header". A time five seconds after the
#     last one is 1970 for sqfstar, and 2106 for tar2sqfs.
#
# Why it matters: images of containers are made into squashfs for machines and for engines that mount them. There everybody may write
# to `/`, the old content of a file is back, and the same tar is another image each time, by a name of a tool.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
unset SOURCE_DATE_EPOCH
export TZ=UTC
apt-get -qq download squashfs-tools=1:4.5.1-1 squashfs-tools-ng=1.2.0-1 libsquashfs1=1.2.0-1 liblzo2-2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
write() { tar --format=posix --sort=name --owner=5 --group=6 --mtime=@1000000000 "$@"; }
mkdir -p tree/deep new
chmod 0711 tree
echo first >tree/f
echo second >new/f
echo x >tree/deep/x
write -C tree -cf root.tar . 2>/dev/null
write -C tree -cf unlisted.tar deep/x
write -C tree -cf twice.tar f && write -C new -rf twice.tar f
write -C tree -cf directory.tar --mode=0700 --no-recursion deep && write -C tree -rf directory.tar --mode=0750 --no-recursion deep
write -C tree -cf old.tar --mtime=@-5 f
write -C tree -cf late.tar --mtime=@4294967300 f
now=$(date +%Y)
for archive in root unlisted twice directory old late; do
  echo "$archive, by tar: $(tar --numeric-owner -tvf "$archive.tar" | awk '{ printf "%s %s %.4s %s; ", $1, $2, $4, $6 }')"
  for tool in sqfstar tar2sqfs; do
    case $tool in
      sqfstar) root/usr/bin/sqfstar -no-progress image <"$archive.tar" >log 2>&1 && status=0 || status=$? ;;
      *) root/usr/bin/tar2sqfs -q -f image <"$archive.tar" >log 2>&1 && status=0 || status=$? ;;
    esac
    found=$([ $status != 0 ] && { echo "no image"; grep -oE 'Failed to parse pax header|File exists' log; } ||
      root/usr/bin/unsquashfs -lln image | awk -v now="$now" '/squashfs-root/ { sub("squashfs-root", "", $6); sub("^" now, "now", $4); split($4, at, "-"); printf "%s %s %s %s; ", $1, $2, at[1], $6 == "" ? "/" : $6 }')
    case $archive in twice) [ $status != 0 ] || found+=$(root/usr/bin/unsquashfs -cat image f) ;; esac
    echo "  $tool: ${found//$'\n'/: }"
    rm -f image
  done
done | sed 's/; *$//' | tee seen.txt
diff - seen.txt <<'T'
root, by tar: drwx--x--x 5/6 2001 ./; drwxr-xr-x 5/6 2001 ./deep/; -rw-r--r-- 5/6 2001 ./deep/x; -rw-r--r-- 5/6 2001 ./f
  sqfstar: drwxrwxrwx 0/0 now /; drwxr-xr-x 5/6 2001 /deep; -rw-r--r-- 5/6 2001 /deep/x; -rw-r--r-- 5/6 2001 /f
  tar2sqfs: drwx--x--x 5/6 2001 /; drwxr-xr-x 5/6 2001 /deep; -rw-r--r-- 5/6 2001 /deep/x; -rw-r--r-- 5/6 2001 /f
unlisted, by tar: -rw-r--r-- 5/6 2001 deep/x
  sqfstar: drwxrwxrwx 0/0 now /; drwxr-xr-x 0/0 now /deep; -rw-r--r-- 5/6 2001 /deep/x
  tar2sqfs: drwxr-xr-x 0/0 1970 /; drwxr-xr-x 0/0 1970 /deep; -rw-r--r-- 5/6 2001 /deep/x
twice, by tar: -rw-r--r-- 5/6 2001 f; -rw-r--r-- 5/6 2001 f
  sqfstar: drwxrwxrwx 0/0 now /; -rw-r--r-- 5/6 2001 /f; first
  tar2sqfs: no image: File exists
directory, by tar: drwx------ 5/6 2001 deep/; drwxr-x--- 5/6 2001 deep/
  sqfstar: drwxrwxrwx 0/0 now /; drwx------ 5/6 2001 /deep
  tar2sqfs: no image: File exists
old, by tar: -rw-r--r-- 5/6 1969 f
  sqfstar: no image: Failed to parse pax header
  tar2sqfs: drwxr-xr-x 0/0 1970 /; -rw-r--r-- 5/6 1970 /f
late, by tar: -rw-r--r-- 5/6 2106 f
  sqfstar: drwxrwxrwx 0/0 now /; -rw-r--r-- 5/6 1970 /f
  tar2sqfs: drwxr-xr-x 0/0 1970 /; -rw-r--r-- 5/6 2106 /f
T
