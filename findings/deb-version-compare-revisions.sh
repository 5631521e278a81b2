#!/usr/bin/env bash
# deb-version-compare takes a version without a revision for equal to each one with a revision, so its order is none.
#
# Version: deb-version-compare 1.2.1 (Node), beside dpkg.
#
# Guess: a library that compares versions by Debian's policy says what `dpkg --compare-versions` says.
#
# Behaviour: no revision is revision 0 for dpkg, so 1.0 is less than 1.0-1 and more than 1.0-~1. The library says that 1.0 is
# equal to both, and that 1.0-1 and 1.0-2 differ. A number with a zero before it is less than without (for dpkg they are equal).
#
# Why it matters: dependencies and advisories often name no revision. What needs an update seems to have it; and as 1.0 is equal to
# two that differ, the order of a sorted list depends on the order that it came in.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm --silent --no-audit --no-fund install deb-version-compare@1.2.1 >/dev/null
cat >compare.js <<'J'
const compare = require("deb-version-compare");
const { spawnSync } = require("child_process");
const dpkg = (a, b) => ["lt", "eq", "gt"].findIndex(word => spawnSync("dpkg", ["--compare-versions", a, word, b]).status === 0) - 1;
for (const [a, b] of [["1.0-1", "1.0-2"], ["1.0", "1.0-1"], ["1.0", "1.0-2"], ["1.0", "1.0-~1"], ["1.00", "1.0"]]) {
  const [left, right] = [dpkg, compare].map(of => `${a} ${"<=>"[Math.sign(of(a, b)) + 1]} ${b}`);
  console.log(`dpkg: ${left}; deb-version-compare: ${right}`);
}
for (const list of [["1.0-2", "1.0", "1.0-1"], ["1.0-1", "1.0", "1.0-2"]])
  console.log("deb-version-compare:", list.join(" "), "sorted:", [...list].sort(compare).join(" "));
J
node compare.js >seen.txt
cat seen.txt
diff - seen.txt <<'T'
dpkg: 1.0-1 < 1.0-2; deb-version-compare: 1.0-1 < 1.0-2
dpkg: 1.0 < 1.0-1; deb-version-compare: 1.0 = 1.0-1
dpkg: 1.0 < 1.0-2; deb-version-compare: 1.0 = 1.0-2
dpkg: 1.0 > 1.0-~1; deb-version-compare: 1.0 = 1.0-~1
dpkg: 1.00 = 1.0; deb-version-compare: 1.00 < 1.0
deb-version-compare: 1.0-2 1.0 1.0-1 sorted: 1.0-2 1.0 1.0-1
deb-version-compare: 1.0-1 1.0 1.0-2 sorted: 1.0-1 1.0 1.0-2
T
