#!/usr/bin/env bash
# A backslash in os-release stays, or goes, by library, and where there is a blank at the end of a line, a quote stays too.
#
# Versions: distro 1.9.0 and platform of Python 3.11, os-release 0.1.0, etc-os-release 0.1.1 and rs-release 0.1.12 (Rust), beside sh (dash).
#
# Guess: os-release(5) says that the file is shell-compatible: within double quotes, `$`, quotes, backslashes and backticks stand behind a
# backslash, which is not part of the value; within single quotes all stands for itself. What reads the file gives what a shell would.
#
# Behaviour:
#   - os-release and rs-release keep all backslashes; distro keeps those before `$` and backticks.
#   - With a blank after the closing quote, platform keeps both quotes, etc-os-release keeps the last one.
#   - os-release reads fields that it has no member for, as VARIANT, into `extra` with their quotes.
#
# Why it matters: the version and the name of an image's system are compared with lists of what is supported and of advisories, and written
# into SBOMs. Files that are made by a template (of an own base image) have blanks at the end and escaped quotes.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check distro==1.9.0 >/dev/null 2>&1
cat >os-release <<'T'
ID=example
NAME="The \"Example\""
VERSION='1.0 \ 2'
PRETTY_NAME="Example \$1 \`one\`"
VERSION_ID="1.0" 
VARIANT="Edition"
T
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "fields"
version = "0.1.0"
edition = "2021"
[dependencies]
os-release = "=0.1.0"
etc-os-release = "=0.1.1"
rs-release = "=0.1.12"
T
cat >rust/src/main.rs <<'R'
fn main() {
    let text = std::fs::read_to_string("os-release").unwrap();
    let a = os_release::OsRelease::new_from("os-release").unwrap();
    println!("os-release: {}\t{}\t{}\t{}\t{}", a.name, a.version, a.pretty_name, a.version_id, a.extra["VARIANT"]);
    let names = ["NAME", "VERSION", "PRETTY_NAME", "VERSION_ID", "VARIANT"];
    let b: etc_os_release::OsRelease = text.parse().unwrap();
    println!("etc-os-release: {}", names.map(|name| b.get_value(name).unwrap().to_owned()).join("\t"));
    let c = rs_release::parse_os_release_str(&text).unwrap();
    println!("rs-release: {}", names.map(|name| c[name].clone()).join("\t"));
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
cat >of.py <<'P'
import platform, distro
names = ["NAME", "VERSION", "PRETTY_NAME", "VERSION_ID", "VARIANT"]
read = distro.LinuxDistribution(os_release_file="os-release", include_lsb=False).os_release_info()
print("distro:", "\t".join(read[name.lower()] for name in names))
platform._os_release_candidates = ["os-release"]
read = platform.freedesktop_os_release()
print("platform:", "\t".join(read[name] for name in names))
P
{
  # shellcheck disable=SC1091 # the file that is made above
  echo "sh: $(. ./os-release && printf '%s\t%s\t%s\t%s\t%s' "$NAME" "$VERSION" "$PRETTY_NAME" "$VERSION_ID" "$VARIANT")"
  v/bin/python of.py
  target/debug/fields
} | sed 's/\t/ | /g' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
sh: The "Example" | 1.0 \ 2 | Example $1 `one` | 1.0 | Edition
distro: The "Example" | 1.0 \ 2 | Example \$1 \`one\` | 1.0 | Edition
platform: The "Example" | 1.0 \ 2 | Example $1 `one` | "1.0"  | Edition
os-release: The \"Example\" | 1.0 \ 2 | Example \$1 \`one\` | 1.0 | "Edition"
etc-os-release: The "Example" | 1.0 \ 2 | Example $1 `one` | 1.0"  | Edition
rs-release: The \"Example\" | 1.0 \ 2 | Example \$1 \`one\` | 1.0 | Edition
T
