#!/usr/bin/env bash
# 1.0 is not newer than 1.0rc1, and 1.0rc1 not older than 1.0rc2, for libraries that compare Python's versions with specifiers.
#
# Versions: packaging 26.4 and univers 32.0.1 (Python), @renovatebot/pep440 4.2.4 (Node), pep440_rs 0.7.3 (Rust).
#
# Guess: the specification of Python's version specifiers (PEP 440) has each case with an example, and libraries that are named after it
# say what packaging says, pre-releases allowed. (Where a caller has to allow them, they are allowed here.)
#
# Behaviour:
#   - @renovatebot/pep440: 1.0 does not meet `>1.0rc1`, nor `<1.0.post1`; 1 meets `!=1.0.*`, and not `==1.0.*`; 1.0+x meets `===1.0`.
#   - pep440_rs and @renovatebot/pep440: 1.0rc1 does not meet `<1.0rc2`, though the specification names just that as the way to allow
#     earlier pre-releases.
#   - univers: 1.0.post1 and 1.0+x meet `>1.0`, 1.0rc1 meets `<1.0`, 1.0+x does not meet `==1.0`; `~=`, `===` and `==1.*` are no ranges.
#
# Why it matters: updaters and scanners ask such a library whether a version is inside of what a project allows or an advisory means.
# What was fixed in 1.0 is said to be in its own release candidates, or the fix itself is no candidate for an update.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check packaging==26.4 univers==32.0.1 >/dev/null 2>&1
npm --silent --no-audit --no-fund install @renovatebot/pep440@4.2.4 >/dev/null
cat >pairs.txt <<'T'
>1.0rc1 1.0
<1.0.post1 1.0
<1.0rc2 1.0rc1
==1.0.* 1
!=1.0.* 1
===1.0 1.0+x
==1.0 1.0+x
>1.0 1.0.post1
>1.0 1.0+x
<1.0 1.0rc1
~=1.0 1.5
T
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "specifiers"
version = "0.1.0"
edition = "2021"
[dependencies]
pep440_rs = "=0.7.3"
T
cat >rust/src/main.rs <<'R'
use pep440_rs::{Version, VersionSpecifiers};

fn main() {
    for line in std::fs::read_to_string("pairs.txt").unwrap().lines() {
        let (specifier, version) = line.split_once(' ').unwrap();
        let specifiers: VersionSpecifiers = specifier.parse().unwrap();
        println!("pep440_rs {}", if specifiers.contains(&version.parse::<Version>().unwrap()) { "yes" } else { "no" });
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of.py <<'P'
from packaging.specifiers import SpecifierSet
from univers.version_range import InvalidVersionRange, PypiVersionRange
from univers.versions import PypiVersion
for specifier, version in (line.split() for line in open("pairs.txt")):
    word = lambda meets: "yes" if meets else "no"
    try:
        other = word(PypiVersion(version) in PypiVersionRange.from_native(specifier))
    except InvalidVersionRange:
        other = "an invalid range"
    print(f"packaging {word(SpecifierSet(specifier).contains(version, prereleases=True))}\tunivers {other}")
P
cat >of.js <<'J'
const { satisfies } = require("@renovatebot/pep440");
for (const line of require("fs").readFileSync("pairs.txt", "utf8").trimEnd().split("\n")) {
  const [specifier, version] = line.split(" ");
  console.log(`@renovatebot/pep440 ${satisfies(version, specifier, { prereleases: true }) ? "yes" : "no"}`);
}
J
paste <(sed -E 's/(.*) (.*)/\2 meets \1:/' pairs.txt) <(v/bin/python of.py) <(node of.js) <(target/debug/specifiers) | sed 's/:\t/: /; s/\t/, /g' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
1.0 meets >1.0rc1: packaging yes, univers yes, @renovatebot/pep440 no, pep440_rs yes
1.0 meets <1.0.post1: packaging yes, univers yes, @renovatebot/pep440 no, pep440_rs yes
1.0rc1 meets <1.0rc2: packaging yes, univers yes, @renovatebot/pep440 no, pep440_rs no
1 meets ==1.0.*: packaging yes, univers an invalid range, @renovatebot/pep440 no, pep440_rs yes
1 meets !=1.0.*: packaging no, univers an invalid range, @renovatebot/pep440 yes, pep440_rs no
1.0+x meets ===1.0: packaging no, univers an invalid range, @renovatebot/pep440 yes, pep440_rs no
1.0+x meets ==1.0: packaging yes, univers no, @renovatebot/pep440 yes, pep440_rs yes
1.0.post1 meets >1.0: packaging no, univers yes, @renovatebot/pep440 no, pep440_rs no
1.0+x meets >1.0: packaging no, univers yes, @renovatebot/pep440 no, pep440_rs no
1.0rc1 meets <1.0: packaging no, univers yes, @renovatebot/pep440 no, pep440_rs no
1.5 meets ~=1.0: packaging yes, univers an invalid range, @renovatebot/pep440 yes, pep440_rs yes
T
