#!/usr/bin/env bash
# One package, two purls: the Python and the JavaScript library write the same package differently.
#
# Versions: packageurl-python 0.16.0, packageurl-js 2.0.1.
#
# Guess: a purl is canonical, so what two libraries make of the same parts can be compared as text.
#
# Behaviour: a `+` in a version (as in Debian's 5.36.0-7+deb12u1) stays `+` in JavaScript and becomes `%2B` in Python,
# and `/` in a qualifier's value is `%2F` in JavaScript and stays in Python.
#
# Why it matters: an SBOM of one tool and a VEX of another that name the same package are matched by their purls; as texts they
# never meet, and the statement is without effect. Compare parsed parts.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check packageurl-python==0.16.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install packageurl-js@2.0.1 >/dev/null
{
  v/bin/python - <<'P'
from packageurl import PackageURL
print("python:", PackageURL("deb", "debian", "perl", "5.36.0-7+deb12u1", {"arch": "amd64"}))
print("python:", PackageURL("oci", None, "app", "1", {"repository_url": "example.org/team/app"}))
P
  node -e '
    const { PackageURL } = require("packageurl-js");
    console.log("js:    ", new PackageURL("deb", "debian", "perl", "5.36.0-7+deb12u1", {arch: "amd64"}).toString());
    console.log("js:    ", new PackageURL("oci", null, "app", "1", {repository_url: "example.org/team/app"}).toString());'
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
python: pkg:deb/debian/perl@5.36.0-7%2Bdeb12u1?arch=amd64
python: pkg:oci/app@1?repository_url=example.org/team/app
js:     pkg:deb/debian/perl@5.36.0-7+deb12u1?arch=amd64
js:     pkg:oci/app@1?repository_url=example.org%2Fteam%2Fapp
T
