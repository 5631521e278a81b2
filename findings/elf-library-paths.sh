#!/usr/bin/env bash
# What a program's libraries are, by who reads its RPATH or RUNPATH; ldd itself says that one is missing of a program that runs.
#
# Versions: libtree 3.1.1 and lddtree of pax-utils 1.3.7 (Debian 12), auditwheel 6.8.2 (Python), lddtree 0.5.1 (Rust), beside glibc.
#
# Guess: tools that list what a program loads follow ld.so(8): RPATH holds for libraries of libraries as well and RUNPATH does
# not, `$LIB` is the system's library directory, and `$ORIGIN` is where the program is, for a link to it too.
#
# Behaviour: five programs whose library needs another one.
#   - By RPATH: the crate does not find the second library, which is loaded.
#   - By RUNPATH: auditwheel and pax-utils find the second one, and the program does not start, because glibc does not.
#   - With `$LIB`: only ldd finds either.
#   - Through a link in another directory: ldd, libtree and auditwheel take the link's directory for `$ORIGIN` and find neither;
#     the program runs.
#   - With a library that is reached by a link, and has RUNPATH `$ORIGIN`: for glibc that is the link's directory, and the program
#     does not start. pax-utils, auditwheel and the crate look beside the real file, and find the second one there.
#
# Why it matters: such a list is what is copied into an image FROM scratch or into a wheel. It lacks a library that the program
# needs, or a program that cannot start passes the check.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download libtree=3.1.1-2 pax-utils=1.3.7-1 python3-pyelftools=0.29-1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check auditwheel==6.8.2 >/dev/null 2>&1
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "libraries"
version = "0.1.0"
edition = "2021"
[dependencies]
lddtree = "=0.5.1"
T
cat >rust/src/main.rs <<'R'
fn main() {
    let program = std::env::args().nth(1).unwrap();
    let tree = lddtree::DependencyAnalyzer::new("/".into()).analyze(program).unwrap();
    for (name, library) in tree.libraries {
        println!("{name} {}", if library.realpath.is_some() { "is there" } else { "not found" });
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of_auditwheel.py <<'P'
import sys
from pathlib import Path
from auditwheel.lddtree import ldd
for name, library in ldd(Path(sys.argv[1])).libraries.items():
    print(name, "is there" if library.realpath else "not found")
P
lib=of/lib/$(uname -m)-linux-gnu
mkdir -p lib "$lib" links
echo 'int second(void) { return 0; }' >second.c
echo 'int second(void); int first(void) { return second(); }' >first.c
echo 'int first(void); int main(void) { return first(); }' >program.c
cc -shared -fPIC -o lib/libsecond.so -Wl,-soname,libsecond.so second.c
cc -shared -fPIC -o lib/libfirst.so -Wl,-soname,libfirst.so first.c -Llib -lsecond
program() { cc -o "$1" program.c -Llib -lfirst -Wl,-rpath-link,lib -Wl,"$2",-rpath,"$3"; }
# shellcheck disable=SC2016 # $ORIGIN and $LIB are the loader's
{
  program rpath --disable-new-dtags '$ORIGIN/lib'
  program runpath --enable-new-dtags '$ORIGIN/lib'
  cp lib/*.so "$lib"
  program token --disable-new-dtags '$ORIGIN/of/$LIB'
}
ln -s ../rpath links/rpath
# A library that is reached by a link, with one beside the file itself.
mkdir -p kept names
cp lib/libsecond.so kept
cc -shared -fPIC -o kept/libfirst.so -Wl,-soname,libfirst.so first.c -Llib -lsecond -Wl,--enable-new-dtags,-rpath,"\$ORIGIN"
ln -s ../kept/libfirst.so names/libfirst.so
# shellcheck disable=SC2016 # as above
program linked --enable-new-dtags '$ORIGIN/names'
both() { # what a tool says of the two libraries
  local said name words=
  said=$("$@" 2>&1 | sed 's/\x1b\[[0-9;]*m//g') || :
  for name in first second; do
    if ! grep -q "lib$name\.so" <<<"$said"; then words+=" $name: not named;"
    elif grep "lib$name\.so" <<<"$said" | grep -qE 'not found|None'; then words+=" $name: not found;"
    else words+=" $name: found;"; fi
  done
  echo "${words% second: not named;}"
}
for program in rpath runpath token links/rpath linked; do
  echo "$program $("$tmp/$program" 2>/dev/null && echo runs || echo 'does not start')"
  echo "  ldd:$(both ldd "$tmp/$program")"
  echo "  libtree:$(both root/usr/bin/libtree -p "$tmp/$program")"
  echo "  lddtree (pax-utils):$(PYTHONPATH=root/usr/lib/python3/dist-packages both /usr/bin/python3 root/usr/bin/lddtree "$tmp/$program")"
  echo "  auditwheel:$(both v/bin/python of_auditwheel.py "$tmp/$program")"
  echo "  lddtree (Rust):$(both target/debug/libraries "$tmp/$program")"
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
rpath runs
  ldd: first: found; second: found;
  libtree: first: found; second: found;
  lddtree (pax-utils): first: found; second: found;
  auditwheel: first: found; second: found;
  lddtree (Rust): first: found; second: not found;
runpath does not start
  ldd: first: found; second: not found;
  libtree: first: found; second: not found;
  lddtree (pax-utils): first: found; second: found;
  auditwheel: first: found; second: found;
  lddtree (Rust): first: found; second: not found;
token runs
  ldd: first: found; second: found;
  libtree: first: not found;
  lddtree (pax-utils): first: not found;
  auditwheel: first: not found;
  lddtree (Rust): first: not found;
links/rpath runs
  ldd: first: not found;
  libtree: first: not found;
  lddtree (pax-utils): first: found; second: found;
  auditwheel: first: not found;
  lddtree (Rust): first: found; second: not found;
linked does not start
  ldd: first: found; second: not found;
  libtree: first: found; second: not found;
  lddtree (pax-utils): first: found; second: found;
  auditwheel: first: found; second: found;
  lddtree (Rust): first: found; second: found;
T
