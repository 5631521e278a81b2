#!/usr/bin/env bash
# Garbage collection of docker-registry deletes the layers that a tagged image names by sha512.
#
# Version: docker-registry 2.8.2 (Debian 12, 2.8.2+ds1-1); 2.8.3 (Debian testing) was seen to behave in the same way.
#
# Guess: a registry that takes a blob with a digest of sha512 (registered in the image specification beside sha256) and a manifest
# that names it keeps them like others; and a manifest can be put by its sha512 as well.
#
# Behaviour: the blob is taken (201) and given by its sha512, though each answer's `Docker-Content-Digest` and `Location` have
# its sha256. A manifest with that layer is taken as well. `garbage-collect`, without an option, says that it marks the
# sha512, and deletes the blob, which it counts by its sha256: the tag is still there, and its layer answers 404. What is put
# by its own sha512 as a manifest is refused, because the digest does not match.
#
# Why it matters: all works until the nightly garbage collection. A client that compares `Docker-Content-Digest` with what
# it sent takes a right upload for a wrong one.
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
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()
        except urllib.error.URLError:
            time.sleep(0.1)
    raise SystemExit("the registry does not answer")
def digest(data, algorithm):
    return algorithm + ":" + hashlib.new(algorithm, data).hexdigest()
def blob(data, algorithm):
    where = ask("POST", base + "/blobs/uploads/", b"")[1]["Location"]
    name = digest(data, algorithm)
    status, headers, _ = ask("PUT", where + ("&" if "?" in where else "?") + "digest=" + name, data, {"Content-Type": "application/octet-stream"})
    print(f"a blob put by {algorithm}: {status}, named by {headers['Docker-Content-Digest'].split(':')[0]}")
    return {"digest": name, "size": len(data)}
media = oci + "manifest.v1+json"
config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
layers = {algorithm: f"a layer by {algorithm}".encode() for algorithm in ["sha256", "sha512"]}
if sys.argv[2] == "push":
    document = {"schemaVersion": 2, "mediaType": media, "config": {"mediaType": oci + "config.v1+json", **blob(config, "sha256")},
                "layers": [{"mediaType": oci + "layer.v1.tar", **blob(data, algorithm)} for algorithm, data in layers.items()]}
    manifest = json.dumps(document).encode()
    for name in ["tag", digest(manifest, "sha256"), digest(manifest, "sha512")]:
        status, _, answer = ask("PUT", f"{base}/manifests/{name}", manifest, {"Content-Type": media})
        print(f"the manifest put by {name.split(':')[0]}: {status}", "" if status == 201 else json.loads(answer)["errors"][0]["message"])
print(f"{sys.argv[2]}: the tag: {ask('GET', base + '/manifests/tag', None, {'Accept': media})[0]}")
for algorithm, data in layers.items():
    print(f"{sys.argv[2]}: its layer by {algorithm}: {ask('GET', base + '/blobs/' + digest(data, algorithm))[0]}")
P
{
  serve; python3 client.py "$port" push; stop
  root/usr/bin/docker-registry garbage-collect config.yml >gc.log 2>&1
  serve; python3 client.py "$port" garbage-collect; stop
} | sed 's/ *$//' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
a blob put by sha256: 201, named by sha256
a blob put by sha256: 201, named by sha256
a blob put by sha512: 201, named by sha256
the manifest put by tag: 201
the manifest put by sha256: 201
the manifest put by sha512: 400 provided digest did not match uploaded content
push: the tag: 200
push: its layer by sha256: 200
push: its layer by sha512: 200
garbage-collect: the tag: 200
garbage-collect: its layer by sha256: 200
garbage-collect: its layer by sha512: 404
T
