#!/usr/bin/env bash
# The canonical JSON of TUF and of in-toto's links has other bytes in Rust than in Python, and fewer keys, where a name has an accent.
#
# Versions: securesystemslib 1.6.0 (Python), olpc-cjson 0.1.4 (Rust, with serde_json 1.0.154).
#
# Guess: both write OLPC's canonical JSON, which TUF and in-toto sign, so for one document they write the same bytes.
#
# Behaviour: olpc-cjson composes each text (Unicode's NFC): `e` and U+0301 become U+00E9, and U+FB33, which has no composed form,
# becomes two letters. securesystemslib leaves texts as they are. Two keys that differ in nothing else become one in Rust, with the
# value of one of them.
#
# Why it matters: names of files are keys of what is signed there, and those that come from a Mac or from an archive often are not
# composed. A signature that Python made is wrong in Rust, for documents that are otherwise valid; and of two files that a
# directory can hold beside each other, the signed bytes name one.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check securesystemslib==1.6.0 >/dev/null 2>&1
cat >documents.json <<'J'
[{"cafe": 1}, {"cafe\u0301": 1}, {"caf\u00e9": 1, "cafe\u0301": 2}, {"\ufb33": 1}]
J
cat >write.py <<'P'
import json
from securesystemslib.formats import encode_canonical
for document in json.load(open("documents.json")):
    print("securesystemslib:", ascii(encode_canonical(document)))
P
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "canonical"
version = "0.1.0"
edition = "2021"
[dependencies]
olpc-cjson = "=0.1.4"
serde = "=1.0.229"
serde_json = "=1.0.154"
T
cat >rust/src/main.rs <<'R'
use serde::Serialize;

fn main() {
    let documents: Vec<serde_json::Value> = serde_json::from_reader(std::fs::File::open("documents.json").unwrap()).unwrap();
    for document in documents {
        let mut bytes = Vec::new();
        let formatter = olpc_cjson::CanonicalFormatter::new();
        document.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let ascii: String = text.chars().map(|c| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() }).collect();
        println!("olpc-cjson: {ascii}");
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
{ v/bin/python write.py; target/debug/canonical; } >seen.txt
cat seen.txt
diff - seen.txt <<'T'
securesystemslib: '{"cafe":1}'
securesystemslib: '{"cafe\u0301":1}'
securesystemslib: '{"cafe\u0301":2,"caf\xe9":1}'
securesystemslib: '{"\ufb33":1}'
olpc-cjson: {"cafe":1}
olpc-cjson: {"caf\u{e9}":1}
olpc-cjson: {"caf\u{e9}":1}
olpc-cjson: {"\u{5d3}\u{5bc}":1}
T
