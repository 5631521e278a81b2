#!/usr/bin/env bash
# A statement of in-toto has other numbers, and another text each time that it is written, by in-toto's own library.
#
# Versions: in-toto-attestation 0.9.3 with protobuf 7.36.2 (Python), serde_json 1.0.154 (Rust).
#
# Guess: a statement that is read or made and then written has the predicate that went in: 0 is 0, and the same statement is the same text,
# as what is signed is the text.
#
# Behaviour: every whole number of the predicate gets a fraction, 0 becomes 0.0, and one above 2^53 is another number. Rust's serde_json does
# not read these as the integers that they were. The order of names in the predicate is another one each time that a program runs, also with
# PYTHONHASHSEED=0: of twelve runs no two need give the same text.
#
# Why it matters: provenance that was only read and written again has another digest than the one that was signed or is listed, an
# attestation that is made again is never the same, and what reads a size, a status or a number of a build as an integer refuses it.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check in-toto-attestation==0.9.3 protobuf==7.36.2 >/dev/null 2>&1
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "read"
version = "0.1.0"
edition = "2021"
[dependencies]
serde_json = "=1.0.154"
T
cat >rust/src/main.rs <<'R'
fn main() {
    for line in std::io::stdin().lines() {
        match serde_json::from_str::<std::collections::BTreeMap<String, u64>>(&line.unwrap()) {
            Ok(read) => println!("  serde_json, u64: {read:?}"),
            Err(error) => println!("  serde_json, u64: {}", error.to_string().split(" at line").next().unwrap()),
        }
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of.py <<'P'
import json
from google.protobuf.json_format import MessageToJson, ParseDict
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as Read

predicate = {"buildDefinition": {"buildType": "https://example.com/build", "externalParameters": {"jobs": 4, "status": 0, "size": 9007199254740993},
                                 "internalParameters": {"one": "1", "two": "2", "three": "3", "four": "4"}},
             "runDetails": {"builder": {"id": "https://example.com/builder"}}}
statement = Statement([ResourceDescriptor(name="app", digest={"sha256": 64 * "a"}).pb], "https://slsa.dev/provenance/v1", predicate)
statement.validate()
write = lambda message: MessageToJson(message, indent=None)
said = json.dumps({"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "app", "digest": {"sha256": 64 * "a"}}],
                   "predicateType": "https://slsa.dev/provenance/v1", "predicate": predicate})
numbers = lambda text: json.dumps(json.loads(text)["predicate"]["buildDefinition"]["externalParameters"], sort_keys=True)
open("numbers", "w").write("".join(numbers(text) + "\n" for text in [said, write(statement.pb), write(ParseDict(json.loads(said), Read()))]))
open("text", "w").write(write(statement.pb) + "\n")
P
for run in 1 2 3 4 5 6 7 8 9 10 11 12; do PYTHONHASHSEED=0 v/bin/python of.py && cp text "text.$run"; done
{
  for which in "as it was" "made and written" "read and written"; do
    IFS= read -r line <&3
    echo "$which: $line"
    echo "$line" | target/debug/read
  done 3<numbers
  echo "the same text in twelve runs: $([ "$(sort -u text.* | wc -l)" = 1 ] && echo yes || echo no)"
  for run in text.*; do python3 -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1])), sort_keys=True))' "$run"; done | sort -u | wc -l | sed 's/^/texts with sorted names: /'
} | tee seen.txt
diff - seen.txt <<'T'
as it was: {"jobs": 4, "size": 9007199254740993, "status": 0}
  serde_json, u64: {"jobs": 4, "size": 9007199254740993, "status": 0}
made and written: {"jobs": 4.0, "size": 9007199254740992.0, "status": 0.0}
  serde_json, u64: invalid type: floating point `4.0`, expected u64
read and written: {"jobs": 4.0, "size": 9007199254740992.0, "status": 0.0}
  serde_json, u64: invalid type: floating point `4.0`, expected u64
the same text in twelve runs: no
texts with sorted names: 1
T
