#!/usr/bin/env bash
# `1.5Gi` is one byte for a library that reads Kubernetes' quantities, and `250000u` of a processor 250,000 of them.
#
# Versions: kubernetes-resource-parser 0.1.0 and k8s-resource-parser 0.2.2 (Node), beside kubernetes 37.0.1 (Python).
#
# Guess: Kubernetes' API says what a quantity is: a number, which may have a fraction, and a suffix (n, u, m, k, Ki, … E, Ei) or an
# exponent. What reads `resources:` of a manifest reads all of them.
#
# Behaviour:
#   - kubernetes-resource-parser reads memory with a fraction as its first digits, in bytes: `1.5Gi` is 1, `1e3` too. Memory in thousandths
#     (`128974848000m`, which Kubernetes itself writes for some) is NaN. Of processors it knows `m` alone: `2k` is 2, `250000u` 250000.
#   - k8s-resource-parser does not know `u` and `n`, in which metrics are given.
#
# Why it matters: `1.5Gi` and `0.5` are in most charts. A report of what an application needs, or a check that it fits, is wrong by nine
# digits, without an error.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check kubernetes==37.0.1 >/dev/null 2>&1
npm --silent --no-audit --no-fund install kubernetes-resource-parser@0.1.0 k8s-resource-parser@0.2.2 >/dev/null
printf '%s\n' 512Mi 1.5Gi 128974848000m 1e3 1Ei >memory.txt
printf '%s\n' 2 0.5 100m 2k 250000u >cpu.txt
cat >of.py <<'P'
from kubernetes.utils.quantity import parse_quantity
for file in ["memory.txt", "cpu.txt"]:
    for text in open(file).read().split():
        print(f"  kubernetes: {parse_quantity(text).normalize():f}")
P
cat >of.js <<'J'
for (const [file, of] of [["memory.txt", "memoryParser"], ["cpu.txt", "cpuParser"]])
  for (const text of require("fs").readFileSync(file, "utf8").trimEnd().split("\n"))
    console.log(["kubernetes-resource-parser", "k8s-resource-parser"].map((library) => {
      try { return `  ${library}: ${require(library)[of](text)}`; } catch { return `  ${library}: an error`; }
    }).join("\t"));
J
paste <(sed 's/$/ of memory/' memory.txt; sed 's/$/ of processors/' cpu.txt) <(v/bin/python of.py) <(node of.js) | tr '\t' '\n' >seen.txt
cat seen.txt
diff - seen.txt <<'T'
512Mi of memory
  kubernetes: 536870912
  kubernetes-resource-parser: 536870912
  k8s-resource-parser: 536870912
1.5Gi of memory
  kubernetes: 1610612736
  kubernetes-resource-parser: 1
  k8s-resource-parser: 1610612736
128974848000m of memory
  kubernetes: 128974848
  kubernetes-resource-parser: NaN
  k8s-resource-parser: 128974848
1e3 of memory
  kubernetes: 1000
  kubernetes-resource-parser: 1
  k8s-resource-parser: 1000
1Ei of memory
  kubernetes: 1152921504606846976
  kubernetes-resource-parser: 1152921504606847000
  k8s-resource-parser: 1152921504606847000
2 of processors
  kubernetes: 2
  kubernetes-resource-parser: 2
  k8s-resource-parser: 2
0.5 of processors
  kubernetes: 0.5
  kubernetes-resource-parser: 0.5
  k8s-resource-parser: 0.5
100m of processors
  kubernetes: 0.1
  kubernetes-resource-parser: 0.1
  k8s-resource-parser: 0.1
2k of processors
  kubernetes: 2000
  kubernetes-resource-parser: 2
  k8s-resource-parser: 2000
250000u of processors
  kubernetes: 0.25
  kubernetes-resource-parser: 250000
  k8s-resource-parser: an error
T
