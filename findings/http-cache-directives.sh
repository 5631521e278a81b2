#!/usr/bin/env bash
# `max-age=60, must-revalidate` is asked for again each time, `No-Store` is kept, and hishel as it comes keeps everything.
#
# Versions: CacheControl 0.14.4, requests-cache 1.3.3, hishel 2.0.0 (Python), undici 7.30.2, http-cache-semantics 4.3.0 (Node),
# http-cache-semantics 2.1.1 (Rust).
#
# Guess: libraries that cache by RFC 9111, asked to be private caches, agree on its plain cases: must-revalidate says nothing of
# what is fresh, names of directives have no case, a number may be in quotes, and without a lifetime nothing is kept for a day.
#
# Behaviour, of what is given again without asking:
#   - `max-age=60, must-revalidate`: not by http-cache-semantics (Node) nor requests-cache.
#   - `Max-Age=60` is no lifetime for CacheControl nor either http-cache-semantics, and `No-Store` does not hinder them: they keep
#     the answer.
#   - `max-age="60"`: not by CacheControl.
#   - `immutable` alone, which has no meaning without a lifetime: by undici and both http-cache-semantics; and by requests-cache, for
#     which each answer without a lifetime never expires.
#   - hishel's client gives `no-store` again as well: version 2 follows the RFC only where it is told to (`rfc=True`).
#
# Why it matters: behind one library an index is fetched anew for each build, and behind another one it is never fetched again. Both
# look like a server's fault.
set -euo pipefail
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check \
  cachecontrol==0.14.4 requests-cache==1.3.3 hishel==2.0.0 httpx==0.28.1 >/dev/null 2>&1
npm --silent --no-audit --no-fund install undici@7.30.2 http-cache-semantics@4.3.0 >/dev/null
cat >cases.txt <<'T'
max-age=60
max-age=60, must-revalidate
Max-Age=60
max-age="60"
immutable
max-age=60, No-Store
max-age=60, no-store
T
cat >server.py <<'P'
import http.server, os
from email.utils import formatdate
cases = open("cases.txt").read().splitlines()
class Handler(http.server.BaseHTTPRequestHandler):
    asked = {}
    def do_GET(self):
        count = Handler.asked[self.path] = Handler.asked.get(self.path, 0) + 1
        self.send_response_only(200)
        self.send_header("Cache-Control", cases[int(self.path.rsplit("/", 1)[1])])
        self.send_header("Date", formatdate(usegmt=True))
        body = str(count).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
open("port.new", "w").write(str(server.server_port))
os.rename("port.new", "port")
server.serve_forever()
P
python3 server.py & server=$!
for _ in $(seq 100); do [ -e port ] || sleep 0.1; done
base=http://127.0.0.1:$(cat port)
cat >ask.py <<'P'
import sys
import cachecontrol, hishel, requests, requests_cache
from hishel.httpx import CacheClient
store = lambda name: hishel.SqliteStorage(database_path=name)
for name, client in {
    "CacheControl": cachecontrol.CacheControl(requests.Session()),
    "requests-cache (cache_control=True)": requests_cache.CachedSession(backend="memory", cache_control=True),
    "hishel (rfc)": CacheClient(storage=store("rfc.db"), rfc=hishel.CacheOptions(shared=False)),
    "hishel": CacheClient(storage=store("plain.db")),
}.items():
    for number, case in enumerate(open("cases.txt").read().splitlines()):
        seen = [client.get(f"{sys.argv[1]}/{name.split('=')[0].replace(' ', '')}/{number}").text for _ in range(2)]
        print(f"{case}: {name}: {'given again' if seen == ['1', '1'] else 'asked for again'}")
P
cat >ask.mjs <<'J'
import { readFileSync } from "node:fs";
import { request, Agent, interceptors } from "undici";
import Policy from "http-cache-semantics";
const dispatcher = new Agent().compose(interceptors.cache({ type: "private" }));
const say = (name, what, again) => console.log(`${what}: ${name}: ${again ? "given again" : "asked for again"}`);
for (const [number, what] of readFileSync("cases.txt", "utf8").trimEnd().split("\n").entries()) {
  const get = async () => (await request(`${process.argv[2]}/undici/${number}`, { dispatcher })).body.text();
  say("undici", what, (await get()) === "1" && (await get()) === "1");
  const url = `${process.argv[2]}/semantics/${number}`;
  const response = await fetch(url);
  const asked = { url, method: "GET", headers: {} };
  const policy = new Policy(asked, { status: response.status, headers: Object.fromEntries(response.headers) }, { shared: false });
  say("http-cache-semantics (Node)", what, policy.storable() && policy.satisfiesWithoutRevalidation(asked));
}
process.exit(0);
J
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "directives"
version = "0.1.0"
edition = "2021"
[dependencies]
http = "=1.4.2"
http-cache-semantics = "=2.1.1"
httpdate = "=1.0.3"
T
cat >rust/src/main.rs <<'R'
use http::{Request, Response};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use std::time::SystemTime;

fn main() {
    let now = SystemTime::now();
    let asked = Request::get("http://mirror.example/index").body(()).unwrap();
    for case in std::fs::read_to_string("cases.txt").unwrap().lines() {
        let answer = Response::builder().header("cache-control", case).header("date", httpdate::fmt_http_date(now));
        let options = CacheOptions { shared: false, ..CacheOptions::default() };
        let policy = CachePolicy::new_options(&asked, &answer.body(()).unwrap(), now, options);
        let again = policy.is_storable() && matches!(policy.before_request(&asked, now), BeforeRequest::Fresh(_));
        println!("{case}: http-cache-semantics (Rust): {}", if again { "given again" } else { "asked for again" });
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
{ v/bin/python ask.py "$base"; NODE_NO_WARNINGS=1 node ask.mjs "$base"; target/debug/directives; } >said.txt
# In the order of the cases.
while IFS= read -r case; do grep -F "$case: " said.txt | awk -v case="$case: " 'index($0, case) == 1'; done <cases.txt >seen.txt
cat seen.txt
diff - seen.txt <<'T'
max-age=60: CacheControl: given again
max-age=60: requests-cache (cache_control=True): given again
max-age=60: hishel (rfc): given again
max-age=60: hishel: given again
max-age=60: undici: given again
max-age=60: http-cache-semantics (Node): given again
max-age=60: http-cache-semantics (Rust): given again
max-age=60, must-revalidate: CacheControl: given again
max-age=60, must-revalidate: requests-cache (cache_control=True): asked for again
max-age=60, must-revalidate: hishel (rfc): given again
max-age=60, must-revalidate: hishel: given again
max-age=60, must-revalidate: undici: given again
max-age=60, must-revalidate: http-cache-semantics (Node): asked for again
max-age=60, must-revalidate: http-cache-semantics (Rust): given again
Max-Age=60: CacheControl: asked for again
Max-Age=60: requests-cache (cache_control=True): given again
Max-Age=60: hishel (rfc): given again
Max-Age=60: hishel: given again
Max-Age=60: undici: given again
Max-Age=60: http-cache-semantics (Node): asked for again
Max-Age=60: http-cache-semantics (Rust): asked for again
max-age="60": CacheControl: asked for again
max-age="60": requests-cache (cache_control=True): given again
max-age="60": hishel (rfc): given again
max-age="60": hishel: given again
max-age="60": undici: given again
max-age="60": http-cache-semantics (Node): given again
max-age="60": http-cache-semantics (Rust): given again
immutable: CacheControl: asked for again
immutable: requests-cache (cache_control=True): given again
immutable: hishel (rfc): asked for again
immutable: hishel: given again
immutable: undici: given again
immutable: http-cache-semantics (Node): given again
immutable: http-cache-semantics (Rust): given again
max-age=60, No-Store: CacheControl: given again
max-age=60, No-Store: requests-cache (cache_control=True): asked for again
max-age=60, No-Store: hishel (rfc): asked for again
max-age=60, No-Store: hishel: given again
max-age=60, No-Store: undici: asked for again
max-age=60, No-Store: http-cache-semantics (Node): given again
max-age=60, No-Store: http-cache-semantics (Rust): given again
max-age=60, no-store: CacheControl: asked for again
max-age=60, no-store: requests-cache (cache_control=True): asked for again
max-age=60, no-store: hishel (rfc): asked for again
max-age=60, no-store: hishel: given again
max-age=60, no-store: undici: asked for again
max-age=60, no-store: http-cache-semantics (Node): asked for again
max-age=60, no-store: http-cache-semantics (Rust): asked for again
T
