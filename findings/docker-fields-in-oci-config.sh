#!/usr/bin/env bash
# Docker's fields in an OCI config: umoci drops them with any change, `buildah from` carries ONBUILD out.
#
# Versions: umoci 0.4.7, buildah 1.28.2 (Debian 12); umoci 0.6.0 and buildah 1.43.2 (Debian testing) were seen to behave in
# the same way.
#
# Guess: the fields that the image specification reserves for Docker (Healthcheck, OnBuild, Shell and others) are left alone
# by tools for OCI images, as unknown ones are; OnBuild counts when a Dockerfile is built.
#
# Behaviour: `umoci config --config.workingdir /w` writes a config without Healthcheck, OnBuild, Shell, StopTimeout and
# without any field that it does not know; ArgsEscaped stays. `buildah from` (no Dockerfile anywhere) carries out the
# triggers of OnBuild at once, and `commit` makes an image with their effects, without the triggers and without the other
# fields.
#
# Why it matters: setting a label with umoci takes an image's health check away, and the shell that later RUNs would use. A
# script that does `buildah from` to look into an image, or to add a file, makes another image, and runs commands.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
[ "$(id -u)" = 0 ] || { echo "needs root, for buildah" >&2; exit 2; }
cd "$tmp"
apt-get -qq download umoci=0.4.7+ds-3+b7 buildah=1.28.2+ds1-3+deb12u1+b3 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
b() { local c=$1; shift; root/usr/bin/buildah --root "$tmp/storage" --runroot "$tmp/run" --storage-driver vfs "$c" --signature-policy policy.json "$@"; }
python3 - <<'P'
import hashlib, json, os
os.makedirs("layout/blobs/sha256")
def blob(document, media):
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    open("layout/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": "application/vnd.oci.image." + media, "digest": "sha256:" + digest, "size": len(data)}
config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "org.example.note": "n", "config": {
    "Cmd": ["a"], "Shell": ["/bin/bash", "-c"], "Healthcheck": {"Test": ["CMD", "b"]}, "StopTimeout": 5, "ArgsEscaped": True,
    "OnBuild": ["ENV STEP=done", "LABEL step=done"]}}
manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": blob(config, "config.v1+json"), "layers": []}
named = {**blob(manifest, "manifest.v1+json"), "annotations": {"org.opencontainers.image.ref.name": "before"}}
json.dump({"schemaVersion": 2, "manifests": [named]}, open("layout/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open("layout/oci-layout", "w"))
P
cat >fields.py <<'P'
import json, sys
read = lambda d: json.load(open("layout/blobs/sha256/" + d["digest"][7:]))
for named in json.load(open("layout/index.json"))["manifests"]:
    if named["annotations"]["org.opencontainers.image.ref.name"] == sys.argv[1]:
        config = read(read(named)["config"])
        print(f"{sys.argv[1]}: {', '.join(sorted(set(config) - {'architecture', 'os', 'rootfs', 'created', 'history'}))}")
        inner = config["config"]
        print(f"  config: {', '.join(sorted(inner))}")
        print(f"  STEP in Env: {'STEP=done' in inner.get('Env', [])}, label: {inner.get('Labels', {}).get('step')}")
P
{
  python3 fields.py before
  root/usr/bin/umoci config --image layout:before --tag umoci --config.workingdir /w
  python3 fields.py umoci
  container=$(b from oci:layout:before 2>from.log)
  grep STEP from.log
  b commit -q "$container" oci:layout:buildah >/dev/null 2>&1
  python3 fields.py buildah
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
before: config, org.example.note
  config: ArgsEscaped, Cmd, Healthcheck, OnBuild, Shell, StopTimeout
  STEP in Env: False, label: None
umoci: config
  config: ArgsEscaped, Cmd, WorkingDir
  STEP in Env: False, label: None
STEP 1: ENV STEP=done
STEP 2: LABEL step=done
buildah: config
  config: ArgsEscaped, Cmd, Env, Labels
  STEP in Env: True, label: done
T
