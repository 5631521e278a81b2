#!/usr/bin/env bash
# A tree that was made into a file system of ext, and taken out again, has other owners and devices, and not its root, by the tool.
#
# Versions: genext2fs 1.5.0, and mke2fs and debugfs of e2fsprogs 1.47.0 (Debian 12).
#
# Guess: `genext2fs -d` and `mke2fs -d` write a folder as it is: owners, modes, times, hard links, devices, extended attributes, and the
# folder's own owner and mode for the root; or they say what cannot be written. `debugfs -R 'rdump / to'` takes all of it out.
#
# Behaviour:
#   - genext2fs cuts owners and groups at 16 bits, and minor numbers of devices at 8: 70000 becomes 4464, 300 becomes 44. Attributes are not there.
#   - For both the root is root's with mode 0755, not what the folder has.
#   - A time before 1970 or after 2106 is another one in the image, by 2^32 seconds, on images below 512 MB, which mke2fs gives small inodes.
#   - rdump takes the set-user bit, and leaves out devices and named pipes. Two names of one file are two files, and attributes are not there.
#
# None of it is said, and the status is 0.
#
# Why it matters: a container's files become a machine's disk in this way, and a disk's files an image. Users of a range for containers begin
# at 100000 and more: such a file belongs to somebody else there.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export TZ=UTC
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
apt-get -qq download genext2fs=1.5.0-3 e2fsprogs=1.47.0-2+b2 libext2fs2=1.47.0-2+b2 libcom-err2=1.47.0-2+b2 libss2=1.47.0-2+b2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/lib/$triple:$tmp/root/usr/lib/$triple
mkdir tree
cat >make.py <<'P'
import os
open("tree/one", "w").write("x")
os.link("tree/one", "tree/two")
os.chown("tree/one", 70000, 70001)
os.setxattr("tree/one", "user.a", b"b")
os.mknod("tree/device", 0o20644, os.makedev(1, 300))
os.mkfifo("tree/pipe")
for name, time in ("old", -5), ("late", 2**32 + 5):
    open("tree/" + name, "w").close()
    os.utime("tree/" + name, (time, time))
open("tree/suid", "w").close()
os.chmod("tree/suid", 0o4755)
os.chown("tree", 5, 6)
os.chmod("tree", 0o711)
P
cat >of.py <<'P'
import os, re, subprocess, sys
image, names = sys.argv[1], [".", "device", "late", "old", "one", "pipe", "suid", "two"]
def row(name, kind, mode, user, group, time, device, attributes, node):
    print(f"  {name}: {kind} {mode:04o} {user}/{group}", *([time] if name in ("old", "late") else []), *([device] if device else []), *attributes, *([node] if name == "two" else []))
def debugfs(command):
    return subprocess.run(["root/sbin/debugfs", "-R", command, image], capture_output=True, text=True).stdout
def of_tree(folder):
    nodes = {}
    for name in names:
        path = folder + "/" + name
        if not os.path.lexists(path):
            print(f"  {name}: not there")
            continue
        stat = os.lstat(path)
        kind = {0o10: "pipe", 0o20: "device", 0o40: "directory", 0o100: "file"}[stat.st_mode >> 12 << 3]
        device = f"{os.major(stat.st_rdev)}:{os.minor(stat.st_rdev)}" if kind == "device" else ""
        row(name, kind, stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, int(stat.st_mtime), device, os.listxattr(path), "is one" if name == "two" and stat.st_ino == os.lstat(folder + "/one").st_ino else "another file")
def of_image():
    node = lambda text: re.search(r"Inode: (\d+)", text)[1]
    for name in names:
        text = debugfs(f"stat /{name}")
        kind = {"regular": "file", "directory": "directory", "FIFO": "pipe", "character": "device"}[re.search(r"Type: (\w+)", text)[1]]
        device = re.search(r"number: 0?(\d+:\d+)", text)
        time = int(re.search(r"mtime: 0x([0-9a-f]+)", text)[1], 16)
        row(name, kind, int(re.search(r"Mode:\s+(\d+)", text)[1], 8), *re.search(r"User:\s+(\d+)\s+Group:\s+(\d+)", text).groups(), time, device[1] if device else "",
            re.findall(r"^  (\S+) \(", text, re.M), "is one" if name == "two" and node(text) == node(debugfs("stat /one")) else "another file")
of_tree(image) if os.path.isdir(image) else of_image()
P
python3 make.py
{
  echo "the tree:"; python3 of.py tree
  for tool in genext2fs mke2fs; do
    case $tool in
      genext2fs) root/usr/bin/genext2fs -b 4096 -d tree $tool.img >/dev/null 2>log ;;
      *) truncate -s 4M $tool.img && MKE2FS_CONFIG=root/etc/mke2fs.conf root/sbin/mke2fs -q -t ext4 -d tree $tool.img 2>log ;;
    esac
    echo "$tool, status $?:"; python3 of.py $tool.img
  done
  mkdir out
  root/sbin/debugfs -R 'rdump / out' mke2fs.img 2>log
  echo "rdump of mke2fs's, status $?:"; python3 of.py out
} | tee seen.txt
diff - seen.txt <<'T'
the tree:
  .: directory 0711 5/6
  device: device 0644 0/0 1:300
  late: file 0644 0/0 4294967301
  old: file 0644 0/0 -5
  one: file 0644 70000/70001 user.a
  pipe: pipe 0644 0/0
  suid: file 4755 0/0
  two: file 0644 70000/70001 user.a is one
genext2fs, status 0:
  .: directory 0755 0/0
  device: device 0644 0/0 1:44
  late: file 0644 0/0 5
  old: file 0644 0/0 4294967291
  one: file 0644 4464/4465
  pipe: pipe 0644 0/0
  suid: file 4755 0/0
  two: file 0644 4464/4465 is one
mke2fs, status 0:
  .: directory 0755 0/0
  device: device 0644 0/0 1:300
  late: file 0644 0/0 5
  old: file 0644 0/0 4294967291
  one: file 0644 70000/70001 user.a
  pipe: pipe 0644 0/0
  suid: file 4755 0/0
  two: file 0644 70000/70001 user.a is one
rdump of mke2fs's, status 0:
  .: directory 0755 0/0
  device: not there
  late: file 0644 0/0 5
  old: file 0644 0/0 4294967291
  one: file 0644 70000/70001
  pipe: not there
  suid: file 0755 0/0
  two: file 0644 70000/70001 another file
T
