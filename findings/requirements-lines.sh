#!/usr/bin/env bash
# A requirements.txt with hashes is refused whole by one library; others lose an address, a line, or all lines from one on.
#
# Versions: pip 25.3, requirements-parser 0.13.1 and pip-requirements-parser 32.0.1 (Python), pip-requirements-js 1.0.3 (Node).
#
# Guess: libraries that say that they read pip's files read what `pip-compile --generate-hashes` writes, and each other line that pip's
# documentation has: a backslash goes on with the next line, `${NAME}` is a variable, options stand on lines of their own or after a name.
#
# Behaviour:
#   - pip-requirements-js fails on a hash, a line that goes on, a variable, an option of the kinds here, and an address without a name; one
#     such line is the end of the whole file. Its "loose" function passes over options for all, fails on the others like that, and finds
#     nothing where a name has an address.
#   - requirements-parser reads a name without the address that stands after `@`: what is to come from there is a plain name. It does
#     not read hashes (its `hash_name` stays None); a line that goes on within a marker, or has a variable, ends the list with an exception.
#   - pip-requirements-parser puts lines with a variable or with --config-settings among the invalid ones.
#
# Why it matters: such a file is the lock of many images. An SBOM or an updater that is made of it names a package of the public index
# for what comes from a private address, or has nothing at all just where everything is pinned.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null
v/bin/pip -q install --disable-pip-version-check pip==25.3 requirements-parser==0.13.1 pip-requirements-parser==32.0.1 >/dev/null 2>&1
npm --silent --no-audit --no-fund install pip-requirements-js@1.0.3 >/dev/null
cat >of.js <<'J'
const { parsePipRequirementsFile, parsePipRequirementsFileLoosely } = require("pip-requirements-js");
const text = require("fs").readFileSync("requirements.txt", "utf8");
console.log([parsePipRequirementsFile, parsePipRequirementsFileLoosely].map((read) => {
  try {
    return read(text).map((one) => `${one.name} ${one.url ?? one.versionSpec.map((v) => v.operator + v.version)}`).join(", ");
  } catch (error) { return "refused"; }
}).join("; loosely: "));
J
cat >see.py <<'P'
import os, subprocess
import requirements
from pip._internal.network.session import PipSession
from pip._internal.req.constructors import install_req_from_parsed_requirement
from pip._internal.req.req_file import parse_requirements
from pip_requirements_parser import RequirementsFile

os.environ["VERSION"] = "1.0"
with_hashes = lambda count: f", {count} hash{'es' if count > 1 else ''}" if count else ""
def with_pip():
    read = [install_req_from_parsed_requirement(line) for line in parse_requirements("requirements.txt", PipSession())]
    return ", ".join(f"{one.name} {one.link.url if one.link else one.specifier}{with_hashes(sum(map(len, one.hash_options.values())))}"
                     for one in read)
def with_requirements_parser():
    try:
        with open("requirements.txt") as file:
            more = lambda one: one.uri or "".join(a + b for a, b in one.specs) or "(nothing more)"
            return ", ".join(f"{one.name} {more(one)}{with_hashes(1 if one.hash_name else 0)}" for one in requirements.parse(file))
    except ValueError as error:
        return type(error).__name__
def with_pip_requirements_parser():
    read = RequirementsFile.from_file("requirements.txt")
    found = [f"{one.name} {one.link.url if one.link else one.specifier}{with_hashes(len(one.hash_options))}" for one in read.requirements]
    return ", ".join(found + ["(invalid)"] * len(read.invalid_lines))
for told, text in [
    ("hashes", "a==1.0 \\\n    --hash=sha256:" + 64 * "0" + " \\\n    --hash=sha256:" + 64 * "1" + "\n"),
    ("a marker on the next line", 'a==1.0; \\\n  python_version > "3"\n'),
    ("an option for all", "--index-url https://index.example/simple\na==1.0\n"),
    ("an option for one", "a==1.0 --config-settings=one=two\n"),
    ("a variable", "a==${VERSION}\n"),
    ("a name with an address", "a @ https://files.example/a-1.0.zip\n"),
    ("an address", "git+https://git.example/a.git#egg=a\n"),
]:
    with open("requirements.txt", "w") as out:
        out.write(text)
    print(f"{told}\n  pip: {with_pip()}")
    print(f"  requirements-parser: {with_requirements_parser()}\n  pip-requirements-parser: {with_pip_requirements_parser()}")
    print("  pip-requirements-js: " + subprocess.run(["node", "of.js"], capture_output=True, text=True).stdout.strip())
P
v/bin/python see.py >seen.txt
cat seen.txt
diff - seen.txt <<'T'
hashes
  pip: a ==1.0, 2 hashes
  requirements-parser: a ==1.0
  pip-requirements-parser: a ==1.0, 2 hashes
  pip-requirements-js: refused; loosely: refused
a marker on the next line
  pip: a ==1.0
  requirements-parser: InvalidRequirement
  pip-requirements-parser: a ==1.0
  pip-requirements-js: refused; loosely: refused
an option for all
  pip: a ==1.0
  requirements-parser: a ==1.0
  pip-requirements-parser: a ==1.0
  pip-requirements-js: refused; loosely: a ==1.0
an option for one
  pip: a ==1.0
  requirements-parser: InvalidRequirement
  pip-requirements-parser: (invalid)
  pip-requirements-js: refused; loosely: refused
a variable
  pip: a ==1.0
  requirements-parser: InvalidRequirement
  pip-requirements-parser: (invalid)
  pip-requirements-js: refused; loosely: refused
a name with an address
  pip: a https://files.example/a-1.0.zip
  requirements-parser: a (nothing more)
  pip-requirements-parser: a https://files.example/a-1.0.zip
  pip-requirements-js: a https://files.example/a-1.0.zip; loosely:
an address
  pip: a git+https://git.example/a.git#egg=a
  requirements-parser: a git+https://git.example/a.git
  pip-requirements-parser: a git+https://git.example/a.git#egg=a
  pip-requirements-js: refused; loosely: refused
T
