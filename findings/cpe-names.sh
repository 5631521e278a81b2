#!/usr/bin/env bash
# A CPE with an epoch (`1\:2.0`) is version `1\` with an update `2.0`, and a CPE that is written back names another product, by library.
#
# Versions: cpe 1.3.1 and cpeparser 0.0.2 (Python), @thefaultvault/tfv-cpe-parser 1.3.0 (Node), cpe 0.1.5 (Rust).
#
# Guess: a CPE 2.3 has eleven parts between colons, and a colon behind a backslash parts nothing; its older form `cpe:/…` has `%02` for
# `*`, `%01` for `?`, and the last parts packed between tildes. NISTIR 7695 says all of it, with examples, and libraries for CPEs do it.
#
# Behaviour:
#   - cpeparser and Node's library split at each colon: of `example:1\:2.0`, the version is `1\` and the update `2.0`.
#   - Node's makes a blank of each `_`, so that `internet_explorer` is not what the CPE says.
#   - cpeparser stops with TypeError at each CPE of the form `cpe:/…` that does not have all parts.
#   - The Rust crate knows no form `cpe:2.3:`. What it has read of `cpe:/…` it writes with `*` for `%02`, which is not valid there, and an
#     update `-` (there is none) as `?`, in the place of the edition.
#   - Python's cpe does as the standard says.
#
# Why it matters: each Debian package with an epoch has such a CPE in an SBOM. A scanner that looks for its version finds
# nothing, or the advisories of version 1.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check cpe==1.3.1 cpeparser==0.0.2 >/dev/null 2>&1
npm --silent --no-audit --no-fund install @thefaultvault/tfv-cpe-parser@1.3.0 >/dev/null
cat >cpes.txt <<'T'
cpe:2.3:a:example:example:1\:2.0:*:*:*:*:*:*:*
cpe:2.3:a:microsoft:internet_explorer:8.*:sp?:*:*:*:*:*:*
cpe:/a:microsoft:internet_explorer:8.%02:sp%01
cpe:/a:hp:insight_diagnostics:7.4.0.1570:-:~~online~win2003~x64~
T
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "parts"
version = "0.1.0"
edition = "2021"
[dependencies]
cpe = "=0.1.5"
T
cat >rust/src/main.rs <<'R'
fn main() {
    for text in std::fs::read_to_string("cpes.txt").unwrap().lines() {
        match cpe::uri::Uri::parse(text) {
            Ok(read) => println!("  cpe (Rust): written again: {read}"),
            Err(error) => println!("  cpe (Rust): {}", error.to_string().replace(text, "…")),
        }
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of.py <<'P'
from cpe import CPE
from cpeparser import CpeParser
for text in open("cpes.txt").read().splitlines():
    read = CPE(text)
    said = [f"  cpe (Python): {read.get_product()[0]} | {read.get_version()[0]} | {read.get_update()[0]}; written again: "
            f"{read.as_fs() if text.startswith('cpe:2.3') else read.as_uri_2_3()}"]
    try:
        parts = CpeParser().parser(text)
        said.append("  cpeparser: " + " | ".join(parts[part] for part in ["product", "version", "update"]))
    except TypeError as error:
        said.append(f"  cpeparser: TypeError, {error}")
    print("\t".join(said))
P
cat >of.js <<'J'
const { CpeParser } = require("@thefaultvault/tfv-cpe-parser");
for (const text of require("fs").readFileSync("cpes.txt", "utf8").trimEnd().split("\n")) {
  const { product, version, update } = new CpeParser().parse(text);
  console.log(`  tfv-cpe-parser: ${product} | ${version} | ${update}`);
}
J
paste cpes.txt <(v/bin/python of.py) <(node of.js) <(target/debug/parts) | tr '\t' '\n' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
cpe:2.3:a:example:example:1\:2.0:*:*:*:*:*:*:*
  cpe (Python): example | 1\:2.0 | *; written again: cpe:2.3:a:example:example:1\:2.0:*:*:*:*:*:*:*
  cpeparser: example | 1\ | 2.0
  tfv-cpe-parser: example | 1\ | 2.0
  cpe (Rust): invalid prefix for `…`
cpe:2.3:a:microsoft:internet_explorer:8.*:sp?:*:*:*:*:*:*
  cpe (Python): internet_explorer | 8.* | sp?; written again: cpe:2.3:a:microsoft:internet_explorer:8.*:sp?:*:*:*:*:*:*
  cpeparser: internet_explorer | 8.* | sp?
  tfv-cpe-parser: internet explorer | 8.* | sp?
  cpe (Rust): invalid prefix for `…`
cpe:/a:microsoft:internet_explorer:8.%02:sp%01
  cpe (Python): internet_explorer | 8.%02 | sp%01; written again: cpe:/a:microsoft:internet_explorer:8.%02:sp%01
  cpeparser: TypeError, Cpe.__init__() missing 6 required positional arguments: 'edition', 'language', 'sw_edition', 'target_sw', 'target_hw', and 'other'
  tfv-cpe-parser: internet explorer | 8.%02 | sp%01
  cpe (Rust): written again: cpe:/a:microsoft:internet_explorer:8.*:sp?:*:*
cpe:/a:hp:insight_diagnostics:7.4.0.1570:-:~~online~win2003~x64~
  cpe (Python): insight_diagnostics | 7.4.0.1570 | -; written again: cpe:/a:hp:insight_diagnostics:7.4.0.1570:-:~~online~win2003~x64~
  cpeparser: TypeError, Cpe.__init__() missing 5 required positional arguments: 'language', 'sw_edition', 'target_sw', 'target_hw', and 'other'
  tfv-cpe-parser: insight diagnostics | 7.4.0.1570 | -
  cpe (Rust): written again: cpe:/a:hp:insight_diagnostics:7.4.0.1570:?~*~online~win2003~x64~*:*
T
