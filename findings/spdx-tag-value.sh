#!/usr/bin/env bash
# An SPDX document in tag-value form is by "Jane Doe" of "ExampleCodeInspect" as well, and has no purl, once the Rust crate has read it.
#
# Versions: spdx-rs 0.5.5 (Rust, with serde_json 1.0.154), spdx-tools 0.8.5 (Python).
#
# Guess: the two forms of one document, tag-value and JSON, are read as the same document, with the creators that it names.
#
# Behaviour: of JSON, the crate reads all. Of tag-value,
#   - the creators are those of the document and three more, from an example: Person: Jane Doe (), Organization: ExampleCodeInspect ()
#     and Tool: LicenseFind-1.0;
#   - `ExternalRef`, in which purls and CPEs are, `FilesAnalyzed` and `PrimaryPackagePurpose` of a package are not there.
# spdx-tools reads and writes both forms alike.
#
# Why it matters: purls are what a scanner looks packages up by: nothing is found in such a document. And who made an SBOM is
# what somebody asks before believing it.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check spdx-tools==0.8.5 >/dev/null 2>&1
cat >example.spdx <<'T'
SPDXVersion: SPDX-2.3
DataLicense: CC0-1.0
SPDXID: SPDXRef-DOCUMENT
DocumentName: example
DocumentNamespace: https://example.org/spdx/1
Creator: Tool: example-1.0
Created: 2024-01-01T00:00:00Z

PackageName: one
SPDXID: SPDXRef-one
PackageVersion: 1.0
PackageDownloadLocation: NOASSERTION
FilesAnalyzed: false
PackageLicenseConcluded: MIT
PackageLicenseDeclared: MIT
PackageCopyrightText: NONE
PrimaryPackagePurpose: LIBRARY
ExternalRef: PACKAGE-MANAGER purl pkg:deb/debian/one@1.0
Relationship: SPDXRef-DOCUMENT DESCRIBES SPDXRef-one
T
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "read"
version = "0.1.0"
edition = "2021"
[dependencies]
spdx-rs = "=0.5.5"
serde_json = "=1.0.154"
T
cat >rust/src/main.rs <<'R'
fn main() {
    let file = std::env::args().nth(1).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let read: spdx_rs::models::SPDX =
        if file.ends_with(".json") { serde_json::from_str(&text).unwrap() } else { spdx_rs::parsers::spdx_from_tag_value(&text).unwrap() };
    println!("{}", serde_json::to_string(&read).unwrap());
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >convert.py <<'P'
import sys
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.writer.write_anything import write_file
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    write_file(parse_file(source), target)
P
v/bin/python convert.py example.spdx example.json example.json again.spdx again.spdx again.json >/dev/null 2>&1
cat >told.py <<'P'
import json, sys
read = json.load(sys.stdin)
package = read["packages"][0]
print("  creators:", ", ".join(read["creationInfo"]["creators"]))
print("  purl:", [ref["referenceLocator"] for ref in package.get("externalRefs", [])], "files analyzed:", package.get("filesAnalyzed"),
      "purpose:", package.get("primaryPackagePurpose"))
P
{
  echo "spdx-tools, of tag-value:"; python3 told.py <example.json
  echo "spdx-tools, of JSON, and of what it wrote in tag-value:"; python3 told.py <again.json
  echo "spdx-rs, of JSON:"; target/debug/read example.json | python3 told.py
  echo "spdx-rs, of tag-value:"; target/debug/read example.spdx | python3 told.py
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
spdx-tools, of tag-value:
  creators: Tool: example-1.0
  purl: ['pkg:deb/debian/one@1.0'] files analyzed: False purpose: LIBRARY
spdx-tools, of JSON, and of what it wrote in tag-value:
  creators: Tool: example-1.0
  purl: ['pkg:deb/debian/one@1.0'] files analyzed: False purpose: LIBRARY
spdx-rs, of JSON:
  creators: Tool: example-1.0
  purl: ['pkg:deb/debian/one@1.0'] files analyzed: False purpose: LIBRARY
spdx-rs, of tag-value:
  creators: Person: Jane Doe (), Organization: ExampleCodeInspect (), Tool: LicenseFind-1.0, Tool: example-1.0
  purl: [] files analyzed: None purpose: None
T
