#!/usr/bin/env bash
# The base images that dockerfile-parse finds may be names of stages, or no image at all, and are written back so.
#
# Version: dockerfile-parse 2.0.1 (Python).
#
# Guess: `parent_images` are the images that a build pulls, variables put in; what is set is what stands there afterwards.
#
# Behaviour:
#   - a stage that begins with another one counts: `FROM base` gives a parent image "base", and `baseimage` is the name of a
#     stage;
#   - `${V:-12}` becomes the value of V and then the text `:-12}`: `debian::-12}`. The same in labels and ENV: `${A:+b}` is
#     `1:+b}`;
#   - `parent_images = parent_images`, which changes nothing, writes these texts into the file, in the place of the
#     variables.
#
# Why it matters: tools that pin bases by digest set `parent_images`. They ask a registry for `base`, or for a reference that
# is none, and a file that they only looked at has lost its ARG, or no longer parses.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check dockerfile-parse==2.0.1 >/dev/null 2>&1
v/bin/python - >seen.txt <<'P'
import io
from dockerfile_parse import DockerfileParser
for text in [
    "FROM debian:12 AS base\nFROM base\n",
    "ARG V\nFROM debian:${V:-12}\nENV A=1\nLABEL a=${A:+b}\n",
    "ARG V=13\nFROM debian:$V\n",
]:
    parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    print("==", text.rstrip().replace("\n", "; "))
    print("base image:", parser.baseimage, "| parent images:", *parser.parent_images, "| labels:", parser.labels)
    parser.parent_images = parser.parent_images
    print("written:", parser.content.rstrip().replace("\n", "; "))
P
cat seen.txt
diff - seen.txt <<'T'
== FROM debian:12 AS base; FROM base
base image: base | parent images: debian:12 base | labels: {}
written: FROM debian:12 AS base; FROM base
== ARG V; FROM debian:${V:-12}; ENV A=1; LABEL a=${A:+b}
base image: debian::-12} | parent images: debian::-12} | labels: {'a': '1:+b}'}
written: ARG V; FROM debian::-12}; ENV A=1; LABEL a=${A:+b}
== ARG V=13; FROM debian:$V
base image: debian:13 | parent images: debian:13 | labels: {}
written: ARG V=13; FROM debian:13
T
