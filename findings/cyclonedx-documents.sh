#!/usr/bin/env bash
# Documents of CycloneDX 1.5 that its schema allows are no documents for one library, and go without half their statements through another.
#
# Versions: cyclonedx-bom 0.8.1 (Rust), cyclonedx-python-lib 11.12.0 (Python, with its validator by schema).
#
# Guess: libraries of the project that has the specification read what its schema allows, and what is read and written again still
# says the same, if in another order.
#
# Behaviour:
#   - cyclonedx-bom cannot read a document without `version` (1 if it is not there), a property without a value, an affected version
#     without `status` (affected if it is not there), nor a component with `data`.
#   - Its validation says that a component's description may have no line break, an address no umlaut, and a rating no method `other`.
#   - cyclonedx-python-lib reads `compositions`, `annotations`, `formulation`, `data` and `modelCard` without a word, and writes none.
#
# Why it matters: "incomplete" stands in `compositions`: an SBOM that was only enriched on its way claims more than before. And what
# one tool's own validator lets pass, the next tool in the line cannot open.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null
v/bin/pip -q install --disable-pip-version-check 'cyclonedx-python-lib[json-validation]==11.12.0' >/dev/null 2>&1
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "read"
version = "0.1.0"
edition = "2021"
[dependencies]
cyclonedx-bom = "=0.8.1"
T
cat >rust/src/main.rs <<'R'
use cyclonedx_bom::{models::bom::Bom, validation::Validate};

fn main() {
    for line in std::io::stdin().lines() {
        println!("{}", match Bom::parse_from_json_v1_5(line.unwrap().as_bytes()) {
            Err(error) => error.to_string().split(" at line").next().unwrap().to_owned(),
            Ok(read) if read.validate().passed() => "valid".to_owned(),
            Ok(read) => {
                let told = format!("{:?}", read.validate());
                let message = told.split("message: \"").nth(1).unwrap().split('"').next().unwrap();
                format!("not valid, {}", message.split('\\').next().unwrap().trim_end())
            }
        });
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >see.py <<'P'
import json, subprocess
from cyclonedx.model.bom import Bom
from cyclonedx.output.json import JsonV1Dot5
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

start = {"bomFormat": "CycloneDX", "specVersion": "1.5"}
bom = lambda **more: {**start, "version": 1, **more}
one = lambda **more: bom(components=[{"type": "library", "bom-ref": "a", "name": "a", "version": "1", **more}])
flaw = lambda **more: bom(vulnerabilities=[{"id": "CVE-2024-0001", **more}])
documents = {
    "a component": one(),
    "no version of the document": start,
    "a property without a value": bom(properties=[{"name": "a"}]),
    "an affected version without a status": flaw(affects=[{"ref": "a", "versions": [{"version": "1"}]}]),
    "a component with data": bom(components=[{"type": "data", "bom-ref": "a", "name": "a", "data": [{"type": "dataset"}]}]),
    "a description of two lines": one(description="one\ntwo"),
    "an address with an umlaut": one(externalReferences=[{"type": "website", "url": "https://example.org/ä"}]),
    "a rating by another method": flaw(ratings=[{"score": 10, "method": "other"}]),
    "compositions": {**one(), "compositions": [{"aggregate": "incomplete", "assemblies": ["a"]}]},
    "annotations": {**one(), "annotations": [{"subjects": ["a"], "annotator": {"individual": {"name": "A"}},
                                              "timestamp": "2024-01-01T00:00:00Z", "text": "see the ticket"}]},
    "formulation": bom(formulation=[{"bom-ref": "how"}]),
    "a model card": bom(components=[{"type": "machine-learning-model", "bom-ref": "a", "name": "a",
                                     "modelCard": {"modelParameters": {"task": "t"}}}]),
}
keys = lambda value: (set(value) | set().union(*map(keys, value.values())) if isinstance(value, dict)
                      else set().union(*map(keys, value)) if isinstance(value, list) else set())
lines = "".join(json.dumps(document) + "\n" for document in documents.values())
rust = subprocess.run(["target/debug/read"], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
validator = JsonStrictValidator(SchemaVersion.V1_5)
for (told, document), said in zip(documents.items(), rust):
    by_schema = "valid" if validator.validate_str(json.dumps(document)) is None else "not valid"
    again = json.loads(JsonV1Dot5(Bom.from_json(document)).output_as_string())
    lost = sorted(keys(document) - keys(again))
    print(f"{told}\n  by the schema: {by_schema}\n  cyclonedx-bom: {said}")
    print(f"  cyclonedx-python-lib: read, and written again {'without ' + ', '.join(lost) if lost else 'whole'}")
P
v/bin/python -W ignore see.py >seen.txt
cat seen.txt
diff - seen.txt <<'T'
a component
  by the schema: valid
  cyclonedx-bom: valid
  cyclonedx-python-lib: read, and written again whole
no version of the document
  by the schema: valid
  cyclonedx-bom: Failed to deserialize JSON: missing field `version`
  cyclonedx-python-lib: read, and written again whole
a property without a value
  by the schema: valid
  cyclonedx-bom: Failed to deserialize JSON: missing field `value`
  cyclonedx-python-lib: read, and written again whole
an affected version without a status
  by the schema: valid
  cyclonedx-bom: Failed to deserialize JSON: missing field `status`
  cyclonedx-python-lib: read, and written again whole
a component with data
  by the schema: valid
  cyclonedx-bom: Failed to deserialize JSON: invalid type: map, expected a string
  cyclonedx-python-lib: read, and written again without data
a description of two lines
  by the schema: valid
  cyclonedx-bom: not valid, NormalizedString contains invalid characters
  cyclonedx-python-lib: read, and written again whole
an address with an umlaut
  by the schema: valid
  cyclonedx-bom: not valid, Uri does not conform to RFC 3986
  cyclonedx-python-lib: read, and written again whole
a rating by another method
  by the schema: valid
  cyclonedx-bom: not valid, Unknown score method 'other'
  cyclonedx-python-lib: read, and written again whole
compositions
  by the schema: valid
  cyclonedx-bom: valid
  cyclonedx-python-lib: read, and written again without aggregate, assemblies, compositions
annotations
  by the schema: valid
  cyclonedx-bom: valid
  cyclonedx-python-lib: read, and written again without annotations, annotator, individual, subjects, text
formulation
  by the schema: valid
  cyclonedx-bom: valid
  cyclonedx-python-lib: read, and written again without bom-ref, formulation
a model card
  by the schema: valid
  cyclonedx-bom: valid
  cyclonedx-python-lib: read, and written again without modelCard, modelParameters, task
T
