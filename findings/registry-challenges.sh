#!/usr/bin/env bash
# A registry offers Bearer beside Basic, and clients ask the wrong place for a token, or none.
#
# Versions: oras 0.2.43 and www-authenticate 0.9.2 (Python; the latter is python-dxf's), www-authenticate 0.6.3 and auth-header 1.0.0 (Node).
#
# Guess: what reads the `WWW-Authenticate` header of a registry finds the realm and the service of Bearer in each form that RFC 9110
# allows: several challenges in one header, names with capitals, blanks around `=` and before commas, values without quotes.
#
# Behaviour:
#   - oras looks for `name="value"` anywhere: of two challenges it takes the last realm, whosesoever it is; it knows no value without
#     quotes, no capital and no blank.
#   - All others keep capitals in names of parameters: whoever looks for `realm` has none. An empty value is an error for
#     www-authenticate (Python).
#   - Both libraries for Node read one challenge alone, and put what follows into it: `Bearer realm` is a parameter of Basic, or Basic has
#     two realms. A blank before a comma is an error for www-authenticate (Node), and one before `=` leaves nothing for auth-header.
#
# Why it matters: registries behind proxies and package managers offer two ways. The client says that the password is wrong, or that
# the token's server does not answer, and neither is so.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check oras==0.2.43 www-authenticate==0.9.2 >/dev/null 2>&1
npm --silent --no-audit --no-fund install www-authenticate@0.6.3 auth-header@1.0.0 >/dev/null
cat >headers.txt <<'T'
Bearer realm="https://auth.example/",service="s"
Basic realm="x", Bearer realm="https://auth.example/",service="s"
Bearer realm="https://auth.example/",service="s", Basic realm="x"
Negotiate, Bearer realm="https://auth.example/",service="s"
Bearer Realm="https://auth.example/",Service="s"
Bearer realm = "https://auth.example/",service = "s"
Bearer realm="https://auth.example/" , service=s
Bearer realm="https://auth.example/",service=""
T
cat >of.py <<'P'
import www_authenticate
from oras.auth.utils import parse_auth_header
for header in open("headers.txt").read().splitlines():
    found = parse_auth_header(header)
    try:
        bearer = www_authenticate.parse(header).get("bearer") or {}
        other = f"{bearer.get('realm')} {bearer.get('service')!r}"
    except ValueError as error:
        other = f"error: {error}"
    print(f"  oras: {found.realm} {found.service!r}\t  www-authenticate (Python): {other}")
P
cat >of.js <<'J'
const { WWW_Authenticate } = require("www-authenticate").parsers;
const { parse } = require("auth-header");
for (const header of require("fs").readFileSync("headers.txt", "utf8").trimEnd().split("\n")) {
  const one = new WWW_Authenticate(header);
  const first = one.err ? `error: ${one.err}` : `${one.scheme} ${JSON.stringify(one.parms)}`;
  let second;
  try { const { scheme, params } = parse(header); second = `${scheme} ${JSON.stringify(params)}`; } catch (error) { second = `error: ${error.message}`; }
  console.log(`  www-authenticate (Node): ${first}\t  auth-header: ${second}`);
}
J
paste headers.txt <(v/bin/python of.py) <(node of.js) | tr '\t' '\n' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
Bearer realm="https://auth.example/",service="s"
  oras: https://auth.example/ 's'
  www-authenticate (Python): https://auth.example/ 's'
  www-authenticate (Node): Bearer {"realm":"https://auth.example/","service":"s"}
  auth-header: Bearer {"realm":"https://auth.example/","service":"s"}
Basic realm="x", Bearer realm="https://auth.example/",service="s"
  oras: https://auth.example/ 's'
  www-authenticate (Python): https://auth.example/ 's'
  www-authenticate (Node): Basic {"realm":"x","Bearer realm":"https://auth.example/","service":"s"}
  auth-header: Basic {"realm":["x","https://auth.example/"],"service":"s"}
Bearer realm="https://auth.example/",service="s", Basic realm="x"
  oras: x 's'
  www-authenticate (Python): https://auth.example/ 's'
  www-authenticate (Node): Bearer {"realm":"https://auth.example/","service":"s","Basic realm":"x"}
  auth-header: Bearer {"realm":["https://auth.example/","x"],"service":"s"}
Negotiate, Bearer realm="https://auth.example/",service="s"
  oras: https://auth.example/ 's'
  www-authenticate (Python): https://auth.example/ 's'
  www-authenticate (Node): Bearer {"realm":"https://auth.example/","service":"s"}
  auth-header: error: Invalid scheme Negotiate,
Bearer Realm="https://auth.example/",Service="s"
  oras: None None
  www-authenticate (Python): None None
  www-authenticate (Node): Bearer {"Realm":"https://auth.example/","Service":"s"}
  auth-header: Bearer {"Realm":"https://auth.example/","Service":"s"}
Bearer realm = "https://auth.example/",service = "s"
  oras: None None
  www-authenticate (Python): https://auth.example/ 's'
  www-authenticate (Node): error: Comma expected after 
  auth-header: Bearer {}
Bearer realm="https://auth.example/" , service=s
  oras: https://auth.example/ None
  www-authenticate (Python): https://auth.example/ 's'
  www-authenticate (Node): error: Unexpected token ( ) after https://auth.example/"
  auth-header: Bearer {"realm":"https://auth.example/","service":"s"}
Bearer realm="https://auth.example/",service=""
  oras: https://auth.example/ None
  www-authenticate (Python): error: Failed to parse value
  www-authenticate (Node): Bearer {"realm":"https://auth.example/","service":""}
  auth-header: Bearer {"realm":"https://auth.example/","service":""}
T
