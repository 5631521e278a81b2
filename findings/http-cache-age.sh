#!/usr/bin/env bash
# An answer that was stale when it came is used for its whole lifetime once more, by most libraries that cache HTTP.
#
# Versions: CacheControl 0.14.4, requests-cache 1.3.3, hishel 2.0.0 (Python), undici 7.30.2, http-cache-semantics 4.3.0 (Node),
# http-cache-semantics 2.1.1 (Rust).
#
# Guess: what a library says that it does by RFC 9111 it does: an answer's age is the larger of its `Age` and of the time since its
# `Date` (section 4.2.3), so that `max-age=60` with either of them at 100 seconds is stale, and is asked for again.
#
# Behaviour: only undici takes both into account. CacheControl and hishel do not read `Age`, both http-cache-semantics do not
# compare `Date` with the clock, and requests-cache (with `cache_control=True`) does neither: the answer is given again
# without asking, for a minute from when it came.
#
# Why it matters: mirrors and CDNs send `Age`, proxies that do not still hand on the first server's `Date`. Each such cache in a
# row adds a whole lifetime: a package index that may be an hour old is two or three.
set -euo pipefail
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check \
  cachecontrol==0.14.4 requests-cache==1.3.3 hishel==2.0.0 httpx==0.28.1 >/dev/null 2>&1
npm --silent --no-audit --no-fund install undici@7.30.2 http-cache-semantics@4.3.0 >/dev/null
cat >server.py <<'P'
import http.server, os, time
from email.utils import formatdate
class Handler(http.server.BaseHTTPRequestHandler):
    asked = {}
    def do_GET(self):
        who, what = self.path.split("/")[1:]
        count = Handler.asked[self.path] = Handler.asked.get(self.path, 0) + 1
        self.send_response_only(200)
        self.send_header("Cache-Control", "max-age=60")
        self.send_header("Date", formatdate(time.time() - (100 if what == "date" else 0), usegmt=True))
        if what == "age":
            self.send_header("Age", "100")
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
private = hishel.CacheOptions(shared=False)
for name, client in {
    "CacheControl": cachecontrol.CacheControl(requests.Session()),
    "requests-cache": requests_cache.CachedSession(backend="memory", cache_control=True),
    "hishel": CacheClient(storage=hishel.SqliteStorage(database_path="hishel.db"), rfc=private),
}.items():
    for what in ["fresh", "age", "date"]:
        seen = [client.get(f"{sys.argv[1]}/{name}/{what}").text for _ in range(2)]
        print(f"{name}: {what}: {'given again' if seen == ['1', '1'] else 'asked for again'}")
P
cat >ask.mjs <<'J'
import { request, Agent, interceptors } from "undici";
import Policy from "http-cache-semantics";
const say = (name, what, again) => console.log(`${name}: ${what}: ${again ? "given again" : "asked for again"}`);
const dispatcher = new Agent().compose(interceptors.cache({ type: "private" }));
for (const what of ["fresh", "age", "date"]) {
  const get = async () => (await request(`${process.argv[2]}/undici/${what}`, { dispatcher })).body.text();
  say("undici", what, (await get()) === "1" && (await get()) === "1");
}
for (const what of ["fresh", "age", "date"]) {
  const url = `${process.argv[2]}/semantics/${what}`;
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
name = "age"
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
use std::time::{Duration, SystemTime};

fn main() {
    let now = SystemTime::now();
    let asked = Request::get("http://mirror.example/index").body(()).unwrap();
    for what in ["fresh", "age", "date"] {
        let date = now - Duration::from_secs(if what == "date" { 100 } else { 0 });
        let mut answer = Response::builder().header("cache-control", "max-age=60").header("date", httpdate::fmt_http_date(date));
        if what == "age" {
            answer = answer.header("age", "100");
        }
        let options = CacheOptions { shared: false, ..CacheOptions::default() };
        let policy = CachePolicy::new_options(&asked, &answer.body(()).unwrap(), now, options);
        let again = policy.is_storable() && matches!(policy.before_request(&asked, now), BeforeRequest::Fresh(_));
        println!("http-cache-semantics (Rust): {what}: {}", if again { "given again" } else { "asked for again" });
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
{ v/bin/python ask.py "$base"; NODE_NO_WARNINGS=1 node ask.mjs "$base"; target/debug/age; } >seen.txt
cat seen.txt
diff - seen.txt <<'T'
CacheControl: fresh: given again
CacheControl: age: given again
CacheControl: date: asked for again
requests-cache: fresh: given again
requests-cache: age: given again
requests-cache: date: given again
hishel: fresh: given again
hishel: age: given again
hishel: date: asked for again
undici: fresh: given again
undici: age: asked for again
undici: date: asked for again
http-cache-semantics (Node): fresh: given again
http-cache-semantics (Node): age: asked for again
http-cache-semantics (Node): date: given again
http-cache-semantics (Rust): fresh: given again
http-cache-semantics (Rust): age: asked for again
http-cache-semantics (Rust): date: given again
T
