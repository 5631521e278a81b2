#!/usr/bin/env bash
# Garbage collection of docker-registry takes the images out of a tagged index.
#
# Version: docker-registry 2.8.2 (Debian 12, 2.8.2+ds1-1); 2.8.3 (Debian testing) was seen to behave in the same way.
#
# Guess: `garbage-collect --delete-untagged` removes what no tag leads to; the images of a tagged index are led to.
#
# Behaviour: only a manifest that has a tag of its own counts. An index that has one stays, and the images that it names are
# deleted with their configs and layers: the tag answers 200 with the index, and each platform of it 404. Without the option
# everything stays.
#
# Why it matters: multi-platform images are pushed with a tag for the index alone (as buildx and `manifest push --all` do),
# so the option that is to free space empties exactly these. What looks up the tag only, says that all is well.
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
storage: {filesystem: {rootdirectory: $tmp/data}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
C
serve() { root/usr/bin/docker-registry serve config.yml >log 2>&1 & pid=$!; }
stop() { kill "$pid"; wait "$pid" || :; pid=; }
cat >client.py <<'P'
import hashlib, json, sys, time, urllib.error, urllib.request
base = f"http://127.0.0.1:{sys.argv[1]}/v2/app"
oci = "application/vnd.oci.image."
def ask(method, url, body=None, headers={}):
    for _ in range(50):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=headers)) as answer:
                return answer.status, answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.headers
        except urllib.error.URLError:
            time.sleep(0.1)
    raise SystemExit("the registry does not answer")
def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()
def blob(data):
    where = ask("POST", base + "/blobs/uploads/", b"")[1]["Location"]
    sign = "&" if "?" in where else "?"
    assert ask("PUT", f"{where}{sign}digest={digest(data)}", data, {"Content-Type": "application/octet-stream"})[0] == 201
    return {"digest": digest(data), "size": len(data)}
def put(name, document, media):
    data = json.dumps(document).encode()
    assert ask("PUT", f"{base}/manifests/{name or digest(data)}", data, {"Content-Type": media})[0] == 201
    return {"mediaType": media, "digest": digest(data), "size": len(data)}
def image(name, architecture):
    config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
    return put(name, {"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "layers": [],
                      "config": {"mediaType": oci + "config.v1+json", **blob(config.encode())}}, oci + "manifest.v1+json")
if sys.argv[2] == "push":
    image("one", "riscv64")
    named = [{**image(None, a), "platform": {"architecture": a, "os": "linux"}} for a in ["amd64", "arm64"]]
    put("many", {"schemaVersion": 2, "mediaType": oci + "index.v1+json", "manifests": named}, oci + "index.v1+json")
    json.dump([n["digest"] for n in named], open("named.json", "w"))
else:
    accept = {"Accept": oci + "index.v1+json, " + oci + "manifest.v1+json"}
    names = ["one", "many"] + json.load(open("named.json"))
    for name, words in zip(names, ["an image with a tag", "the index with a tag", "its amd64", "its arm64"]):
        print(f"{sys.argv[2]}: {words}: {ask('GET', base + '/manifests/' + name, None, accept)[0]}")
P
serve; python3 client.py "$port" push; stop
{
  root/usr/bin/docker-registry garbage-collect config.yml >gc.log 2>&1
  serve; python3 client.py "$port" "garbage-collect"; stop
  root/usr/bin/docker-registry garbage-collect --delete-untagged config.yml >gc.log 2>&1
  serve; python3 client.py "$port" "with --delete-untagged"; stop
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
garbage-collect: an image with a tag: 200
garbage-collect: the index with a tag: 200
garbage-collect: its amd64: 200
garbage-collect: its arm64: 200
with --delete-untagged: an image with a tag: 200
with --delete-untagged: the index with a tag: 200
with --delete-untagged: its amd64: 404
with --delete-untagged: its arm64: 404
T
