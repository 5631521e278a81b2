#!/usr/bin/env bash
# Whitespace in Debian's control files that means nothing stays, and that which means something goes, by library.
#
# Versions: deb822-fast 0.2.3 and deb822-lossless 0.5.21 (Rust), python-debian 1.1.1, debian-inspector 31.1.1 (Python), python3-apt 2.6.0
# (Debian 12).
#
# Guess: a field's value is without the blanks around it, its further lines are as they are (two blanks before a line of a
# description keep it as it is, ` .` is an empty one), `#` begins a comment, and lines may end in CR LF, as in files from Windows.
#
# Behaviour:
#   - Both crates keep blanks at the end: `Architecture: all ` is not `all`.
#   - Both take all blanks from before further lines: a list or a table in a description becomes running text.
#   - A comment is part of the next field's name for python3-apt's TagFile, and makes one field `unknown` of the whole paragraph for
#     debian-inspector.
#   - With CR LF, deb822-fast stops at the first empty line, debian-inspector has one paragraph, and python3-apt has none.
#
# Why it matters: control files and .sources files are written by hand, and all of this is in them. Only two of ten
# results here are errors that anybody sees.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download python3-apt=2.6.0 libapt-pkg6.0=2.6.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check python-debian==1.1.1 debian-inspector==31.1.1 >/dev/null 2>&1
mkdir files rust rust/src
printf 'Package: a\nArchitecture: all \n' >files/blank
printf 'Description: a\n text\n .\n   * point\n' >files/lines
printf 'Package: a\n# why\nVersion: 1\n' >files/comment
printf 'Package: a\r\nVersion: 1\r\n\r\nPackage: b\r\n' >files/crlf
cat >rust/Cargo.toml <<'T'
[package]
name = "read"
version = "0.1.0"
edition = "2021"
[dependencies]
deb822-fast = "=0.2.3"
deb822-lossless = "=0.5.21"
serde_json = "=1.0.154"
T
cat >rust/src/main.rs <<'R'
use serde_json::{json, Map, Value};

fn paragraph(fields: impl Iterator<Item = (String, String)>) -> Value {
    Value::Object(fields.map(|(name, value)| (name, json!(value))).collect::<Map<_, _>>())
}

fn main() {
    let text = std::fs::read_to_string(std::env::args().nth(1).unwrap()).unwrap();
    match text.parse::<deb822_fast::Deb822>() {
        Ok(read) => {
            let fields = |p: &deb822_fast::Paragraph| paragraph(p.iter().map(|(name, value)| (name.into(), value.into())));
            println!("  deb822-fast: {}", Value::Array(read.iter().map(fields).collect()));
        }
        Err(_) => println!("  deb822-fast: error"),
    }
    match text.parse::<deb822_lossless::Deb822>() {
        Ok(read) => println!("  deb822-lossless: {}", Value::Array(read.paragraphs().map(|p| paragraph(p.items())).collect())),
        Err(_) => println!("  deb822-lossless: error"),
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of_apt.py <<'P'
import apt_pkg, json, sys
say = lambda read: json.dumps(read, separators=(",", ":"))
print("  python3-apt:", say([{name: section[name] for name in section.keys()} for section in apt_pkg.TagFile(open(sys.argv[1]))]))
P
cat >of_python.py <<'P'
import json, sys
from debian.deb822 import Deb822
from debian_inspector import debcon
say = lambda read: json.dumps([dict(paragraph) for paragraph in read], separators=(",", ":"))
print("  python-debian:", say(Deb822.iter_paragraphs(open(sys.argv[1], "rb"), use_apt_pkg=False)))
print("  debian-inspector:", say(debcon.get_paragraphs_data(open(sys.argv[1], newline="").read())))
P
for file in blank lines comment crlf; do
  echo "$file"
  target/debug/read files/$file
  v/bin/python of_python.py files/$file
  LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu PYTHONPATH=root/usr/lib/python3/dist-packages /usr/bin/python3 of_apt.py files/$file
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
blank
  deb822-fast: [{"Architecture":"all ","Package":"a"}]
  deb822-lossless: [{"Architecture":"all ","Package":"a"}]
  python-debian: [{"Package":"a","Architecture":"all"}]
  debian-inspector: [{"package":"a","architecture":"all"}]
  python3-apt: [{"Package":"a","Architecture":"all"}]
lines
  deb822-fast: [{"Description":"a\ntext\n.\n* point"}]
  deb822-lossless: [{"Description":"a\ntext\n.\n* point"}]
  python-debian: [{"Description":"a\n text\n .\n   * point"}]
  debian-inspector: [{"description":"a\n text\n .\n   * point"}]
  python3-apt: [{"Description":"a\n text\n .\n   * point"}]
comment
  deb822-fast: [{"Package":"a","Version":"1"}]
  deb822-lossless: [{"Package":"a","Version":"1"}]
  python-debian: [{"Package":"a","Version":"1"}]
  debian-inspector: [{"unknown":"Package: a\n# why\nVersion: 1\n"}]
  python3-apt: [{"Package":"a","# why\nVersion":"1"}]
crlf
  deb822-fast: error
  deb822-lossless: [{"Package":"a","Version":"1"},{"Package":"b"}]
  python-debian: [{"Package":"a","Version":"1"},{"Package":"b"}]
  debian-inspector: [{"package":"a","version":"1","unknown":"Package: b"}]
  python3-apt: []
T
