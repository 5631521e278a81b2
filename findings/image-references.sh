#!/usr/bin/env bash
# One image reference names another registry, another repository or another tag, by library.
#
# Versions: oras 0.2.43, docker 7.2.0 and docker-image-py 0.2.0 (Python), docker-parse-image 3.0.1 (Node).
#
# Guess: what `docker pull` takes is split by one rule, and libraries that say that they parse such references follow it.
#
# Behaviour:
#   - `localhost/app` is the registry localhost for Docker; for oras and docker-parse-image it is the namespace `localhost`
#     of Docker Hub, and oras asks docker.io for it;
#   - `app` is docker.io's `library/app`; oras asks for `app`. docker-parse-image puts `library` in front of a single name at
#     any registry, so that `example.org/app` becomes `example.org/library/app`;
#   - of `app:1@sha256:…`, docker's parse_repository_tag makes the repository `app:1` with the tag `sha256:…`, and
#     docker-parse-image the tag `1@sha256:…`; it knows no digests. docker-image-py follows Docker's rule in all.
#
# Why it matters: an image that was pushed to a registry on one's own machine is looked for at a public one, and pinned
# references, which updaters write, are compared, mirrored and rewritten as tags, or under repositories that are not there.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check oras==0.2.43 docker==7.2.0 docker-image-py==0.2.0 >/dev/null 2>&1
npm --silent --no-audit --no-fund install docker-parse-image@3.0.1 >/dev/null
cat >read.py <<'P'
import sys
import oras.container
from docker.auth import resolve_repository_name
from docker.utils import parse_repository_tag
from docker_image.reference import Reference
short = lambda text: text and text[:10]
text = sys.argv[1]
reference = Reference.parse_normalized_named(text)
registry, repository = reference.split_hostname()
print(f"  docker-image-py: {registry} {repository} tag {reference.get('tag') or None} digest {short(reference.get('digest'))}")
container = oras.container.Container(text)
repository = "/".join(filter(None, [container.namespace, container.repository]))
print(f"  oras: {container.registry} {repository} tag {container.tag} digest {short(container.digest)}")
name, tag = parse_repository_tag(text)
registry, repository = resolve_repository_name(name)
print(f"  docker: {registry} {repository} tag {short(tag)}")
P
cat >read.js <<'J'
const parsed = require("docker-parse-image")(process.argv[2]);
console.log(`  docker-parse-image: ${parsed.fullname.replace(/(sha256:...).*/, "$1")} registry ${parsed.registry} tag ${String(parsed.tag).slice(0, 12)}`);
J
digest=sha256:$(printf 'a%.0s' {1..64})
for text in localhost/app example.org/app example.org/app@$digest app:1@$digest; do
  echo "${text/$digest/sha256:…}"
  v/bin/python -W ignore read.py "$text"
  node read.js "$text"
done >seen.txt
cat seen.txt
diff - seen.txt <<'T'
localhost/app
  docker-image-py: localhost app tag None digest None
  oras: docker.io localhost/app tag latest digest None
  docker: localhost app tag None
  docker-parse-image: localhost/app:latest registry null tag null
example.org/app
  docker-image-py: example.org app tag None digest None
  oras: example.org app tag latest digest None
  docker: example.org app tag None
  docker-parse-image: example.org/library/app:latest registry example.org tag null
example.org/app@sha256:…
  docker-image-py: example.org app tag None digest sha256:aaa
  oras: example.org app tag latest digest sha256:aaa
  docker: example.org app tag sha256:aaa
  docker-parse-image: example.org/library/app:sha256:aaa registry example.org tag sha256:aaaaa
app:1@sha256:…
  docker-image-py: docker.io library/app tag 1 digest sha256:aaa
  oras: docker.io app tag 1 digest sha256:aaa
  docker: docker.io app:1 tag sha256:aaa
  docker-parse-image: library/app:1@sha256:aaa registry null tag 1@sha256:aaa
T
