#!/usr/bin/env bash
# An update that was stopped for all machines is installed in images, because they have no machine-id.
#
# Version: apt 2.6 (Debian 12), as it is installed.
#
# Guess: apt_preferences(5) has a machine get a phased update if its number, between 0 and 100, is not above `Phased-Update-Percentage`. An update at
# 0, as a distribution sets it when one breaks machines, is for nobody, or nearly; what has no number is treated with care.
#
# Behaviour: without /etc/machine-id, and where that file is empty, as it is in images, there is no phasing: `apt-get upgrade`
# takes the update at 0. With "uninitialized" in the file, which systemd takes for no number yet, it is a machine's number like any other, the same in
# all images that have it, and the update is kept back. `apt-get install NAME` takes it everywhere. The candidate that
# `apt-cache policy` shows is the new version in all cases.
#
# Why it matters: an image that is upgraded each night is the first to get what machines get last, or not any more; whether it does turns on
# a file that a base image has or has not, and after that on what is named in the command.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
case $(dpkg-query -W -f '${Version}' apt) in 2.6.*) ;; *) echo "apt is not 2.6" >&2; exit 2 ;; esac
mkdir -p repo/p/DEBIAN root/var/lib/{dpkg,apt/lists/partial} root/var/cache/apt/archives/partial root/etc/apt/{apt.conf,preferences,sources.list,trusted.gpg}.d
package() { printf '%s\n' 'Package: app' "Version: $1" 'Architecture: all' 'Maintainer: A <a@example.com>' 'Description: an example' "${@:2}"; }
package 2 >repo/p/DEBIAN/control
dpkg-deb -b repo/p repo/app_2_all.deb >/dev/null
package 2 'Phased-Update-Percentage: 0' 'Filename: ./app_2_all.deb' "Size: $(stat -c %s repo/app_2_all.deb)" "SHA256: $(sha256sum repo/app_2_all.deb | cut -d' ' -f1)" >repo/Packages
package 1 'Status: install ok installed' >root/var/lib/dpkg/status
echo "deb [trusted=yes] file:$tmp/repo ./" >root/etc/apt/sources.list
options="-o Dir=$tmp/root -o Dir::State::status=$tmp/root/var/lib/dpkg/status -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root"
# A chroot is spared all phasing; this is not about that.
printf '#!/bin/sh\nexit 1\n' >no && chmod +x no
options+=" -o Dir::Bin::ischroot=$tmp/no"
# shellcheck disable=SC2086 # options
{
  apt-get -qq $options update 2>/dev/null
  for id in missing empty uninitialized 0123456789abcdef0123456789abcdef; do
    rm -f root/etc/machine-id
    case $id in missing) ;; empty) : >root/etc/machine-id ;; *) echo $id >root/etc/machine-id ;; esac
    for command in upgrade full-upgrade "install app"; do
      echo "$id, $command: $(apt-get -s $options $command 2>/dev/null | grep -oE '^Inst app|kept back' | sort -u)"
    done
    apt-cache $options policy app | grep -E 'Candidate'
  done
} | tee seen.txt
diff - seen.txt <<'T'
missing, upgrade: Inst app
missing, full-upgrade: Inst app
missing, install app: Inst app
  Candidate: 2
empty, upgrade: Inst app
empty, full-upgrade: Inst app
empty, install app: Inst app
  Candidate: 2
uninitialized, upgrade: kept back
uninitialized, full-upgrade: kept back
uninitialized, install app: Inst app
  Candidate: 2
0123456789abcdef0123456789abcdef, upgrade: kept back
0123456789abcdef0123456789abcdef, full-upgrade: kept back
0123456789abcdef0123456789abcdef, install app: Inst app
  Candidate: 2
T
