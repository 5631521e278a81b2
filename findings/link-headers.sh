#!/usr/bin/env bash
# A list of tags ends after its first page, because a library does not find rel="next" in a header that has it.
#
# Versions: requests 2.34.2 and httpx 0.28.1 (Python), parse-link-header 2.0.0, http-link-header 1.1.4 and li 1.3.0 (Node).
#
# Guess: what is offered to read `Link` headers reads what RFC 8288 allows: names of parameters and relations have no case, one link can
# have several relations, an address or a title can have `;`, and blanks may stand before a comma.
#
# Behaviour: requests and httpx find no next page where a link has two relations, where there is a `;` in the address or in a title, or
# a capital in `rel` or `next`. They and parse-link-header take `y` out of a title for it. parse-link-header and li do not find it
# with a capital, nor with blanks around `;` and `=`. http-link-header finds only the first link where a blank stands before the
# comma. None of them says that it did not understand something.
#
# Why it matters: registries give tags, repositories and referrers in pages. What ends without an error is taken for all there is:
# a tag that is not seen, a signature that is not found, an old image that is taken for the newest one.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check requests==2.34.2 httpx==0.28.1 >/dev/null 2>&1
npm --silent --no-audit --no-fund install parse-link-header@2.0.0 http-link-header@1.1.4 li@1.3.0 >/dev/null
cat >headers.txt <<'T'
</v2/a>; rel="next"
</v2/a>; rel=next
</v2/a>; rel="prev next"
</v2/a?last=1;2>; rel="next"
</v2/a>; title="x; y"; rel="next"
</v2/a>; title="<x>, <y>"; rel="next"
</v2/a>; Rel="next"
</v2/a>; rel="Next"
</v2/a> ; rel = "next"
</v2/b>; rel="prev" , </v2/a>; rel="next"
T
cat >of.py <<'P'
import httpx, requests
for header in open("headers.txt").read().splitlines():
    answer = requests.Response()
    answer.headers["Link"] = header
    next_of = lambda links: links.get("next", {}).get("url", "none")
    print(f"  requests: {next_of(answer.links)}; httpx: {next_of(httpx.Response(200, headers={'Link': header}).links)}")
P
cat >of.js <<'J'
for (const header of require("fs").readFileSync("headers.txt", "utf8").trimEnd().split("\n")) {
  const found = {
    "parse-link-header": require("parse-link-header")(header)?.next?.url,
    "http-link-header": require("http-link-header").parse(header).rel("next")[0]?.uri,
    li: require("li").parse(header).next,
  };
  console.log("  " + Object.entries(found).map(([name, url]) => `${name}: ${url ?? "none"}`).join("; "));
}
J
paste headers.txt <(v/bin/python of.py) <(node of.js) | tr '\t' '\n' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
</v2/a>; rel="next"
  requests: /v2/a; httpx: /v2/a
  parse-link-header: /v2/a; http-link-header: /v2/a; li: /v2/a
</v2/a>; rel=next
  requests: /v2/a; httpx: /v2/a
  parse-link-header: /v2/a; http-link-header: /v2/a; li: /v2/a
</v2/a>; rel="prev next"
  requests: none; httpx: none
  parse-link-header: /v2/a; http-link-header: /v2/a; li: /v2/a
</v2/a?last=1;2>; rel="next"
  requests: none; httpx: none
  parse-link-header: /v2/a?last=1;2; http-link-header: /v2/a?last=1;2; li: /v2/a?last=1;2
</v2/a>; title="x; y"; rel="next"
  requests: none; httpx: none
  parse-link-header: /v2/a; http-link-header: /v2/a; li: /v2/a
</v2/a>; title="<x>, <y>"; rel="next"
  requests: y; httpx: y
  parse-link-header: y; http-link-header: /v2/a; li: /v2/a
</v2/a>; Rel="next"
  requests: none; httpx: none
  parse-link-header: none; http-link-header: /v2/a; li: none
</v2/a>; rel="Next"
  requests: none; httpx: none
  parse-link-header: none; http-link-header: /v2/a; li: none
</v2/a> ; rel = "next"
  requests: /v2/a; httpx: /v2/a
  parse-link-header: none; http-link-header: /v2/a; li: none
</v2/b>; rel="prev" , </v2/a>; rel="next"
  requests: /v2/a; httpx: /v2/a
  parse-link-header: /v2/a; http-link-header: none; li: /v2/a
T
