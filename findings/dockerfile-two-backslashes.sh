#!/usr/bin/env bash
# A line of a Dockerfile that ends in two backslashes goes on for buildah and most libraries, and ends for Docker's parser.
#
# Versions: buildah 1.28.2 (Debian 12; 1.43.2 of Debian testing was seen to behave in the same way); dockerfile 3.4.0
# (Python, with Docker's own parser), dockerfile-parse 2.0.1 (Python), docker-file-parser 1.0.7 and dockerfile-ast 0.7.1
# (Node), parse-dockerfile 0.1.9 and dockerfile-parser-rs 3.4.0 (Rust).
#
# Guess: a backslash at the end of a line continues it, so two do as well; or two are one backslash as in a shell. Either way
# everybody agrees, since it is the first thing that a reader of Dockerfiles does.
#
# Behaviour: for Docker's parser a backslash before the last one takes its meaning away: the line ends. The five other
# libraries and buildah take the last one off and join the lines, so that the next instruction becomes a part of this one.
# buildah says nothing: the value of the label `one` has the next instruction's name at its end.
#
# Why it matters: Windows paths and `sed`, `awk` and `grep` patterns end so (`COPY app C:\\`). One file builds to two images,
# and what checks the file sees fewer instructions than what builds it.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for buildah" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download buildah=1.28.2+ds1-3+deb12u1+b3 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check dockerfile-parse==2.0.1 dockerfile==3.4.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install docker-file-parser@1.0.7 dockerfile-ast@0.7.1 >/dev/null
mkdir -p rust/src context
cat >rust/Cargo.toml <<'C'
[package]
name = "read"
version = "0.1.0"
edition = "2021"
[dependencies]
dockerfile-parser-rs = "=3.4.0"
parse-dockerfile = "=0.1.9"
C
cat >rust/src/main.rs <<'R'
fn main() {
    let text = std::fs::read_to_string("context/Dockerfile").unwrap();
    println!("dockerfile-parser-rs: {}", text.parse::<dockerfile_parser_rs::Dockerfile>().unwrap().instructions.len());
    println!("parse-dockerfile: {}", parse_dockerfile::parse(&text).unwrap().instructions.len());
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >context/Dockerfile <<'D'
FROM scratch
LABEL one=C:\\
LABEL two=2
D
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >policy.json
b() { LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple root/usr/bin/buildah --root "$tmp/storage" --runroot "$tmp/run" --storage-driver vfs "$@"; }
{
  echo "instructions in three lines:"
  v/bin/python - <<'P'
import dockerfile, io
from dockerfile_parse import DockerfileParser
text = open("context/Dockerfile").read()
print("dockerfile:", len(dockerfile.parse_string(text)))
print("dockerfile-parse:", len(DockerfileParser(fileobj=io.BytesIO(text.encode())).structure))
P
  node -e '
    const text = require("fs").readFileSync("context/Dockerfile", "utf8");
    console.log("docker-file-parser:", require("docker-file-parser").parse(text).length);
    console.log("dockerfile-ast:", require("dockerfile-ast").DockerfileParser.parse(text).getInstructions().length);'
  target/debug/read
  b bud --signature-policy policy.json -q -t app context >/dev/null
  echo "buildah's labels: $(b inspect --type image app | python3 -c '
import json, sys
labels = json.load(sys.stdin)["OCIv1"]["config"]["Labels"]
print({name: labels.get(name) for name in ["one", "two"]})')"
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
instructions in three lines:
dockerfile: 3
dockerfile-parse: 2
docker-file-parser: 2
dockerfile-ast: 2
dockerfile-parser-rs: 2
parse-dockerfile: 2
buildah's labels: {'one': 'C:LABEL', 'two': '2'}
T
