#!/usr/bin/env bash
# The manifest of files (mtree) that one tool writes is read by no other, or with other names, once a name has a blank, a `#` or an `ä`.
#
# Versions: mtree of NetBSD 20180822, bsdtar of libarchive 3.6.2 and umoci 0.4.7 (Debian 12), mtree 0.5.0 and mtree2 0.6.17 (Rust).
#
# Guess: the format is as old as BSD, and each of them follows mtree(5): names are escaped as vis(3) does, `..` leaves a directory, and
# words that a reader does not know are passed over.
#
# Behaviour:
#   - NetBSD's mtree writes `a\sb`, `c\#d` and `\M-C\M-$`. bsdtar does not take its manifest for one before a line `#mtree` is put in front,
#     and then decodes the blank alone: the other two get names with backslashes.
#   - What umoci writes has `tar_time` for times. bsdtar does not take it for a manifest either; NetBSD's mtree stops at that word, and
#     mtree2 gives an error for each line that has it.
#   - The crate mtree decodes nothing, of bsdtar's manifest (`a\040b`) neither, and loses count of the directories: `..` leads out of
#     another one than it should, so that `sub/f` is `f`.
#
# Why it matters: such a manifest is what a tree is checked by, or what a layer is made from with bsdtar. A file that is looked
# for under its escaped name is missing, and another one is not expected; names without blanks, as tests have them, are right.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download mtree-netbsd=20180822-7 libarchive-tools=3.6.2-1+deb12u5 libarchive13=3.6.2-1+deb12u5 umoci=0.4.7+ds-3+b7 2>apt.log ||
  { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "names"
version = "0.1.0"
edition = "2021"
[dependencies]
mtree = "=0.5.0"
mtree2 = "=0.6.17"
T
cat >rust/src/main.rs <<'R'
fn main() {
    let [_, library, manifest] = &std::env::args().collect::<Vec<_>>()[..] else { panic!("a library and a manifest") };
    let file = std::fs::File::open(manifest).unwrap();
    let said: Vec<_> = if library == "mtree" {
        mtree::MTree::from_reader(file).map(|entry| entry.map(|e| e.path().to_owned()).map_err(|e| e.to_string())).collect()
    } else {
        mtree2::MTree::from_reader(file).map(|entry| entry.map(|e| e.path().to_owned()).map_err(|e| e.to_string())).collect()
    };
    let here = std::env::current_dir().unwrap(); // both put it in front of names without a slash
    for path in said {
        match path {
            Ok(path) => println!("{}", path.strip_prefix(&here).unwrap_or(&path).display()),
            Err(_) => println!("(an error)"),
        }
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
root/usr/bin/umoci init --layout layout && root/usr/bin/umoci new --image layout:a
root/usr/bin/umoci unpack --rootless --image layout:a bundle >/dev/null
mkdir bundle/rootfs/sub
touch bundle/rootfs/{'a b','c#d',ä,sub/f}
root/usr/bin/umoci repack --refresh-bundle --image layout:a bundle >/dev/null
cp bundle/*.mtree umoci
(cd bundle/rootfs && ../../root/usr/bin/mtree -c -k type,size -p .) >netbsd
{ echo '#mtree'; cat netbsd; } >netbsd-signed
root/usr/bin/bsdtar --format=mtree --options='mtree:!all,type,size' -C bundle/rootfs -cf bsdtar .
names() { # those of a reader's output that are of files, or what it says instead
  sed -E 's/^\.\///; s/^\.$//' | grep . | LC_ALL=C sort -u | paste -sd'|' | sed 's/|/ | /g'
}
{
  for manifest in bsdtar netbsd netbsd-signed umoci; do
    echo "$manifest"
    echo "  bsdtar: $(LC_ALL=C.UTF-8 root/usr/bin/bsdtar -tf $manifest 2>&1 |
      sed 's#\\\\#\\#g; s/.*Unrecognized archive format/(not recognized)/' | names)"
    [ $manifest = umoci ] || echo "  mtree (Rust): $(target/debug/names mtree $manifest | names)"
    echo "  mtree2: $(target/debug/names mtree2 $manifest | names)"
  done
  echo "umoci, by NetBSD's mtree: $(root/usr/bin/mtree -p bundle/rootfs -f umoci 2>&1 | grep -o 'unknown keyword.*')"
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
bsdtar
  bsdtar: a b | c#d | sub | sub/f | ä
  mtree (Rust): \303\244 | a\040b | c\043d | sub | sub/f
  mtree2: a b | c#d | sub | sub/f | ä
netbsd
  bsdtar: (not recognized)
  mtree (Rust): \M-C\M-$ | a\sb | c\#d | f | sub
  mtree2: a b | c#d | sub | sub/f | ä
netbsd-signed
  bsdtar: \M-C\M-$ | a b | c\#d | sub | sub/f
  mtree (Rust): \M-C\M-$ | a\sb | c\#d | f | sub
  mtree2: a b | c#d | sub | sub/f | ä
umoci
  bsdtar: (not recognized)
  mtree2: (an error)
umoci, by NetBSD's mtree: unknown keyword `tar_time'
T
