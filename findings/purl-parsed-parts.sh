#!/usr/bin/env bash
# One purl has other parts by library, and what packageurl-python writes can be another package than what it read.
#
# Versions: packageurl-python 0.17.6, packageurl-js 2.0.1 (Node), packageurl 0.7.1 and purl 0.1.6 (Rust).
#
# Guess: purls as texts differ by library (see purl-two-strings.sh), but the parts that are read of one text are the same, and a purl
# that is read and written again is the same package.
#
# Behaviour:
#   - `%2F` in a name is read as a slash by all, and packageurl-python writes it as one: read again, `a` is the namespace of `b`.
#   - `+` in a qualifier (`vcs_url=git+https:`) is a blank for packageurl-js.
#   - `pkg:deb/Debian/Curl` is debian's curl for packageurl-js and packageurl, as the type's rules have it; for packageurl-python (which
#     does so for other types) and purl it has capitals.
#
# Why it matters: parts are what is compared where an SBOM meets advisories or VEX. A capital or a plus, and a statement is about
# no package that anybody has.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check packageurl-python==0.17.6 >/dev/null 2>&1
npm --silent --no-audit --no-fund install packageurl-js@2.0.1 >/dev/null
cat >purls.txt <<'T'
pkg:generic/a%2Fb@1
pkg:generic/a@1?vcs_url=git+https:a
pkg:deb/Debian/Curl@1
T
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "parts"
version = "0.1.0"
edition = "2021"
[dependencies]
packageurl = "=0.7.1"
purl = "=0.1.6"
T
cat >rust/src/main.rs <<'R'
use std::str::FromStr;

fn main() {
    for text in std::fs::read_to_string("purls.txt").unwrap().lines() {
        let a = packageurl::PackageUrl::from_str(text).unwrap();
        let b = purl::GenericPurl::<String>::from_str(text).unwrap();
        let of = |namespace: Option<&str>, name: &str, url: Option<String>| {
            format!("{} | {name} | {}", namespace.unwrap_or("-"), url.unwrap_or("-".into()))
        };
        let urls = (a.qualifiers().get("vcs_url").map(|v| v.to_string()), b.qualifiers().get("vcs_url").map(str::to_owned));
        println!("  packageurl (Rust): {}\t  purl (Rust): {}", of(a.namespace(), a.name(), urls.0), of(b.namespace(), b.name(), urls.1));
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of.py <<'P'
from packageurl import PackageURL
of = lambda p: f"{p.namespace or '-'} | {p.name} | {(p.qualifiers or {}).get('vcs_url', '-')}"
for text in open("purls.txt").read().splitlines():
    read = PackageURL.from_string(text)
    again = PackageURL.from_string(read.to_string())
    print(f"  packageurl-python: {of(read)}", *([f"; written and read again: {of(again)}"] if again != read else []), sep="")
P
cat >of.js <<'J'
const { PackageURL } = require("packageurl-js");
for (const text of require("fs").readFileSync("purls.txt", "utf8").trimEnd().split("\n")) {
  const read = PackageURL.fromString(text);
  console.log(`  packageurl-js: ${read.namespace ?? "-"} | ${read.name} | ${read.qualifiers?.vcs_url ?? "-"}`);
}
J
paste purls.txt <(v/bin/python of.py) <(node of.js) <(target/debug/parts) | tr '\t' '\n' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
pkg:generic/a%2Fb@1
  packageurl-python: - | a/b | -; written and read again: a | b | -
  packageurl-js: - | a/b | -
  packageurl (Rust): - | a/b | -
  purl (Rust): - | a/b | -
pkg:generic/a@1?vcs_url=git+https:a
  packageurl-python: - | a | git+https:a
  packageurl-js: - | a | git https:a
  packageurl (Rust): - | a | git+https:a
  purl (Rust): - | a | git+https:a
pkg:deb/Debian/Curl@1
  packageurl-python: Debian | Curl | -
  packageurl-js: debian | curl | -
  packageurl (Rust): debian | curl | -
  purl (Rust): Debian | Curl | -
T
