#!/usr/bin/env bash
# No advisory of openEuler or Alpaquita is read by the Rust crate for OSV, and what it writes is not valid, and says less.
#
# Version: osv 0.3.0 (Rust, with serde_json 1.0.154).
#
# Guess: a crate of types for OSV reads each ecosystem that OSV's schema defines, with the release after a colon, and an advisory that is
# read and written again is still one, and the same.
#
# Behaviour:
#   - It knows openEuler, Alpaquita and BellSoft Hardened Containers without a release alone. `openEuler:24.03-LTS`, as all of openEuler's
#     advisories have it, or one such package among others, and the whole advisory is an error.
#   - An advisory without a `published` time is written with `"published": null`, which is not valid (a text, or nothing).
#   - `database_specific` of a range and the `type` of credits are gone.
#
# Why it matters: a mirror or a filter of advisories that is built on it writes files that others refuse, and leaves out those of
# whole distributions; what goes on after an error reports nothing for their images.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "again"
version = "0.1.0"
edition = "2021"
[dependencies]
osv = { version = "=0.3.0", default-features = false, features = ["schema"] }
serde_json = "=1.0.154"
T
cat >rust/src/main.rs <<'R'
fn main() {
    for line in std::io::stdin().lines() {
        match serde_json::from_str::<osv::schema::Vulnerability>(&line.unwrap()) {
            Ok(read) => println!("{}", serde_json::to_string(&read).unwrap()),
            Err(error) => println!("{error}"),
        }
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >see.py <<'P'
import json, subprocess

def again(document):
    said = subprocess.run(["target/debug/again"], input=json.dumps(document) + "\n", capture_output=True, text=True, check=True).stdout.strip()
    return said if not said.startswith("{") else json.loads(said)
start = {"id": "EXAMPLE-1", "modified": "2024-01-01T00:00:00Z"}
for ecosystem in ["Debian:12", "Alpine:v3.19", "openEuler", "openEuler:24.03-LTS", "Alpaquita:23", "BellSoft Hardened Containers:23"]:
    read = again({**start, "affected": [{"package": {"ecosystem": ecosystem, "name": "one"}}]})
    print(f"{ecosystem}: {'read' if isinstance(read, dict) else read.split(' at line')[0]}")
document = {**start, "credits": [{"name": "A", "type": "COORDINATOR"}], "affected": [{
    "package": {"ecosystem": "Debian:12", "name": "one"},
    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.0-1"}], "database_specific": {"note": "by hand"}}]}]}
for told, one in [("as it was", document), ("written again", again(document))]:
    published = repr(one["published"]) if "published" in one else "not there"
    print(f"{told}: published {published}; credits {one['credits']}, range {sorted(one['affected'][0]['ranges'][0])}")
P
python3 see.py >seen.txt
cat seen.txt
diff - seen.txt <<'T'
Debian:12: read
Alpine:v3.19: read
openEuler: read
openEuler:24.03-LTS: unknown variant `openEuler:24.03-LTS`, expected `Ecosystem`
Alpaquita:23: unknown variant `Alpaquita:23`, expected `Ecosystem`
BellSoft Hardened Containers:23: unknown variant `BellSoft Hardened Containers:23`, expected `Ecosystem`
as it was: published not there; credits [{'name': 'A', 'type': 'COORDINATOR'}], range ['database_specific', 'events', 'type']
written again: published None; credits [{'name': 'A'}], range ['events', 'type']
T
