#!/usr/bin/env bash
# A squashed image of container-inspector lacks each further name of a file and all links, and files are where the image has none.
#
# Version: container-inspector 33.1.0 (Python).
#
# Guess: `container_inspector_squash` makes the files that a container of the image has: whiteouts and opaque folders hold, what a layer has
# instead of a file or folder is there instead of it, and a name by hard link is there, as are files by a folder that is a link.
#
# Behaviour: whiteouts hold. A hard link is not there, and no symbolic link. What a layer adds below a folder that is a link below (`lib` of
# `usr/lib`) is in another folder. A file in place of a folder is put into the old folder, whose files stay; a folder in place of a file is an error,
# and what the layer has after it may be there or not. Modes are gone, so that nothing can be run.
#
# Why it matters: scans for packages and licences look at what is squashed. A database of packages that is a link, or a program by its second
# name, is not in an SBOM, and what the image has no more is.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check container-inspector==33.1.0 >/dev/null 2>&1
cat >make.py <<'P'
import hashlib, io, json, os, sys, tarfile
folder = {"type": tarfile.DIRTYPE, "mode": 0o755}
link = lambda to: {"type": tarfile.SYMTYPE, "linkname": to}
def layer(*entries):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as out:
        for name, fields in entries:
            info = tarfile.TarInfo(name)
            for key, value in fields.items():
                setattr(info, key, value)
            out.addfile(info)
    return data.getvalue()
def image(name, *layers):
    named = lambda data: hashlib.sha256(data).hexdigest()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "history": [{"created_by": "x"}] * len(layers),
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + named(data) for data in layers]}}).encode()
    manifest = [{"Config": named(config) + ".json", "RepoTags": ["app:1"], "Layers": [named(data) + "/layer.tar" for data in layers]}]
    with tarfile.open(name, "w") as out:
        for file, data in [*((named(data) + "/layer.tar", data) for data in layers), (named(config) + ".json", config), ("manifest.json", json.dumps(manifest).encode())]:
            info = tarfile.TarInfo(file)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
image("whiteouts.tar", layer(("a/", folder), ("a/gone", {}), ("b/", folder), ("b/below", {})), layer(("a/.wh.gone", {}), ("b/", folder), ("b/.wh..wh..opq", {}), ("b/new", {})))
image("names.tar", layer(("one", {"mode": 0o755}), ("two", {"type": tarfile.LNKTYPE, "linkname": "one"}), ("three", link("one"))))
image("linked.tar", layer(("usr/", folder), ("usr/lib/", folder), ("usr/lib/base", {}), ("lib", link("usr/lib"))), layer(("lib/app", {})))
image("file.tar", layer(("a/", folder), ("a/old", {})), layer(("a", {})))
image("folder.tar", layer(("a", {})), layer(("a/", folder), ("a/new", {})))
P
python3 make.py
{
  for image in whiteouts names linked file folder; do
    mkdir "out.$image"
    v/bin/container_inspector_squash $image.tar "out.$image" >log 2>&1 && status=0 || status=$?
    echo "$image, status $status: $(grep -oE '^[a-zA-Z.]*Error' log || :) $(cd "out.$image" && find . -mindepth 1 -printf '%P %y %m\n' | sort | awk '{ printf "%s (%s %s) ", $1, $2, $3 }')"
  done
} | sed 's/ *$//' | tee seen.txt
diff - seen.txt <<'T'
whiteouts, status 0:  a (d 755) b (d 755) b/new (f 644)
names, status 0:  one (f 644)
linked, status 0:  lib (d 755) lib/app (f 644) usr (d 755) usr/lib (d 755) usr/lib/base (f 644)
file, status 0:  a (d 755) a/a (f 644) a/old (f 644)
folder, status 1: shutil.Error a (f 644)
T
