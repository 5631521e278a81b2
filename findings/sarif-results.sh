#!/usr/bin/env bash
# An error of SARIF is none in the report that is made of it, or the report has no word of it; what was fixed or accepted is an error there.
#
# Versions: sarif-tools 3.0.5 (Python), @security-alert/sarif-to-markdown 1.11.1 and sarif-junit 1.1.4 (Node).
#
# Guess: a reader of SARIF 2.1.0 knows what says whether a result is a finding: a level that is not there is the rule's, `kind` pass and
# notApplicable have no level, `baselineState` absent is fixed, `suppressions` hold when none of them is rejected, and the rule can be named
# by `ruleIndex` alone.
#
# Behaviour: sarif-junit makes no failure of a result whose level is its rule's. sarif-to-markdown does not show a result without `ruleId`:
# "Nothing here"; sarif-tools raises KeyError and sarif-junit refuses it. What was passed or not applicable is an error in Markdown. What is
# gone, and what was accepted, is an error or a failure for all three, like what was rejected.
#
# Why it matters: scanners of images write SARIF, with levels at the rules, and what is shown or fails a build is made of it. There a
# vulnerable image passes; and one that was made anew has the errors that it no longer has.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check sarif-tools==3.0.5 >/dev/null 2>&1
npm --silent --no-audit --no-fund install @security-alert/sarif-to-markdown@1.11.1 sarif-junit@1.1.4 >/dev/null
cat >make.py <<'P'
import json
results = {
    "plain": {"level": "error"},
    "of-rule": {},
    "pass": {"kind": "pass"},
    "not-applicable": {"kind": "notApplicable"},
    "gone": {"level": "error", "baselineState": "absent"},
    "accepted": {"level": "error", "suppressions": [{"kind": "external", "status": "accepted"}]},
    "rejected": {"level": "error", "suppressions": [{"kind": "external", "status": "rejected"}]},
    "by-index": {"level": "error"},
}
rules = [{"id": name, "shortDescription": {"text": name}, "defaultConfiguration": {"level": "error"}} for name in results]
place = {"physicalLocation": {"artifactLocation": {"uri": "a"}, "region": {"startLine": 1}}}
for at, (name, fields) in enumerate(results.items()):
    result = {**({} if name == "by-index" else {"ruleId": name}), "ruleIndex": at, "message": {"text": name}, "locations": [place], **fields}
    run = {"tool": {"driver": {"name": "example", "rules": rules}}, "results": [result]}
    json.dump({"version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "runs": [run]}, open(f"{at}-{name}.sarif", "w"))
P
cat >of.cjs <<'J'
const { sarifToMarkdown } = require("@security-alert/sarif-to-markdown");
const [{ body }] = sarifToMarkdown({ owner: "o", repo: "r", branch: "b", sourceRoot: "", title: "t" })(JSON.parse(require("fs").readFileSync(process.argv[2])));
const [found, suppressed] = body.split("## Suppressed results");
const level = (text) => text?.match(/\*\*\[(\w+)\]\*\*/)?.[1].toLowerCase();
console.log(level(found.split("## Rules")[0]) ?? (level(suppressed) ? "suppressed" : "nothing"));
J
python3 make.py
for file in *.sarif; do
  name=${file%.sarif}
  if v/bin/sarif csv -o seen.csv "$file" >log 2>&1; then tools=$(cut -d, -f2 seen.csv | tail -n +2); else tools=$(grep -oE '^[A-Z][A-Za-z]+Error' log); fi
  rm -f seen.xml seen.csv
  node_modules/.bin/sarif-junit -i "$file" -o seen.xml >log 2>&1 || :
  junit=$(if [ ! -s seen.xml ]; then echo refused; elif grep -q '<failure' seen.xml; then echo failure; else echo none; fi)
  echo "${name#*-}: sarif-tools: $tools; sarif-to-markdown: $(node of.cjs "$file" 2>/dev/null || echo refused); sarif-junit: $junit"
done | tee seen.txt
diff - seen.txt <<'T'
plain: sarif-tools: error; sarif-to-markdown: error; sarif-junit: failure
of-rule: sarif-tools: error; sarif-to-markdown: error; sarif-junit: none
pass: sarif-tools: none; sarif-to-markdown: error; sarif-junit: none
not-applicable: sarif-tools: none; sarif-to-markdown: error; sarif-junit: none
gone: sarif-tools: error; sarif-to-markdown: error; sarif-junit: failure
accepted: sarif-tools: error; sarif-to-markdown: error; sarif-junit: failure
rejected: sarif-tools: error; sarif-to-markdown: error; sarif-junit: failure
by-index: sarif-tools: KeyError; sarif-to-markdown: nothing; sarif-junit: refused
T
