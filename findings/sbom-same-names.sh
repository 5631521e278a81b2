#!/usr/bin/env bash
# Of components of an SBOM that have one name and one version, one is left, and tools made of the same library find no difference.
#
# Versions: lib4sbom 0.10.4, sbommerge 0.2.0 and sbomdiff 0.6.0 (Python).
#
# Guess: what a component is, its purl says: `@one/core` and `@two/core` of npm, `requests` of PyPI and of RubyGems, and `libc6` of amd64 and of
# i386 are two each, as their `bom-ref` says as well. What reads a document has all of its components, and what merges two has those of both.
#
# Behaviour: lib4sbom has one package for each name and version, the last one of the document. `sbommerge` writes one of two, and what is in
# one document alone is gone where the other has a namesake. For `sbomdiff` a document in which three packages are other ones, or not there, has no
# difference from the first.
#
# Why it matters: a base image's SBOM is merged with the application's, and compared with the last one to see what an update brought. A
# package that is not in the merged document gets no advisory, and one that was exchanged for a namesake is not shown.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check lib4sbom==0.10.4 sbommerge==0.2.0 sbomdiff==0.6.0 >/dev/null 2>&1
cat >make.py <<'P'
import json
def write(name, *purls):
    def component(purl):
        path, version = purl.split("?")[0].split("@")
        group, own = (["@" + path.split("/")[1][3:]] if "%40" in path else []), path.split("/")[-1]
        return {"type": "library", "bom-ref": purl, "purl": purl, **({"group": group[0]} if group else {}), "name": own, "version": version}
    json.dump({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"timestamp": "2024-01-01T00:00:00Z"}, "components": [component(purl) for purl in purls]}, open(name, "w"))
write("base.json", "pkg:npm/%40one/core@1.0", "pkg:npm/%40two/core@1.0", "pkg:pypi/requests@2.0", "pkg:gem/requests@2.0",
      "pkg:deb/debian/libc6@2.36?arch=amd64", "pkg:deb/debian/libc6@2.36?arch=i386")
write("app.json", "pkg:npm/%40three/core@1.0", "pkg:gem/requests@2.0", "pkg:deb/debian/libc6@2.36?arch=amd64")
P
cat >of.py <<'P'
import sys
from lib4sbom.parser import SBOMParser
parser = SBOMParser()
parser.parse_file(sys.argv[1])
print(*sorted(value for package in parser.get_packages() for _, kind, value in package["externalreference"] if kind == "purl"), sep="\n")
P
python3 make.py
purls='import json, sys; print(*sorted(c["purl"] for c in json.load(open(sys.argv[1]))["components"] if "purl" in c), sep="\n")'
{
  for file in base app; do
    echo "$file.json:"; python3 -c "$purls" $file.json | sed 's/^/  /'
    echo "lib4sbom, $file.json:"; v/bin/python of.py $file.json | sed 's/^/  /'
  done
  v/bin/sbommerge base.json app.json --sbom-type cyclonedx --format json -o merged.json >log 2>&1 || :
  echo "sbommerge:"; python3 -c "$purls" merged.json | sed 's/^/  /'
  echo "sbomdiff:"; v/bin/sbomdiff base.json app.json 2>&1 | grep -E '^\[|^[A-Z].*[0-9]$' | sed 's/^/  /;s/  */ /g'
} | tee seen.txt
diff - seen.txt <<'T'
base.json:
  pkg:deb/debian/libc6@2.36?arch=amd64
  pkg:deb/debian/libc6@2.36?arch=i386
  pkg:gem/requests@2.0
  pkg:npm/%40one/core@1.0
  pkg:npm/%40two/core@1.0
  pkg:pypi/requests@2.0
lib4sbom, base.json:
  pkg:deb/debian/libc6@2.36?arch=i386
  pkg:gem/requests@2.0
  pkg:npm/%40two/core@1.0
app.json:
  pkg:deb/debian/libc6@2.36?arch=amd64
  pkg:gem/requests@2.0
  pkg:npm/%40three/core@1.0
lib4sbom, app.json:
  pkg:deb/debian/libc6@2.36?arch=amd64
  pkg:gem/requests@2.0
  pkg:npm/%40three/core@1.0
sbommerge:
  pkg:deb/debian/libc6@2.36?arch=amd64
  pkg:gem/requests@2.0
  pkg:npm/%40three/core@1.0
sbomdiff:
 Version changes: 0
 License changes: 0
 Removed packages: 0
 New packages: 0
T
