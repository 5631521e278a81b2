#!/usr/bin/env bash
# An index in docker-registry 2.8 "is not there" for who does not say that an index will do.
#
# Version: docker-registry 2.8.2 (Debian 12, 2.8.2+ds1-1).
#
# Guess: a request without an Accept header, or with */*, takes whatever has the tag, as HTTP has it.
#
# Behaviour: for an OCI index the registry answers 404 (MANIFEST_UNKNOWN) to a request without Accept,
# with Accept: */*, and with Accept of image manifests only. It is not said that something is there in
# another form. With the index's own media type the same address answers 200.
#
# Why it matters: a client that sends no Accept, or forgets one media type, takes a pushed
# multi-platform image for one that does not exist, and may push over it or call it gone.
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
root/usr/bin/docker-registry --version
root/usr/bin/docker-registry serve config.yml >log 2>&1 &
pid=$!
cat >ask.py <<'P'
import hashlib, json, sys, time, urllib.error, urllib.request
base = f"http://127.0.0.1:{sys.argv[1]}/v2/app"
def ask(method, url, body=None, headers={}):
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    for _ in range(50):
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()
        except urllib.error.URLError:
            time.sleep(0.1)
    raise SystemExit("the registry does not answer")
def blob(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    where = ask("POST", base + "/blobs/uploads/", b"")[1]["Location"]
    sign = "&" if "?" in where else "?"
    assert ask("PUT", f"{where}{sign}digest={digest}", data, {"Content-Type": "application/octet-stream"})[0] == 201
    return {"digest": digest, "size": len(data)}
def put(name, document, media):
    data = json.dumps(document).encode()
    status = ask("PUT", f"{base}/manifests/{name}", data, {"Content-Type": media})[0]
    assert status == 201, status
    return {"mediaType": media, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}
oci = "application/vnd.oci.image."
config = blob(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode())
manifest = {"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": {"mediaType": oci + "config.v1+json", **config}, "layers": []}
child = put("child", manifest, oci + "manifest.v1+json")
put("many", {"schemaVersion": 2, "mediaType": oci + "index.v1+json", "manifests": [{**child, "platform": {"architecture": "amd64", "os": "linux"}}]}, oci + "index.v1+json")
for accept in [None, "*/*", oci + "manifest.v1+json", oci + "index.v1+json"]:
    status, _, body = ask("GET", base + "/manifests/many", None, {} if accept is None else {"Accept": accept})
    code = json.loads(body)["errors"][0]["code"] if status != 200 else "the index"
    print(f"Accept {accept or 'not sent'}: {status} {code}")
P
python3 ask.py "$port" >seen.txt
cat seen.txt
diff - seen.txt <<'T'
Accept not sent: 404 MANIFEST_UNKNOWN
Accept */*: 404 MANIFEST_UNKNOWN
Accept application/vnd.oci.image.manifest.v1+json: 404 MANIFEST_UNKNOWN
Accept application/vnd.oci.image.index.v1+json: 200 the index
T
