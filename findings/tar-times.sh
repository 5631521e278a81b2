#!/usr/bin/env bash
# A file's time that is not a whole second of our century is lost, moved by a second, or rounded away by readers of tar.
#
# Versions: tar 1.34 (Debian 12), tarfile of Python 3.11, tar 7.5.23, tar-fs 3.1.3 with tar-stream 3.2.2 (Node), tar 0.4.46 (Rust).
#
# Guess: what is unpacked has the time that the archive has for it, if perhaps without the fraction of a second.
#
# Behaviour:
#   - In pax archives, Rust's tar and tar-fs do not read `mtime` records. Where the time does not fit into the header beside them (before
#     1970, after 2242), the header has 0 there: the files are of 1970, with Rust's tar one second later.
#   - In GNU archives such times are in the header, in binary. tar-fs gives those before 1970 one second too late.
#   - Fractions: tarfile is off by nanoseconds, because its times are floating; Node's tar gives one millisecond less a microsecond.
#     None of the libraries gives what GNU tar does.
#
# Why it matters: what compares times to see if something changed (layers, make, rsync, Python's compiled files) sees changes that
# nobody made. "Before everything" and "never" are often written as such dates.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm --silent --no-audit --no-fund install tar@7.5.23 tar-fs@3.1.3 tar-stream@3.2.2 >/dev/null
mkdir -p rust/src files
cat >rust/Cargo.toml <<'T'
[package]
name = "unpack"
version = "0.1.0"
edition = "2021"
[dependencies]
tar = "=0.4.46"
T
cat >rust/src/main.rs <<'R'
fn main() {
    let [_, archive, place] = &std::env::args().collect::<Vec<_>>()[..] else { panic!("an archive and a place") };
    tar::Archive::new(std::fs::File::open(archive).unwrap()).unpack(place).unwrap();
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >unpack.js <<'J'
const [library, archive, place] = process.argv.slice(2);
if (library === "tar") require("tar").x({ file: archive, cwd: place });
else require("fs").createReadStream(archive).pipe(require("tar-fs").extract(place));
J
touch -d '1960-01-01 00:00:00 UTC' files/1960
touch -d '2023-11-14 22:13:20.123456789 UTC' files/fraction
touch -d '2300-01-01 00:00:00 UTC' files/2300
for format in gnu pax; do
  tar --format=$format -C files -cf $format.tar 1960 fraction 2300
  for reader in 'GNU tar' tarfile 'tar (Node)' tar-fs 'tar (Rust)'; do
    rm -rf out && mkdir out
    case $reader in
      'GNU tar') tar -xf $format.tar -C out ;;
      tarfile) /usr/bin/python3 -c "import tarfile; tarfile.open('$format.tar').extractall('out')" 2>/dev/null ;;
      'tar (Node)') node unpack.js tar $format.tar out ;;
      tar-fs) node unpack.js tar-fs $format.tar out ;;
      *) target/debug/unpack $format.tar out ;;
    esac
    echo "$format, $reader: $(cd out && for file in 1960 fraction 2300; do TZ=UTC stat -c '%y' $file | sed 's/ +0000//; s/\.0*$//'; done | paste -sd,)"
  done
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
gnu, GNU tar: 1960-01-01 00:00:00,2023-11-14 22:13:20,2300-01-01 00:00:00
gnu, tarfile: 1960-01-01 00:00:00,2023-11-14 22:13:20,2300-01-01 00:00:00
gnu, tar (Node): 1960-01-01 00:00:00,2023-11-14 22:13:20,2300-01-01 00:00:00
gnu, tar-fs: 1960-01-01 00:00:01,2023-11-14 22:13:20,2300-01-01 00:00:00
gnu, tar (Rust): 1960-01-01 00:00:00,2023-11-14 22:13:20,2300-01-01 00:00:00
pax, GNU tar: 1960-01-01 00:00:00,2023-11-14 22:13:20.123456789,2300-01-01 00:00:00
pax, tarfile: 1960-01-01 00:00:00,2023-11-14 22:13:20.123456716,2300-01-01 00:00:00
pax, tar (Node): 1960-01-01 00:00:00,2023-11-14 22:13:20.122999000,2300-01-01 00:00:00
pax, tar-fs: 1970-01-01 00:00:00,2023-11-14 22:13:20,1970-01-01 00:00:00
pax, tar (Rust): 1970-01-01 00:00:01,2023-11-14 22:13:20,1970-01-01 00:00:01
T
