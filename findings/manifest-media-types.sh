#!/usr/bin/env bash
# skopeo believes a server's header that says nothing rather than the manifest that says what it is; python-dxf does not read what has no
# `mediaType`.
#
# Versions: skopeo 1.9.3 (Debian 12; 1.22.0 of Debian testing was seen to behave in the same way), oras 0.2.43 and python-dxf 12.1.1 (Python).
#
# Guess: where `Content-Type` has no type of a manifest, the manifest's own `mediaType` counts; and as the image specification
# only recommends that field, one without it is read as the header says.
#
# Behaviour:
#   - With `application/json`, `application/octet-stream` or no header at all, skopeo says "unsupported schema version 2" of an
#     OCI manifest that has its `mediaType`. A type with a parameter, or in capitals, it understands.
#   - python-dxf stops with KeyError at a manifest without the field, whatever the header is.
#   - oras looks at neither.
#
# Why it matters: a registry of plain files (for a mirror or behind a CDN) sends the types that its server guesses, and works with some
# clients. umoci writes manifests without the field, so python-dxf reads none of its images.
set -euo pipefail
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download skopeo=1.9.3+ds1-1+b10 libgpgme11 libassuan0 libdevmapper1.02.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check oras==0.2.43 python-dxf==12.1.1 >/dev/null 2>&1
cat >server.py <<'P'
import hashlib, http.server, io, json, os, tarfile
oci = "application/vnd.oci.image."
file = io.BytesIO()
with tarfile.open(fileobj=file, mode="w") as archive:
    archive.addfile(tarfile.TarInfo("file"))
digest = lambda data: "sha256:" + hashlib.sha256(data).hexdigest()
of = lambda data, media: {"mediaType": media, "digest": digest(data), "size": len(data)}
layer = file.getvalue()
config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
manifest = {"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": of(config, oci + "config.v1+json"),
            "layers": [{**of(layer, oci + "layer.v1.tar"), "annotations": {"org.opencontainers.image.title": "file.tar"}}]}
full = json.dumps(manifest).encode()
del manifest["mediaType"]
bare = json.dumps(manifest).encode()
kinds = {"usual": (full, oci + "manifest.v1+json"), "without-field": (bare, oci + "manifest.v1+json"),
         "parameter": (full, oci + "manifest.v1+json; charset=utf-8"), "capitals": (full, "Application/VND.OCI.Image.Manifest.v1+JSON"),
         "json": (full, "application/json"), "octets": (full, "application/octet-stream"), "no-header": (full, None)}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        part = self.path.split("?")[0].split("/")
        if len(part) < 5:
            return self.give(b"{}", "application/json")
        if part[3] == "manifests":
            return self.give(*kinds[part[2]])
        found = [data for data in (config, layer) if digest(data) == part[4]]
        self.give(found[0], "application/octet-stream") if found else self.send_error(404)
    do_HEAD = do_GET
    def give(self, data, media):
        self.send_response_only(200)
        if media:
            self.send_header("Content-Type", media)
        if data in (full, bare):
            self.send_header("Docker-Content-Digest", digest(data))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
open("port.new", "w").write(str(server.server_port))
os.rename("port.new", "port")
server.serve_forever()
P
python3 server.py 2>/dev/null & server=$!
for _ in $(seq 100); do [ -e port ] || sleep 0.1; done
at=127.0.0.1:$(cat port)
cat >of.py <<'P'
import logging, sys
import oras.client
from dxf import DXF
logging.disable()
at, kind = sys.argv[1:]
def said(ask):
    try:
        return "read" if ask() else "nothing"
    except Exception as error:
        return f"{type(error).__name__} {error}"
print("oras:", said(lambda: oras.client.OrasClient(hostname=at, insecure=True).pull(target=f"{at}/{kind}:tag", outdir="out")), end="; ")
print("python-dxf:", said(lambda: DXF(at, kind, insecure=True).get_alias("tag")))
P
for kind in usual without-field parameter capitals json octets no-header; do
  if LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple root/usr/bin/skopeo --insecure-policy copy -q --src-tls-verify=false \
    docker://"$at/$kind":tag dir:copy >log 2>&1; then said=read; else said=$(sed 's/.*: //; s/"$//' log | tail -1); fi
  echo "$kind: skopeo: $said; $(v/bin/python of.py "$at" $kind | tail -1)"
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
usual: skopeo: read; oras: read; python-dxf: read
without-field: skopeo: read; oras: read; python-dxf: KeyError 'mediaType'
parameter: skopeo: read; oras: read; python-dxf: read
capitals: skopeo: read; oras: read; python-dxf: read
json: skopeo: unsupported schema version 2; oras: read; python-dxf: read
octets: skopeo: unsupported schema version 2; oras: read; python-dxf: read
no-header: skopeo: unsupported schema version 2; oras: read; python-dxf: read
T
