#!/usr/bin/env bash
# Of eleven ordinary lines of an env file, one means the same to seven programs that read it.
#
# Versions: podman 4.3.1 and systemd 252 (Debian 12), python-dotenv 1.2.4 and honcho 2.0.0 (Python), dotenv 18.0.10 and foreman 3.0.1
# (Node), dotenvy 0.15.7 (Rust).
#
# Guess: podman takes a line as it is, quotes with it, and all others read what a shell would: single quotes keep everything,
# `\"` in double quotes is `"`, `#` begins a comment after a blank, and a value without quotes, blanks or `$` is itself.
#
# Behaviour: not so, and for the plainest lines least:
#   - `pa#ss` is `pa` for dotenv, foreman and honcho.
#   - `it's` is an error for dotenvy, and makes one of the whole file for honcho. Both take the quotes out of JSON.
#   - `\` without quotes is gone for honcho and systemd, and an error for dotenvy; within double quotes, `C:\new` has a line feed for
#     four of seven.
#   - systemd's environment.d expands variables within single quotes too, and does not know comments after values.
#   - `\"` stays two characters for dotenv; foreman's value ends there.
#   - `export A` is the variable's name for podman and foreman. honcho and systemd pass over the line.
#   - An empty value is no variable for honcho, foreman and systemd.
#
# Why it matters: one file is read by the application's library, by what starts it on a laptop (foreman, honcho), and by the container's
# or the unit's runner. Passwords and JSON are what is in it, and most of the readers say nothing of what they leave out.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root, for podman" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download podman=4.3.1+ds1-8+deb12u1+b3 conmon crun systemd=252.39-1~deb12u2 libsystemd-shared=252.39-1~deb12u2 \
  libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libseccomp2 libyajl2 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check python-dotenv==1.2.4 honcho==2.0.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install dotenv@18.0.10 foreman@3.0.1 >/dev/null
mkdir -p rust/src empty home/environment.d
cat >rust/Cargo.toml <<'T'
[package]
name = "read"
version = "0.1.0"
edition = "2021"
[dependencies]
dotenvy = "=0.15.7"
serde_json = "=1.0.154"
T
cat >rust/src/main.rs <<'R'
fn main() {
    match dotenvy::from_path_iter("one.env").unwrap().collect::<Result<std::collections::BTreeMap<_, _>, _>>() {
        Ok(read) => println!("{}", serde_json::json!(read)),
        Err(_) => println!("error"),
    }
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
with_libraries() { env -i HOME="$tmp" PATH=/usr/bin:/bin LD_LIBRARY_PATH="$tmp/root/usr/lib/$triple:$tmp/root/lib/$triple:$tmp/root/lib/systemd:$tmp/root/usr/lib/$triple/systemd" "$@"; }
p() {
  with_libraries CONTAINERS_CONF=/dev/null "$tmp/root/usr/bin/podman" --root "$tmp/storage" --runroot "$tmp/run" --tmpdir "$tmp/libpod" \
    --storage-driver vfs --cgroup-manager cgroupfs --events-backend file --conmon "$tmp/root/usr/bin/conmon" --runtime "$tmp/root/usr/bin/crun" "$@"
}
tar -C empty -c . | p import -q - empty >/dev/null
cat >variables.py <<'P'
import json, sys
wanted = ("A=", "export A=")
print(json.dumps(dict(pair.split("=", 1) for pair in json.load(sys.stdin) if pair.startswith(wanted)), separators=(",", ":")))
P
cat >read.py <<'P'
import json, sys
try:
    if sys.argv[1] == "honcho":
        from honcho.environ import parse
        read = parse(open("one.env").read())
    else:
        from dotenv import dotenv_values
        read = dotenv_values("one.env")
    print(json.dumps(read, separators=(",", ":")))
except ValueError:
    print("error")
P
cat >read.js <<'J'
const say = read => console.log(JSON.stringify(Object.fromEntries(Object.entries(read).filter(([name]) => name !== "PATH"))));
if (process.argv[2] === "dotenv") {
  say(require("dotenv").parse(require("fs").readFileSync("one.env")));
} else {
  require("foreman/lib/console").Console.Alert = () => {};
  say(require("foreman/lib/envs").loadEnvs("one.env"));
}
J
of_systemd() {
  cp one.env home/environment.d/one.conf
  # What it writes is for systemd's manager: `A=value` or `A="value"`, with backslashes.
  with_libraries XDG_CONFIG_HOME="$tmp/home" SITE=example "$tmp/root/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator" 2>/dev/null |
    python3 -c '
import json, re, sys
read = {}
for line in sys.stdin.read().splitlines():
    name, value = line.split("=", 1)
    if name == "A":
        read[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith("\"") else value
print(json.dumps(read, separators=(",", ":")))'
}
cat >lines.txt <<'T'
A=a=b
A=pa#ss
A=it's
A={"a":"b"}
A=back\slash
A='pa$SITE'
A="say \"x\""
A="C:\new"
A="x" # comment
export A=1
A=
T
while IFS= read -r line; do
  printf '%s\n' "$line" | tee one.env
  container=$(p create --env-file one.env localhost/empty /none)
  echo "  podman: $(p inspect "$container" --format '{{json .Config.Env}}' | python3 variables.py)"
  echo "  systemd: $(of_systemd)"
  echo "  python-dotenv: $(v/bin/python read.py python-dotenv)"
  echo "  honcho: $(v/bin/python read.py honcho)"
  echo "  dotenv: $(node read.js dotenv)"
  echo "  foreman: $(node read.js foreman | tail -1)"
  echo "  dotenvy: $(SITE=example target/debug/read)"
done <lines.txt >seen.txt
cat seen.txt
diff - seen.txt <<'T'
A=a=b
  podman: {"A":"a=b"}
  systemd: {"A":"a=b"}
  python-dotenv: {"A":"a=b"}
  honcho: {"A":"a=b"}
  dotenv: {"A":"a=b"}
  foreman: {"A":"a=b"}
  dotenvy: {"A":"a=b"}
A=pa#ss
  podman: {"A":"pa#ss"}
  systemd: {"A":"pa#ss"}
  python-dotenv: {"A":"pa#ss"}
  honcho: {"A":"pa"}
  dotenv: {"A":"pa"}
  foreman: {"A":"pa"}
  dotenvy: {"A":"pa#ss"}
A=it's
  podman: {"A":"it's"}
  systemd: {"A":"it's"}
  python-dotenv: {"A":"it's"}
  honcho: error
  dotenv: {"A":"it's"}
  foreman: {"A":"it's"}
  dotenvy: error
A={"a":"b"}
  podman: {"A":"{\"a\":\"b\"}"}
  systemd: {"A":"{\"a\":\"b\"}"}
  python-dotenv: {"A":"{\"a\":\"b\"}"}
  honcho: {"A":"{a:b}"}
  dotenv: {"A":"{\"a\":\"b\"}"}
  foreman: {"A":"{\"a\":\"b\"}"}
  dotenvy: {"A":"{a:b}"}
A=back\slash
  podman: {"A":"back\\slash"}
  systemd: {"A":"backslash"}
  python-dotenv: {"A":"back\\slash"}
  honcho: {"A":"backslash"}
  dotenv: {"A":"back\\slash"}
  foreman: {"A":"back\\slash"}
  dotenvy: error
A='pa$SITE'
  podman: {"A":"'pa$SITE'"}
  systemd: {"A":"paexample"}
  python-dotenv: {"A":"pa$SITE"}
  honcho: {"A":"pa$SITE"}
  dotenv: {"A":"pa$SITE"}
  foreman: {"A":"pa$SITE"}
  dotenvy: {"A":"pa$SITE"}
A="say \"x\""
  podman: {"A":"\"say \\\"x\\\"\""}
  systemd: {"A":"say \"x\""}
  python-dotenv: {"A":"say \"x\""}
  honcho: {"A":"say \"x\""}
  dotenv: {"A":"say \\\"x\\\""}
  foreman: {"A":"say \\"}
  dotenvy: {"A":"say \"x\""}
A="C:\new"
  podman: {"A":"\"C:\\new\""}
  systemd: {"A":"C:\\new"}
  python-dotenv: {"A":"C:\new"}
  honcho: {"A":"C:\new"}
  dotenv: {"A":"C:\new"}
  foreman: {"A":"C:\\new"}
  dotenvy: {"A":"C:\new"}
A="x" # comment
  podman: {"A":"\"x\" # comment"}
  systemd: {"A":"x# comment"}
  python-dotenv: {"A":"x"}
  honcho: {"A":"x"}
  dotenv: {"A":"x"}
  foreman: {"A":"x"}
  dotenvy: {"A":"x"}
export A=1
  podman: {"export A":"1"}
  systemd: {}
  python-dotenv: {"A":"1"}
  honcho: {}
  dotenv: {"A":"1"}
  foreman: {"export A":"1"}
  dotenvy: {"A":"1"}
A=
  podman: {"A":""}
  systemd: {}
  python-dotenv: {"A":""}
  honcho: {}
  dotenv: {"A":""}
  foreman: {}
  dotenvy: {"A":""}
T
