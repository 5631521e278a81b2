#!/usr/bin/env bash
# One config.json has one login, another one or none for a registry, by who reads it.
#
# Versions: skopeo 1.9.3 (Debian 12), oras 0.2.43 and docker 7.2.0 (Python), docker_credential 1.4.0 (Rust).
#
# Guess: all read the file of `docker login` and `podman login` in the same way: keys may be addresses (`https://…/v1/`) or names, the
# login of a namespace is taken for what is in it, a helper of the registry goes before what the file has, and a store of credentials
# (`credsStore`) before it as well.
#
# Behaviour:
#   - With an address as the key, oras finds nothing.
#   - A login of the namespace `team` is taken by skopeo alone, for team/app; docker's library takes it for the whole registry, that of
#     `other` as well, where the registry itself has none.
#   - `username` and `password` without `auth` (as many write them by hand) are a login for docker_credential alone.
#   - Beside a helper for the registry, oras goes on with what the file has; beside a store, skopeo, oras and docker_credential do. skopeo
#     never asks the store.
#   - A helper that answers with the user `<token>` has given a token; oras sends it as the password of a user of that name.
#
# Why it matters: after `docker login` with a store, what an earlier login left in `auths` is old: the client says that the password
# is wrong. One pipeline pushes with the team's login, the next tool in it pulls as somebody else or as nobody.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download skopeo=1.9.3+ds1-1+b10 libgpgme11 libassuan0 libdevmapper1.02.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check oras==0.2.43 docker==7.2.0 >/dev/null 2>&1
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "login"
version = "0.1.0"
edition = "2021"
[dependencies]
docker_credential = "=1.4.0"
T
cat >rust/src/main.rs <<'R'
use docker_credential::DockerCredential;

fn main() {
    match docker_credential::get_credential(&std::env::args().nth(1).unwrap()) {
        Ok(DockerCredential::UsernamePassword(user, _)) => println!("{user}"),
        Ok(DockerCredential::IdentityToken(_)) => println!("a token"),
        Err(_) => println!("-"),
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
mkdir bin
for helper in store:store tokens:'<token>'; do
  printf '%s\n' '#!/bin/sh' 'cat >/dev/null' "echo '{\"Username\": \"${helper#*:}\", \"Secret\": \"secret\"}'" \
    >"bin/docker-credential-${helper%%:*}"
done
chmod +x bin/*
cat >see.py <<'P'
import base64, http.server, json, os, subprocess, threading
import docker.auth, oras.auth, oras.container

asked = []
class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.headers.get("Authorization") or "")
        self.send_response(404 if asked[-1] else 401)
        if not asked[-1]:
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
threading.Thread(target=server.serve_forever, daemon=True).start()
registry = f"127.0.0.1:{server.server_port}"

of = lambda user: {"auth": base64.b64encode(f"{user}:secret".encode()).decode()}
user_of = lambda basic: base64.b64decode(basic).decode().split(":")[0] or "-"
def skopeo():
    asked.clear()
    subprocess.run(["root/usr/bin/skopeo", "--insecure-policy", "inspect", "--raw", "--tls-verify=false", "--authfile", "config.json",
                    f"docker://{registry}/team/app:1"], capture_output=True)
    return next((user_of(basic[6:]) for basic in asked if basic), "-")
def with_oras():
    backend = oras.auth.get_auth_backend("basic")
    backend.load_configs(oras.container.Container(registry + "/team/app:1"), ["config.json"])
    return user_of(backend._basic_auth) if getattr(backend, "_basic_auth", None) else "-"
def with_docker():
    found = docker.auth.load_config("config.json").resolve_authconfig(registry) or {}
    return "a token" if "IdentityToken" in found else found.get("username") or found.get("Username") or "-"
def with_rust():
    return subprocess.run(["target/debug/login", registry], capture_output=True, text=True).stdout.strip()

os.environ.update(PATH=os.getcwd() + "/bin:" + os.environ["PATH"], DOCKER_CONFIG=os.getcwd())
for told, config in [
    ("REGISTRY", {"auths": {registry: of("file")}}),
    ("https://REGISTRY/v1/", {"auths": {f"https://{registry}/v1/": of("file")}}),
    ("REGISTRY and REGISTRY/team", {"auths": {registry: of("file"), registry + "/team": of("team")}}),
    ("REGISTRY/team", {"auths": {registry + "/team": of("team")}}),
    ("REGISTRY/other", {"auths": {registry + "/other": of("other")}}),
    ("REGISTRY, username and password", {"auths": {registry: {"username": "file", "password": "secret"}}}),
    ("REGISTRY, and a helper for it", {"credHelpers": {registry: "store"}, "auths": {registry: of("file")}}),
    ("REGISTRY, and a store", {"credsStore": "store", "auths": {registry: of("file")}}),
    ("a store", {"credsStore": "store"}),
    ("a helper with tokens", {"credHelpers": {registry: "tokens"}}),
]:
    with open("config.json", "w") as out:
        json.dump(config, out)
    print(f"{told}\n  skopeo: {skopeo()}; oras: {with_oras()}; docker: {with_docker()}; docker_credential: {with_rust()}")
P
v/bin/python see.py >seen.txt
cat seen.txt
diff - seen.txt <<'T'
REGISTRY
  skopeo: file; oras: file; docker: file; docker_credential: file
https://REGISTRY/v1/
  skopeo: file; oras: -; docker: file; docker_credential: file
REGISTRY and REGISTRY/team
  skopeo: team; oras: file; docker: file; docker_credential: file
REGISTRY/team
  skopeo: team; oras: -; docker: team; docker_credential: -
REGISTRY/other
  skopeo: -; oras: -; docker: other; docker_credential: -
REGISTRY, username and password
  skopeo: -; oras: -; docker: -; docker_credential: file
REGISTRY, and a helper for it
  skopeo: store; oras: file; docker: store; docker_credential: store
REGISTRY, and a store
  skopeo: file; oras: file; docker: store; docker_credential: file
a store
  skopeo: -; oras: store; docker: store; docker_credential: store
a helper with tokens
  skopeo: -; oras: <token>; docker: a token; docker_credential: a token
T
