#!/usr/bin/env bash
# A statement of OpenVEX about two images is one about the last of them once it was read and written again.
#
# Version: lib4vex 0.2.3 (Python).
#
# Guess: OpenVEX's specification has lists of products and of subcomponents, which its examples use; what reads a document has all of them,
# and does not need what the specification calls optional: `role`, a statement's `timestamp` where the document has one, and purls as names
# of products.
#
# Behaviour: of a statement's products the last one is there, the others are gone, without an error. So are subcomponents, aliases,
# `impact_statement` and `status_notes`. What is written as `action_statement_timestamp` is the text of the action. A document without
# `role`, a statement without its own `timestamp` and a product that is another IRI than a purl raise KeyError or ValueError.
#
# Why it matters: one statement says of several images, or of all builds of one, that they are affected or that they are not. An image that
# is affected and is not in the copy is not made anew; `impact_statement` is all the reason that a statement without `justification` has.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check lib4vex==0.2.3 >/dev/null 2>&1
cat >of.py <<'P'
import contextlib, copy, io, json
from lib4vex.generator import VEXGenerator
from lib4vex.parser import VEXParser
time = "2024-01-01T00:00:00Z"
product = lambda name, *parts: {"@id": f"pkg:oci/{name}@sha256%3A{64 * name[0]}", **({"subcomponents": [{"@id": part} for part in parts]} if parts else {})}
statements = [
    {"vulnerability": {"name": "CVE-2024-0001", "aliases": ["GHSA-2222-3333-4444"]}, "timestamp": time, "status": "affected", "action_statement": "Update.",
     "action_statement_timestamp": time, "products": [product("app"), product("base", "pkg:deb/debian/openssl@3.0.1")]},
    {"vulnerability": {"name": "CVE-2024-0002"}, "timestamp": time, "status": "not_affected", "impact_statement": "Not built in.", "status_notes": "Seen.", "products": [product("app")]},
]
document = {"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "Example", "role": "Vendor", "timestamp": time, "version": 1, "statements": statements}
def read(document):
    json.dump(document, open("read.json", "w"))
    parser = VEXParser(vex_type="openvex")
    parser.parse("read.json")
    return parser
parser = read(document)
with contextlib.redirect_stdout(io.StringIO()):
    VEXGenerator(vex_type="openvex", author="Example").generate(project_name="app", vex_data=parser.get_vulnerabilities(), metadata=parser.get_metadata(), filename="written.json")
for which, found in ("as it was", statements), ("written", json.load(open("written.json"))["statements"]):
    for statement in found:
        products = [product["@id"][8:].split("@")[0] + (" (openssl)" if "subcomponents" in product else "") for product in statement["products"]]
        rest = {name: value for name, value in statement.items() if name.startswith(("action", "impact", "status_notes"))}
        print(f"{which}: {statement['status']}: {', '.join(products)}; aliases: {len(statement['vulnerability'].get('aliases', []))}; {rest}")
def without_role(changed): del changed["role"]
def without_time(changed): del changed["statements"][1]["timestamp"]
def address(changed): changed["statements"][1]["products"] = [{"@id": "https://example.com/app"}]
for change in without_role, without_time, address:
    changed = copy.deepcopy(document)
    change(changed)
    try:
        print(f"{change.__name__}: {len(read(changed).get_vulnerabilities())} statements")
    except Exception as error:
        print(f"{change.__name__}: {type(error).__name__}")
P
v/bin/python of.py | tee seen.txt
diff - seen.txt <<'T'
as it was: affected: app, base (openssl); aliases: 1; {'action_statement': 'Update.', 'action_statement_timestamp': '2024-01-01T00:00:00Z'}
as it was: not_affected: app; aliases: 0; {'impact_statement': 'Not built in.', 'status_notes': 'Seen.'}
written: affected: base; aliases: 0; {'action_statement': 'Update.', 'action_statement_timestamp': 'Update.'}
written: not_affected: app; aliases: 0; {}
without_role: KeyError
without_time: KeyError
address: ValueError
T
