#!/usr/bin/env bash
# What GNU tar writes once for all files of an archive is read by GNU tar and Python alone; umoci takes no layer that `git archive` made.
#
# Versions: tar 1.34, git 2.39.5, bsdtar of libarchive 3.6.2, busybox 1.35.0, umoci 0.4.7 (Debian 12), tarfile of Python 3.11,
# tar 7.5.23 and tar-stream 3.2.2 (Node), tar 0.4.46 (Rust).
#
# Guess: readers of pax archives know global headers as they know those of one file: POSIX has them in the same paragraph, a record of
# the file goes before the global one, and one that is only a comment is passed over.
#
# Behaviour: of an archive that GNU tar made with `--pax-option='mtime=…,uname=one'`,
#   - bsdtar, busybox, tar-stream and Rust's tar take times and users from each file's own header, as if there were no global one;
#   - Node's tar takes the global time for the file that has a record of its own, too.
#   - Rust's tar gives the global header itself as an entry among the files.
# umoci unpacks no layer with a global header, not even that of `git archive`, which is a comment with the commit: "unknown typeflag".
#
# Why it matters: `git archive` is an obvious way to make a layer of a source tree, and --pax-option one to give all files one time
# and one owner. The times and owners then depend on who unpacks.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download tar=1.34+dfsg-1.2+deb12u1 git=1:2.39.5-0+deb12u3 libarchive-tools=3.6.2-1+deb12u5 libarchive13=3.6.2-1+deb12u5 \
  busybox=1:1.35.0-4+deb12u1+b1 umoci=0.4.7+ds-3+b7 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu TZ=UTC
npm --silent --no-audit --no-fund install tar@7.5.23 tar-stream@3.2.2 >/dev/null
mkdir -p rust/src files
cat >rust/Cargo.toml <<'T'
[package]
name = "list"
version = "0.1.0"
edition = "2021"
[dependencies]
tar = "=0.4.46"
T
cat >rust/src/main.rs <<'R'
fn main() {
    let mut archive = tar::Archive::new(std::fs::File::open("example.tar").unwrap());
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let (kind, header) = (entry.header().entry_type(), entry.header());
        if kind.is_file() {
            println!("{} {} {}", entry.path().unwrap().display(), header.username().unwrap().unwrap(), header.mtime().unwrap());
        } else {
            println!("(an entry of type {})", char::from(kind.as_byte()));
        }
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of.js <<'J'
if (process.argv[2] === "tar") {
  const told = (entry) => console.log(`${entry.path} ${entry.uname} ${Math.floor(entry.mtime / 1000)}`);
  require("tar").t({ file: "example.tar", sync: true, onReadEntry: told });
} else {
  const extract = require("tar-stream").extract();
  extract.on("entry", (header, stream, next) => {
    console.log(`${header.name} ${header.uname} ${header.mtime / 1000}`);
    stream.on("end", next).resume();
  });
  require("fs").createReadStream("example.tar").pipe(extract);
}
J
echo plain >files/plain
touch -d @1577836800 files/plain
echo own >files/own
touch -d @1577836800.5 files/own
root/bin/tar --format=pax --pax-option='mtime=1600000000,uname=one' --owner=two:7 -C files -cf example.tar plain own
git="root/usr/bin/git -C files -c user.name=A -c user.email=a@example.org"
export GIT_EXEC_PATH=$tmp/root/usr/lib/git-core
$git -c init.defaultBranch=main init -q && $git add plain && $git commit -qm one && $git archive -o ../git.tar HEAD
{
  echo "GNU tar: $(root/bin/tar --full-time -tvf example.tar | sed -E 's/^\S+ (\w+)\S* +\S+ (\S+ [0-9:]+)\S* (\S+)/\3 \1 \2/' |
    while read -r name user day; do echo "$name $user $(date -d "$day" +%s)"; done | paste -sd,)"
  echo "tarfile: $(/usr/bin/python3 -c 'import tarfile
for one in tarfile.open("example.tar"): print(one.name, one.uname, int(one.mtime))' | paste -sd,)"
  echo "bsdtar: $(root/usr/bin/bsdtar -cf - --format=mtree --options='mtree:!all,uname,time' @example.tar | grep -v '#' |
    sed -E 's/^(\.\/)?(\w+) .*time=([0-9]+).*uname=(\w+).*/\2 \4 \3/; s/^(\.\/)?(\w+) uname=(\w+) time=([0-9]+).*/\2 \3 \4/' | paste -sd,)"
  mkdir out && root/bin/busybox tar -xf example.tar -C out
  echo "busybox: $(for file in plain own; do echo "$file $(stat -c %Y out/$file)"; done | paste -sd,)"
  echo "tar (Node): $(node of.js tar | paste -sd,)"
  echo "tar-stream: $(node of.js tar-stream | paste -sd,)"
  echo "tar (Rust): $(target/debug/list | paste -sd,)"
  root/usr/bin/umoci init --layout layout && root/usr/bin/umoci new --image layout:a
  root/usr/bin/umoci raw add-layer --image layout:a git.tar
  echo "umoci, a layer of git archive: $(root/usr/bin/umoci unpack --rootless --image layout:a bundle 2>&1 | grep -o 'unknown typeflag.*')"
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
GNU tar: plain one 1600000000,own one 1577836800
tarfile: plain one 1600000000,own one 1577836800
bsdtar: own two 1577836800,plain two 1577836800
busybox: plain 1577836800,own 1577836800
tar (Node): plain one 1600000000,own one 1600000000
tar-stream: plain two 1577836800,own two 1577836800
tar (Rust): (an entry of type g),plain two 1577836800,own two 1577836800
umoci, a layer of git archive: unknown typeflag '\x67'
T
