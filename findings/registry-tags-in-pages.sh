#!/usr/bin/env bash
# docker-registry 2.8 gives all tags for each page that is asked for.
#
# Version: docker-registry 2.8.2 (Debian 12, 2.8.2+ds1-1); 2.8.3 (Debian testing) was seen to behave in the same way.
#
# Guess: `tags/list?n=2` gives two tags, sorted, and a Link to the next page, as the distribution specification says and as
# `_catalog?n=1` of the same registry does.
#
# Behaviour: n and last are not regarded: each request gives all tags, and no Link. They come as the storage has them, not
# sorted. The catalogue, beside it, knows pages, and refuses what it finds too large (n=5000: 400).
#
# Why it matters: a client that goes on "from the last tag" until a page is empty or short, without looking for a Link, goes
# on for ever; one that asks for n=1 to see whether there is a tag takes all of them; one that takes the last of the list for
# the newest is wrong by the file system.
set -euo pipefail
tmp=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || :; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download docker-registry=2.8.2+ds1-1 2>apt.log || { cat apt.log >&2; exit 2; }
dpkg-deb -x docker-registry_*.deb root
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >config.yml <<C
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $tmp/data}}
http: {addr: "127.0.0.1:$port"}
C
root/usr/bin/docker-registry serve config.yml >log 2>&1 &
pid=$!
cat >ask.py <<'P'
import hashlib, json, sys, time, urllib.error, urllib.request
base = f"http://127.0.0.1:{sys.argv[1]}/v2/"
oci = "application/vnd.oci.image."
def ask(method, url, body=None, headers={}):
    for _ in range(50):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=headers)) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()
        except urllib.error.URLError:
            time.sleep(0.1)
    raise SystemExit("the registry does not answer")
for repository in ["app", "tool"]:
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    where = ask("POST", f"{base}{repository}/blobs/uploads/", b"")[1]["Location"]
    assert ask("PUT", f"{where}&digest={digest}", config, {"Content-Type": "application/octet-stream"})[0] == 201
    manifest = {"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "layers": [],
                "config": {"mediaType": oci + "config.v1+json", "digest": digest, "size": len(config)}}
    for tag in ["1", "2", "3", "4", "5"]:
        put = ask("PUT", f"{base}{repository}/manifests/{tag}", json.dumps(manifest).encode(), {"Content-Type": oci + "manifest.v1+json"})
        assert put[0] == 201
for what in ["app/tags/list?n=2", "app/tags/list?n=2&last=5", "_catalog?n=1", "_catalog?n=5000"]:
    status, headers, body = ask("GET", base + what)
    count = len(json.loads(body).get("tags", json.loads(body).get("repositories", [])))
    print(f"{what}: {status}, {count} names, {'a Link' if headers.get('Link') else 'no Link'}")
P
python3 ask.py "$port" >seen.txt
cat seen.txt
diff - seen.txt <<'T'
app/tags/list?n=2: 200, 5 names, no Link
app/tags/list?n=2&last=5: 200, 5 names, no Link
_catalog?n=1: 200, 1 names, a Link
_catalog?n=5000: 400, 0 names, no Link
T
