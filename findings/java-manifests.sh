#!/usr/bin/env bash
# An address in a jar's manifest is `https`, and a title with umlauts is an error or is written on a line that is too long, by library.
#
# Versions: java-manifest 1.1.0 and jarmanifestreader 0.1.1 (Python).
#
# Guess: the JAR specification is short: a line has at most 72 bytes, what does not fit goes on after a line break and a blank, a value may
# have colons, and sections are apart. Libraries that do nothing else do that.
#
# Behaviour:
#   - Both stop with UnicodeDecodeError where the 72nd byte is within a letter, since they decode before they join lines.
#   - java-manifest writes lines of 70 letters, however many bytes these are: those with umlauts are too long.
#   - jarmanifestreader cuts values at the second colon, drops what goes on in a further line, and makes one list of all sections: the
#     title of the jar is that of its last section.
#
# Why it matters: name, version and address of a jar come from there into SBOMs, and values go on in a further line in many of them. What
# a reader cannot decode is a jar that the SBOM does not have.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check java-manifest==1.1.0 jarmanifestreader==0.1.1 >/dev/null 2>&1
cat >see.py <<'P'
import zipfile
import java_manifest
from jarmanifestreader.manifest_file_reader import get_manifest_contents

def lines_of(text): # lines as the specification has them, by bytes
    data, lines = text.encode(), []
    while data:
        size = 71 if lines else 72
        lines.append((b" " if lines else b"") + data[:size])
        data = data[size:]
    return lines
titles = {"in ASCII": "A title " + "x" * 70, "with umlauts": "A" + "Ä" * 60}
for told, title in titles.items():
    parts = ["Manifest-Version: 1.0", f"Implementation-Title: {title}", "Implementation-URL: https://example.org/", "",
             "Name: org/example/", "Implementation-Title: Another", ""]
    with zipfile.ZipFile("example.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", b"".join(line + b"\r\n" for part in parts for line in lines_of(part) or [b""]))
    print(f"a title of {len(title)} letters {told}")
    try:
        main, *others = java_manifest.from_jar("example.jar")
        found = "the title" if main["Implementation-Title"] == title else "another title"
        print(f"  java-manifest: {found}, {main['Implementation-URL']}, {len(others)} more section")
    except UnicodeDecodeError:
        print("  java-manifest: UnicodeDecodeError")
    try:
        main = get_manifest_contents("example.jar")
        print(f"  jarmanifestreader: title {main['Implementation-Title']}, {main['Implementation-URL']}")
    except UnicodeDecodeError:
        print("  jarmanifestreader: UnicodeDecodeError")
for told, title in titles.items():
    written = java_manifest.dumps([{"Implementation-Title": title}])
    lengths = [len(line.encode()) for line in written.splitlines()]
    print(f"java-manifest writes the title {told} in lines of {lengths} bytes")
P
v/bin/python see.py >seen.txt
cat seen.txt
diff - seen.txt <<'T'
a title of 78 letters in ASCII
  java-manifest: the title, https://example.org/, 1 more section
  jarmanifestreader: title Another, https
a title of 61 letters with umlauts
  java-manifest: UnicodeDecodeError
  jarmanifestreader: UnicodeDecodeError
java-manifest writes the title in ASCII in lines of [70, 31] bytes
java-manifest writes the title with umlauts in lines of [117, 27] bytes
T
