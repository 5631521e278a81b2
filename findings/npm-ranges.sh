#!/usr/bin/env bash
# `^0` of npm is met by no version, and `<2.0.0` by the candidates of 2.0.0, for libraries that read npm's ranges.
#
# Versions: univers 32.0.1, semantic-version 2.10.0 (`NpmSpec`) and node-semver 0.9.1 (Python), beside semver 7.8.6 (Node; npm's own).
#
# Guess: npm's ranges are written down with a grammar, and a library with npm in its name has what npm takes.
#
# Behaviour: what is seen below is what each has more (+) and less (-) than semver.
#   - univers has no 0.x in `^0`, no 1.0.0 in `^1.x`, no 1.2.3 in `1.2` and in `<=1.2`, but in `>1.2`. All candidates that lie between the bounds are in its ranges.
#   - semantic-version has 2.0.0-rc.1 in `<2.0.0` and in `<=1`, and refuses `> 1.2.3` and `~> 1.2`.
#   - node-semver gives the answers of semver.
#
# Why it matters: advisories of npm have such ranges, and so have the lists of what an image may take. `<=1.2` of an advisory that
# does not have 1.2.3 is an image that is not updated; `<2.0.0` with a candidate is one of the next major version.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check univers==32.0.1 semantic-version==2.10.0 node-semver==0.9.1 >/dev/null 2>&1
npm --silent --no-audit --no-fund install semver@7.8.6 >/dev/null
cat >of.py <<'P'
import json, subprocess
import nodesemver
from semantic_version import NpmSpec, Version
from univers.version_range import NpmVersionRange
from univers.versions import SemverVersion
versions = "0.2.3 0.3.0 1.0.0 1.2.3-beta.2 1.2.3 1.2.4-rc.1 1.2.4 1.3.0 2.0.0-rc.1 2.0.0 2.1.0".split()
ranges = ["^0.2.3", "^0", "^1.x", "~1.2", "1.2", "1.2.x", ">1.2", "<=1.2", "<=1", "<2.0.0", "^1.2.3-beta.2", "> 1.2.3", "~> 1.2", "1.2.3 - 2.0", "<1.2 || >2"]
script = "const s = require('semver'), [v, r] = JSON.parse(process.argv[1]); console.log(JSON.stringify(r.map((range) => v.filter((version) => s.satisfies(version, range)))))"
right = json.loads(subprocess.check_output(["node", "-e", script, json.dumps([versions, ranges])]))
readers = {
    "univers": lambda text: (lambda found: lambda version: SemverVersion(version) in found)(NpmVersionRange.from_native(text)),
    "semantic-version": lambda text: (lambda found: lambda version: found.match(Version(version)))(NpmSpec(text)),
    "node-semver": lambda text: lambda version: nodesemver.satisfies(version, text, loose=False),
}
for text, expected in zip(ranges, right):
    print(f"{text}: {' '.join(expected)}")
    for name, reader in readers.items():
        try:
            matches = reader(text)
            found = [version for version in versions if matches(version)]
        except ValueError:
            print(f"  {name}: refused")
            continue
        more = ["+" + version for version in found if version not in expected] + ["-" + version for version in expected if version not in found]
        if more:
            print(f"  {name}: {' '.join(more)}")
P
v/bin/python of.py | tee seen.txt
diff - seen.txt <<'T'
^0.2.3: 0.2.3
^0: 0.2.3 0.3.0
  univers: -0.2.3 -0.3.0
^1.x: 1.0.0 1.2.3 1.2.4 1.3.0
  univers: +1.2.3-beta.2 +1.2.4-rc.1 +2.0.0-rc.1 -1.0.0
~1.2: 1.2.3 1.2.4
  univers: +1.2.3-beta.2 +1.2.4-rc.1
1.2: 1.2.3 1.2.4
  univers: -1.2.3 -1.2.4
1.2.x: 1.2.3 1.2.4
  univers: +1.2.3-beta.2 +1.2.4-rc.1
>1.2: 1.3.0 2.0.0 2.1.0
  univers: +1.2.3-beta.2 +1.2.3 +1.2.4-rc.1 +1.2.4 +2.0.0-rc.1
<=1.2: 0.2.3 0.3.0 1.0.0 1.2.3 1.2.4
  univers: -1.2.3 -1.2.4
<=1: 0.2.3 0.3.0 1.0.0 1.2.3 1.2.4 1.3.0
  univers: -1.2.3 -1.2.4 -1.3.0
  semantic-version: +2.0.0-rc.1
<2.0.0: 0.2.3 0.3.0 1.0.0 1.2.3 1.2.4 1.3.0
  univers: +1.2.3-beta.2 +1.2.4-rc.1 +2.0.0-rc.1
  semantic-version: +2.0.0-rc.1
^1.2.3-beta.2: 1.2.3-beta.2 1.2.3 1.2.4 1.3.0
  univers: +1.2.4-rc.1 +2.0.0-rc.1
> 1.2.3: 1.2.4 1.3.0 2.0.0 2.1.0
  univers: +1.2.4-rc.1 +2.0.0-rc.1
  semantic-version: refused
~> 1.2: 1.2.3 1.2.4
  univers: refused
  semantic-version: refused
1.2.3 - 2.0: 1.2.3 1.2.4 1.3.0 2.0.0
  univers: +1.2.4-rc.1 +2.0.0-rc.1
<1.2 || >2: 0.2.3 0.3.0 1.0.0
  univers: +2.1.0
T
