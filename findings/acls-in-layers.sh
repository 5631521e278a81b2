#!/usr/bin/env bash
# Access control lists of a layer's files: there or not, by tar's option, by tool and by storage driver.
#
# Versions: GNU tar 1.34, umoci 0.4.7, buildah 1.28.2 (Debian 12) with its drivers vfs and overlay; umoci 0.6.0 and buildah
# 1.43.2 (Debian testing) were seen to behave in the same way.
#
# Guess: a file's ACL is an extended attribute like others, so it is kept where file capabilities are; and `tar --acls` is
# the option that stores it.
#
# Behaviour:
#   - a layer made with `tar --acls` has the ACL as text (SCHILY.acl.access), which neither umoci nor buildah reads: no ACL;
#   - made with `tar --xattrs` it has the attribute's bytes. umoci restores it, and buildah with overlay; with vfs the
#     container has none, though an attribute `user.note` beside it is there;
#   - what `buildah commit` writes has `user.note` and no ACL, with both drivers.
#
# Why it matters: tools give default ACLs to directories (logs, shared spools). A root file system from an archive, or one
# that went through a build, has them or lacks them for reasons that no message names; what needs an ACL has to set it when
# the container starts.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for the overlay mount" >&2; exit 2; }
tmp=$(mktemp -d)
cleanup() {
  for d in vfs overlay; do b "$d" umount -a >/dev/null 2>&1 || :; umount "$tmp/$d/overlay" 2>/dev/null || :; done
  rm -rf "$tmp"
}
trap cleanup EXIT
cd "$tmp"
apt-get -qq download buildah=1.28.2+ds1-3+deb12u1+b3 umoci=0.4.7+ds-3+b7 tar=1.34+dfsg-1.2+deb12u1 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
b() { local d=$1; shift; root/usr/bin/buildah --root "$tmp/$d" --runroot "$tmp/$d.run" --storage-driver "$d" "$@"; }
mkdir files && touch files/file
# An ACL that lets user 1234 read: version, then tag, permissions and id of each entry.
python3 - <<'P'
import os, struct
entries = [(1, 6, -1), (2, 4, 1234), (4, 4, -1), (16, 4, -1), (32, 4, -1)]
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
os.setxattr("files/file", "system.posix_acl_access", acl)
os.setxattr("files/file", "user.note", b"note")
P
root/bin/tar -C files --acls -cf text.tar file
root/bin/tar -C files --xattrs -cf bytes.tar file
python3 - <<'P'
import hashlib, json, os
os.makedirs("layout/blobs/sha256")
def blob(data, media):
    digest = hashlib.sha256(data).hexdigest()
    open("layout/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": "application/vnd.oci.image." + media, "digest": "sha256:" + digest, "size": len(data)}
named = []
for name in ["text", "bytes"]:
    layer = blob(open(name + ".tar", "rb").read(), "layer.v1.tar")
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": [layer]}
    named.append({**blob(json.dumps(manifest).encode(), "manifest.v1+json"), "annotations": {"org.opencontainers.image.ref.name": name}})
json.dump({"schemaVersion": 2, "manifests": named}, open("layout/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open("layout/oci-layout", "w"))
P
attributes() { python3 -c 'import os, sys; print(*sorted(os.listxattr(sys.argv[1])) or ["none"])' "$1"; }
{
  for name in text bytes; do
    root/usr/bin/umoci unpack --image layout:$name bundle-$name >/dev/null 2>&1
    echo "$name, umoci: $(attributes bundle-$name/rootfs/file)"
    for driver in vfs overlay; do
      container=$(b $driver from --signature-policy policy.json oci:layout:$name 2>/dev/null)
      echo "$name, $driver: $(attributes "$(b $driver mount "$container")/file")"
    done
  done
  for driver in vfs overlay; do
    container=$(b $driver from --signature-policy policy.json scratch)
    mounted=$(b $driver mount "$container")
    cp --preserve=all files/file "$mounted/file"
    echo "set in a container, $driver: $(attributes "$mounted/file")"
    b $driver commit -q --signature-policy policy.json "$container" oci:$driver.out:t >/dev/null 2>&1
    python3 - $driver <<'P'
import json, sys, tarfile
blob = lambda d: f"{sys.argv[1]}.out/blobs/sha256/{d['digest'][7:]}"
manifest = json.load(open(blob(json.load(open(f"{sys.argv[1]}.out/index.json"))["manifests"][0])))
for entry in tarfile.open(blob(manifest["layers"][0])):
    print(f"committed, {sys.argv[1]}:", *sorted(name.replace("SCHILY.xattr.", "") for name in entry.pax_headers if "xattr" in name or "acl" in name))
P
  done
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
text, umoci: none
text, vfs: none
text, overlay: none
bytes, umoci: system.posix_acl_access user.note
bytes, vfs: user.note
bytes, overlay: system.posix_acl_access user.note
set in a container, vfs: system.posix_acl_access user.note
committed, vfs: user.note
set in a container, overlay: system.posix_acl_access user.note
committed, overlay: user.note
T
