#!/usr/bin/env bash
# License expressions that SPDX allows are refused or changed by each library in its own place, and in an SBOM become a license's name.
#
# Versions: license-expression 30.4.4 and cyclonedx-python-lib 11.12.0 (Python), spdx 0.13.6 (Rust), spdx-expression-parse 5.0.0 (Node).
#
# Guess: by SPDX's annex on expressions, identifiers are compared without regard to case, `+` after an identifier means "or later", and
# a LicenseRef- is an operand like others; a library for SPDX takes all of these and gives them back.
#
# Behaviour:
#   - license-expression, asked to validate by SPDX's list, takes a LicenseRef- and `Apache-2.0+` for unknown, and writes GPL-2.0 as
#     GPL-2.0-only.
#   - cyclonedx-python-lib asks it: `MIT OR LicenseRef-own` is no expression in the SBOM, but one license whose name is that text.
#   - The Rust crate (strict, as by default) refuses `mit`, and what SPDX's list has as deprecated, as GPL-2.0+. Node's parser refuses
#     `mit` too.
#
# Why it matters: licenses that are on no list, as many in Debian's copyright files, have no other name than a LicenseRef-. A
# policy that looks for expressions or identifiers in an SBOM sees none of `MIT OR LicenseRef-own`, and nothing was reported when
# it was written.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check license-expression==30.4.4 cyclonedx-python-lib==11.12.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install spdx-expression-parse@5.0.0 >/dev/null
cat >expressions.txt <<'T'
MIT OR Apache-2.0
mit
GPL-2.0
GPL-2.0+
Apache-2.0+
LicenseRef-own
MIT OR LicenseRef-own
T
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "expressions"
version = "0.1.0"
edition = "2021"
[dependencies]
spdx = "=0.13.6"
T
cat >rust/src/main.rs <<'R'
fn main() {
    for text in std::fs::read_to_string("expressions.txt").unwrap().lines() {
        let read = spdx::Expression::parse(text);
        println!("  spdx (Rust): {}", read.map_or_else(|error| format!("refused, {}", error.reason), |read| read.to_string()));
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of.py <<'P'
import warnings
warnings.simplefilter("ignore")
from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model.license import LicenseExpression
from license_expression import ExpressionError, get_spdx_licensing
licensing = get_spdx_licensing()
for text in open("expressions.txt").read().splitlines():
    try:
        said = licensing.parse(text, validate=True).render()
    except ExpressionError as error:
        said = f"refused, {error}"
    made = LicenseFactory().make_from_string(text)
    kind = f"expression {made.value}" if isinstance(made, LicenseExpression) else f"license with id {made.id}, name {made.name}"
    print(f"  license-expression: {said}\t  cyclonedx-python-lib: {kind}")
P
cat >of.js <<'J'
const parse = require("spdx-expression-parse");
for (const text of require("fs").readFileSync("expressions.txt", "utf8").trimEnd().split("\n")) {
  let said;
  try { said = JSON.stringify(parse(text)); } catch (error) { said = `refused, ${error.message}`; }
  console.log(`  spdx-expression-parse: ${said}`);
}
J
paste expressions.txt <(v/bin/python of.py) <(target/debug/expressions) <(node of.js) | tr '\t' '\n' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
MIT OR Apache-2.0
  license-expression: MIT OR Apache-2.0
  cyclonedx-python-lib: expression MIT OR Apache-2.0
  spdx (Rust): MIT OR Apache-2.0
  spdx-expression-parse: {"left":{"license":"MIT"},"conjunction":"or","right":{"license":"Apache-2.0"}}
mit
  license-expression: MIT
  cyclonedx-python-lib: license with id MIT, name None
  spdx (Rust): refused, unknown term
  spdx-expression-parse: refused, Unexpected `m` at offset 0
GPL-2.0
  license-expression: GPL-2.0-only
  cyclonedx-python-lib: license with id GPL-2.0, name None
  spdx (Rust): refused, a deprecated license identifier was used
  spdx-expression-parse: {"license":"GPL-2.0"}
GPL-2.0+
  license-expression: GPL-2.0-or-later
  cyclonedx-python-lib: license with id GPL-2.0+, name None
  spdx (Rust): refused, a deprecated license identifier was used
  spdx-expression-parse: {"license":"GPL-2.0","plus":true}
Apache-2.0+
  license-expression: refused, Unknown license key(s): Apache-2.0+
  cyclonedx-python-lib: license with id None, name Apache-2.0+
  spdx (Rust): Apache-2.0+
  spdx-expression-parse: {"license":"Apache-2.0","plus":true}
LicenseRef-own
  license-expression: refused, Unknown license key(s): LicenseRef-own
  cyclonedx-python-lib: license with id None, name LicenseRef-own
  spdx (Rust): LicenseRef-own
  spdx-expression-parse: {"license":"LicenseRef-own"}
MIT OR LicenseRef-own
  license-expression: refused, Unknown license key(s): LicenseRef-own
  cyclonedx-python-lib: license with id None, name MIT OR LicenseRef-own
  spdx (Rust): MIT OR LicenseRef-own
  spdx-expression-parse: {"left":{"license":"MIT"},"conjunction":"or","right":{"license":"LicenseRef-own"}}
T
