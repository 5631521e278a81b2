#!/usr/bin/env bash
# What is inside a heredoc is a stage, a user, or nothing, for libraries that read Dockerfiles.
#
# Versions: dockerfile-parse 2.0.1 and dockerfile 3.4.0 (Python), docker-file-parser 1.0.7 and dockerfile-ast 0.7.1 (Node),
# dockerfile-parser-rs 3.4.0 and parse-dockerfile 0.1.9 (Rust).
#
# Guess: heredocs are part of the syntax for years; a reader that does not know them fails on their lines.
#
# Behaviour: `RUN <<EOF` with three lines, of which one begins with FROM and one with USER, is one instruction.
#   - dockerfile-parse and docker-file-parser make an instruction of each line, also of EOF, and do not fail.
#     dockerfile-parse's `parent_images` has an image that nobody uses.
#   - dockerfile, which contains Docker's own parser, ends the instruction rightly, and has the text nowhere but in
#     `original`: `value` is `<<EOF` alone, so that a linter sees no command.
#   - dockerfile-parser-rs and parse-dockerfile read this one, and take the lines of `RUN cat <<A <<B` for instructions, on
#     which they fail.
#   - dockerfile-ast reads both.
#
# Why it matters: updaters of base images, checks of the last USER and linters of commands are built on these. A Dockerfile
# that writes another one, or SQL with FROM at the beginning of a line, gives them a second base.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check dockerfile-parse==2.0.1 dockerfile==3.4.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install docker-file-parser@1.0.7 dockerfile-ast@0.7.1 >/dev/null
mkdir -p rust/src
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
use std::{env, fs};
fn main() {
    let text = fs::read_to_string(env::args().nth(1).unwrap()).unwrap();
    match text.parse::<dockerfile_parser_rs::Dockerfile>() {
        Ok(file) => println!("dockerfile-parser-rs: {} instructions", file.instructions.len()),
        Err(error) => println!("dockerfile-parser-rs: {error}"),
    }
    match parse_dockerfile::parse(&text) {
        Ok(file) => println!("parse-dockerfile: {} instructions", file.instructions.len()),
        Err(error) => println!("parse-dockerfile: {error}"),
    };
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >one <<'D'
FROM example.org/db:1
RUN <<EOF
FROM users
USER root
echo done
EOF
USER app
D
cat >two <<'D'
FROM example.org/db:1
RUN cat <<A <<B
user
A
USER root
B
USER app
D
cat >read.py <<'P'
import dockerfile, io, sys
from dockerfile_parse import DockerfileParser
text = open(sys.argv[1]).read()
parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
print("dockerfile-parse:", " ".join(step["instruction"] for step in parser.structure), "| parent images:", " ".join(parser.parent_images))
print("dockerfile:", " | ".join(step.cmd + " " + " ".join(step.value) for step in dockerfile.parse_string(text)))
P
cat >read.js <<'J'
const text = require("fs").readFileSync(process.argv[2], "utf8");
console.log("docker-file-parser:", require("docker-file-parser").parse(text).map(step => step.name).join(" "));
console.log("dockerfile-ast:", require("dockerfile-ast").DockerfileParser.parse(text).getInstructions().map(step => step.getKeyword()).join(" "));
J
for file in one two; do
  echo "== $file"
  v/bin/python read.py $file
  node read.js $file
  target/debug/read $file
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
== one
dockerfile-parse: FROM RUN FROM USER ECHO EOF USER | parent images: example.org/db:1 users
dockerfile: FROM example.org/db:1 | RUN <<EOF | USER app
docker-file-parser: FROM RUN FROM USER ECHO EOF USER
dockerfile-ast: FROM RUN USER
dockerfile-parser-rs: 3 instructions
parse-dockerfile: 3 instructions
== two
dockerfile-parse: FROM RUN USER A USER B USER | parent images: example.org/db:1
dockerfile: FROM example.org/db:1 | RUN cat <<A <<B | USER app
docker-file-parser: FROM RUN USER A USER B USER
dockerfile-ast: FROM RUN USER
dockerfile-parser-rs: Syntax error: user
parse-dockerfile: user instruction requires exactly one argument at line 3 column 1
T
