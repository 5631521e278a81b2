#!/usr/bin/env bash
# A line with a blank before it takes one process out of a Procfile, or all of them, and nobody is told.
#
# Versions: foreman 0.87.2 (Ruby, Debian 12), honcho 2.0.0 (Python), foreman 3.0.1 (Node).
#
# Guess: a line that is no `name: command` is an error that names the line, or an empty one is passed over; two processes of one name
# are an error too.
#
# Behaviour: a process whose line is indented, has a dot in its name, a blank before the colon or a byte order mark before it is not there
# for Ruby's foreman and honcho, without a word. Node's foreman gives the whole file up for any such line, and for one of two
# blanks: with a package.json beside it, it has one process, `web: npm start`. Of two with one name, Node's keeps the last, Ruby's has
# both, and honcho stops.
#
# Why it matters: a worker that is not started fails no check. Where `npm start` is another program than the file's web, the wrong one
# runs, and has the right name.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download ruby-foreman=0.87.2-2 ruby3.1 libruby3.1 2>apt.log || { cat apt.log >&2; exit 2; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
triple=$(uname -m)-linux-gnu
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check honcho==2.0.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install foreman@3.0.1 >/dev/null
foreman=$(echo root/usr/share/rubygems-integration/all/gems/foreman-*/lib)
of_ruby() {
  LC_ALL=C.UTF-8 LD_LIBRARY_PATH=$tmp/root/usr/lib/$triple \
    RUBYLIB=$foreman:root/usr/lib/ruby/vendor_ruby:root/usr/lib/ruby/3.1.0:root/usr/lib/$triple/ruby/3.1.0 root/usr/bin/ruby3.1 -e '
require "foreman/procfile"
Foreman::Procfile.new("Procfile").entries { |name, command| print " #{name}: #{command};" }'
}
cat >of.py <<'P'
from honcho.environ import parse_procfile
try:
    for name, command in parse_procfile(open("Procfile", encoding="utf-8").read()).processes.items():
        print(f" {name}: {command};", end="")
except AssertionError as error:
    print(f" error: {error}", end="")
P
cat >of.js <<'J'
const { Console } = require("foreman/lib/console");
Console.Warn = Console.Alert = Console.Error = () => {};
for (const [name, command] of Object.entries(require("foreman/lib/procfile").loadProc("Procfile")))
  process.stdout.write(` ${name}: ${command};`);
J
for line in 'worker: ./work' ' worker: ./work' 'worker.1: ./work' 'worker : ./work' '\xef\xbb\xbfworker: ./work' '  ' 'web: ./other'; do
  # shellcheck disable=SC2059 # what it escapes
  printf "$line\nweb: ./serve\n" >Procfile
  sed 's/\xef\xbb\xbf/(BOM)/; s/^/|/; s/$/|/' Procfile | paste -sd' '
  echo "  foreman (Ruby):$(of_ruby)"
  echo "  honcho:$(v/bin/python of.py)"
  echo "  foreman (Node):$(node of.js)"
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
|worker: ./work| |web: ./serve|
  foreman (Ruby): worker: ./work; web: ./serve;
  honcho: worker: ./work; web: ./serve;
  foreman (Node): worker: ./work; web: ./serve;
| worker: ./work| |web: ./serve|
  foreman (Ruby): web: ./serve;
  honcho: web: ./serve;
  foreman (Node): web: npm start;
|worker.1: ./work| |web: ./serve|
  foreman (Ruby): web: ./serve;
  honcho: web: ./serve;
  foreman (Node): web: npm start;
|worker : ./work| |web: ./serve|
  foreman (Ruby): web: ./serve;
  honcho: web: ./serve;
  foreman (Node): web: npm start;
|(BOM)worker: ./work| |web: ./serve|
  foreman (Ruby): web: ./serve;
  honcho: web: ./serve;
  foreman (Node): web: npm start;
|  | |web: ./serve|
  foreman (Ruby): web: ./serve;
  honcho: web: ./serve;
  foreman (Node): web: npm start;
|web: ./other| |web: ./serve|
  foreman (Ruby): web: ./other; web: ./serve;
  honcho: error: process names must be unique within a Procfile
  foreman (Node): web: ./serve;
T
