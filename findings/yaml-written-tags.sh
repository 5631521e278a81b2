#!/usr/bin/env bash
# A tag that one library writes into YAML as a word is a number, a date or a truth to the library that reads it.
#
# Versions: PyYAML 6.0.4 and ruamel.yaml 0.19.1 (Python), yaml 2.9.1 and js-yaml 5.5.0 (Node), gojq 0.12.11 (Debian 12; Go's yaml.v3).
#
# Guess: what writes a string puts quotes around it where a reader could take it for something else; the two editions of YAML have been there
# for long enough that writers know both.
#
# Behaviour: PyYAML writes `12345e67`, which an abbreviated commit can be, `08` and `0o17` without quotes; to all others they are numbers, and
# the commit is 1.2345e+71. yaml (Node) and ruamel.yaml write `12:30`, `on` and `no` without them, and PyYAML reads 750, True and False; yaml
# does so with `2024-01-01` and `1_000` too, which gojq reads as a time and as 1000. js-yaml and gojq write what all read as it was.
#
# Why it matters: one tool puts the newest tag into values or a manifest, another rolls it out. Tags that are dates, or the first digits of a
# commit (one in 54 of those of seven digits is a number with an exponent), are the ones that are made by machines.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check PyYAML==6.0.4 ruamel.yaml==0.19.1 >/dev/null 2>&1
npm --silent --no-audit --no-fund install yaml@2.9.1 js-yaml@5.5.0 >/dev/null
apt-get -qq download gojq=0.12.11-1 2>apt.log || { cat apt.log >&2; exit 2; }
dpkg-deb -x gojq_*.deb root
gojq() { root/usr/bin/gojq "$@"; }
echo '["12345e67", "08", "0o17", "2024-01-01", "20240101", "1.10", "12:30", "1_000", "on", "no", "y"]' >tags.json
cat >of.py <<'P'
import json, sys, yaml
from ruamel.yaml import YAML
tags = json.load(open("tags.json"))
if len(sys.argv) == 1:
    yaml.safe_dump(tags, open("PyYAML.yaml", "w"))
    YAML().dump(tags, open("ruamel.yaml.yaml", "w"))
else:
    for name, load in ("PyYAML", yaml.safe_load), ("ruamel.yaml", YAML(typ="safe", pure=True).load):
        print(f"  {name}:", "; ".join(f"{tag} is {read!r}" for tag, read in zip(tags, load(open(sys.argv[1]).read())) if tag != read))
P
cat >of.cjs <<'J'
const fs = require("fs"), yaml = require("yaml"), js = require("js-yaml"), tags = JSON.parse(fs.readFileSync("tags.json"));
if (process.argv.length === 2) {
  fs.writeFileSync("yaml.yaml", yaml.stringify(tags));
  fs.writeFileSync("js-yaml.yaml", js.dump(tags));
} else {
  for (const [name, load] of [["yaml", yaml.parse], ["js-yaml", js.load]]) {
    const read = load(fs.readFileSync(process.argv[2], "utf8"));
    console.log(`  ${name}:`, tags.flatMap((tag, at) => (tag === read[at] ? [] : [`${tag} is ${read[at]}`])).join("; "));
  }
}
J
v/bin/python of.py
node of.cjs
gojq --yaml-output . tags.json >gojq.yaml
for name in PyYAML ruamel.yaml yaml js-yaml gojq; do
  echo "written by $name:"
  v/bin/python of.py $name.yaml
  node of.cjs $name.yaml
  echo "  gojq: $(gojq --yaml-input -r --slurpfile tags tags.json '[$tags[0], .] | transpose | map(select(.[0] != .[1]) | "\(.[0]) is \(.[1])") | join("; ")' $name.yaml)"
done | sed -E 's/ +$//' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
written by PyYAML:
  PyYAML:
  ruamel.yaml: 12345e67 is 1.2345e+71; 08 is 8; 0o17 is 15
  yaml: 12345e67 is 1.2345e+71; 08 is 8; 0o17 is 15
  js-yaml: 12345e67 is 1.2345e+71; 08 is 8; 0o17 is 15
  gojq: 12345e67 is 1.2345e+71; 08 is 8; 0o17 is 15
written by ruamel.yaml:
  PyYAML: 12:30 is 750; on is True; no is False
  ruamel.yaml:
  yaml:
  js-yaml:
  gojq:
written by yaml:
  PyYAML: 2024-01-01 is datetime.date(2024, 1, 1); 12:30 is 750; 1_000 is 1000; on is True; no is False
  ruamel.yaml: 2024-01-01 is datetime.date(2024, 1, 1); 1_000 is 1000
  yaml:
  js-yaml:
  gojq: 2024-01-01 is 2024-01-01T00:00:00Z; 1_000 is 1000
written by js-yaml:
  PyYAML:
  ruamel.yaml:
  yaml:
  js-yaml:
  gojq:
written by gojq:
  PyYAML:
  ruamel.yaml:
  yaml:
  js-yaml:
  gojq:
T
