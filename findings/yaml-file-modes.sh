#!/usr/bin/env bash
# A new image is put into a manifest, and the files of its volume become mode 1204 instead of 644.
#
# Versions: yaml 2.9.1 and js-yaml 5.5.0 (Node), ruamel.yaml 0.19.1 and PyYAML 6.0.4 (Python), gojq 0.12.11 (Debian 12; Go's yaml.v3).
#
# Guess: a library that keeps a document, with its comments, writes back what it did not change; `parseDocument` of yaml is made for that.
#
# Behaviour: what reads manifests for Kubernetes in Go and Python takes 0644 for an octal number, 420. yaml and js-yaml take it for 644,
# and write it without the zero: also where only the image was set, in a document that was kept. To the next reader that is mode 1204: a
# sticky bit, no reading for the owner; and 0400 is 620, so that a group can write. Integers beyond 2^53 are rounded by yaml in the same
# way, without a word; with `version: '1.1'` the mode stays, the large number does not. ruamel.yaml, PyYAML and gojq keep the meaning of
# modes; gojq makes a string of the number.
#
# Why it matters: putting a new digest into a manifest is what keeps an image fresh. `defaultMode: 0644` and `mode: 0400` are in examples
# everywhere, and a file that its owner cannot read is noticed only when the new container starts.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check PyYAML==6.0.4 ruamel.yaml==0.19.1 >/dev/null 2>&1
npm --silent --no-audit --no-fund install yaml@2.9.1 js-yaml@5.5.0 >/dev/null
apt-get -qq download gojq=0.12.11-1 2>apt.log || { cat apt.log >&2; exit 2; }
dpkg-deb -x gojq_*.deb root
cat >a.yaml <<'T'
# kept by hand
image: app:1 # pinned
defaultMode: 0644
mode: 0400
serial: 12345678901234567891
T
cat >of.cjs <<'J'
const fs = require("fs"), yaml = require("yaml"), js = require("js-yaml"), text = fs.readFileSync("a.yaml", "utf8");
for (const [name, options] of [["yaml, kept", {}], ["yaml 1.1, kept", { version: "1.1" }]]) {
  const document = yaml.parseDocument(text, options);
  document.set("image", "app:2");
  fs.writeFileSync(`${name}.out`, String(document));
}
fs.writeFileSync("yaml, values.out", yaml.stringify({ ...yaml.parse(text), image: "app:2" }));
fs.writeFileSync("js-yaml.out", js.dump({ ...js.load(text), image: "app:2" }));
J
cat >of.py <<'P'
import sys, yaml
from ruamel.yaml import YAML
if len(sys.argv) > 1:
    read = yaml.safe_load(open(sys.argv[1]))
    print("  PyYAML:", oct(read["defaultMode"])[2:], oct(read["mode"])[2:], read["serial"])
else:
    kept = YAML()
    document = kept.load(open("a.yaml"))
    document["image"] = "app:2"
    kept.dump(document, open("ruamel.yaml.out", "w"))
    yaml.safe_dump({**yaml.safe_load(open("a.yaml")), "image": "app:2"}, open("PyYAML.out", "w"))
P
node of.cjs
v/bin/python of.py
root/usr/bin/gojq --yaml-input --yaml-output '.image = "app:2"' a.yaml >gojq.out
for file in a.yaml "yaml, kept.out" "yaml 1.1, kept.out" "yaml, values.out" js-yaml.out ruamel.yaml.out PyYAML.out gojq.out; do
  echo "${file%.out}: $(grep -i -e mode -e serial "$file" | sort | tr '\n' ' ')"
  v/bin/python of.py "$file"
  echo "  gojq: $(root/usr/bin/gojq --yaml-input -r '.defaultMode, .mode' "$file" | xargs printf '%o %o')"
done | sed 's/ *$//' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
a.yaml: defaultMode: 0644 mode: 0400 serial: 12345678901234567891
  PyYAML: 644 400 12345678901234567891
  gojq: 644 400
yaml, kept: defaultMode: 644 mode: 400 serial: 12345678901234567000
  PyYAML: 1204 620 12345678901234567000
  gojq: 1204 620
yaml 1.1, kept: defaultMode: 0644 mode: 0400 serial: 12345678901234567000
  PyYAML: 644 400 12345678901234567000
  gojq: 644 400
yaml, values: defaultMode: 644 mode: 400 serial: 12345678901234567000
  PyYAML: 1204 620 12345678901234567000
  gojq: 1204 620
js-yaml: defaultMode: 644 mode: 400 serial: 12345678901234567000
  PyYAML: 1204 620 12345678901234567000
  gojq: 1204 620
ruamel.yaml: defaultMode: 0644 mode: 0400 serial: 12345678901234567891
  PyYAML: 644 400 12345678901234567891
  gojq: 644 400
PyYAML: defaultMode: 420 mode: 256 serial: 12345678901234567891
  PyYAML: 644 400 12345678901234567891
  gojq: 644 400
gojq: defaultMode: 420 mode: 256 serial: "12345678901234567891"
  PyYAML: 644 400 12345678901234567891
  gojq: 644 400
T
