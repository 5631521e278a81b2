#!/usr/bin/env bash
# Five patterns of .gitignore that take other files for libraries than for git, and one that takes fewer for git than it seems.
#
# Versions: ignore 0.4.35 (Rust; ripgrep's), pathspec 1.1.1 and gitignore-parser 0.1.13 (Python), ignore 7.0.17 (Node), beside git 2.47.3.
#
# Guess: what a library says of a .gitignore, with its case-sensitive option where it has one, `git check-ignore` says as well;
# braces are letters, `[[:digit:]]` is a digit, `?` is one character, and what ends in `/` is a folder.
#
# Behaviour:
#   - `{a,b}.txt` is one odd name for git. For the Rust crate it is a.txt and b.txt, and not the name.
#   - `x[[:digit:]]` is x1 for git, the Rust crate and Node's library. Both Python libraries look for x, one of `[:digt`, and `]`.
#   - `?` is one byte for git and the Rust crate: `a?c` does not take `aéc`. For the others it is one character.
#   - `abc/**/` takes folders in abc for git, and no file directly in it; both Python libraries take that as well.
#   - `a\*` is the name `a*` for all but gitignore-parser, for which it is nothing.
#
# Why it matters: tools that pack, upload or hash a source tree ask such a library what git would leave out. A file that is
# meant to stay behind goes along, or one that the build needs is missing, and only for names that no test has.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check pathspec==1.1.1 gitignore-parser==0.1.13 >/dev/null 2>&1
npm --silent --no-audit --no-fund install ignore@7.0.17 >/dev/null
cat >cases.txt <<'T'
{a,b}.txt	a.txt
{a,b}.txt	{a,b}.txt
x[[:digit:]]	x1
x[[:digit:]]	x:]
a?c	abc
a?c	aéc
abc/**/	abc/file
abc/**/	abc/folder/file
a\*	a*
T
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "ignored"
version = "0.1.0"
edition = "2021"
[dependencies]
ignore = "=0.4.35"
T
cat >rust/src/main.rs <<'R'
fn main() {
    for line in std::fs::read_to_string("cases.txt").unwrap().lines() {
        let (pattern, name) = line.split_once('\t').unwrap();
        let mut builder = ignore::gitignore::GitignoreBuilder::new("/root");
        builder.add_line(None, pattern).unwrap();
        println!("{}", builder.build().unwrap().matched_path_or_any_parents(name, false).is_ignore());
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of.py <<'P'
import os, sys, tempfile, warnings
warnings.simplefilter("ignore")
import gitignore_parser, pathspec
for pattern, name in (line.rstrip("\n").split("\t") for line in open("cases.txt", encoding="utf-8")):
    if sys.argv[1] == "pathspec":
        taken = pathspec.GitIgnoreSpec.from_lines([pattern]).match_file(name)
    else:
        with tempfile.TemporaryDirectory() as root:
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
            rules = os.path.join(root, ".gitignore")
            open(rules, "w", encoding="utf-8").write(pattern + "\n")
            taken = gitignore_parser.parse_gitignore(rules, base_dir=root)(path)
    print(str(bool(taken)).lower())
P
cat >of.js <<'J'
for (const line of require("fs").readFileSync("cases.txt", "utf8").trimEnd().split("\n")) {
  const [pattern, name] = line.split("\t");
  console.log(require("ignore")({ ignorecase: false }).add(pattern).ignores(name));
}
J
of_git() {
  local pattern name
  while IFS=$'\t' read -r pattern name; do
    rm -rf repository && git init -q repository
    printf '%s\n' "$pattern" >repository/.gitignore
    case $name in */*) mkdir -p "repository/${name%/*}" ;; esac
    : >"repository/$name"
    if git -C repository -c core.excludesFile=/dev/null check-ignore -q -- "$name"; then echo true; else echo false; fi
  done <cases.txt
}
{
  printf 'pattern\tname\tgit\tignore (Rust)\tignore (Node)\tpathspec\tgitignore-parser\n'
  paste cases.txt <(of_git) <(target/debug/ignored) <(node of.js) <(v/bin/python of.py pathspec) <(v/bin/python of.py gitignore-parser)
} >seen.txt
cat seen.txt
diff - seen.txt <<'T'
pattern	name	git	ignore (Rust)	ignore (Node)	pathspec	gitignore-parser
{a,b}.txt	a.txt	false	true	false	false	false
{a,b}.txt	{a,b}.txt	true	false	true	true	true
x[[:digit:]]	x1	true	true	true	false	false
x[[:digit:]]	x:]	false	false	false	true	true
a?c	abc	true	true	true	true	true
a?c	aéc	false	false	true	true	true
abc/**/	abc/file	false	false	false	true	true
abc/**/	abc/folder/file	true	true	true	true	true
a\*	a*	true	true	true	true	false
T
