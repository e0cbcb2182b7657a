#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# count-tests.sh BUILD_DIR... - "N passed, N failed, N skipped" over the ctest runs of these build folders, from their junit.xml
# (ctest --output-junit: the verdicts) and LastTest.log (the whole output). Ends with 1 where one failed or none ran.
# A GoogleTest program counts by its cases, so that a skipped case is seen; anything else counts as one. A program that failed
# without a failed case (a crash, a time-out, a missing executable) counts as one failure.
set -euo pipefail

files=()
for dir in "$@"; do
  files+=("$dir/junit.xml" "$dir/Testing/Temporary/LastTest.log")
done
((${#files[@]} > 0)) || { echo "0 passed, 0 failed, 0 skipped"; exit 1; }

awk '
  function close_suite(    name) {
    for (name in verdict) {
      if (verdict[name] == "fail") { p += passed[name]; s += skipped[name]; f += failed[name] ? failed[name] : 1 }
      else if (verdict[name] == "skip") s += skipped[name] ? skipped[name] : 1
      else if (passed[name] + skipped[name] + failed[name] == 0) p++
      else { p += passed[name]; s += skipped[name]; f += failed[name] }
    }
    split("", verdict); split("", passed); split("", skipped); split("", failed)
  }
  FNR == 1 { xml = FILENAME ~ /junit\.xml$/; if (xml) close_suite(); name = "" }

  # <testcase name="x" ... status="run|fail|notrun|disabled">, then <skipped message="..."/> where it did not run
  xml && /<testcase / {
    name = $0; sub(/.*<testcase name="/, "", name); sub(/".*/, "", name)
    verdict[name] = $0 ~ /status="run"/ ? "pass" : ($0 ~ /status="disabled"/ ? "skip" : "fail")
  }
  xml && /<skipped message="SKIP_/ { verdict[name] = "skip" }
  xml { next }

  # "3/9 Test: name" opens the output of one test
  /^[0-9]+\/[0-9]+ Test: / { name = $0; sub(/^[0-9]+\/[0-9]+ Test: /, "", name); next }
  /^\[       OK \] .* \([0-9]+ ms\)$/ { passed[name]++ }
  /^\[  SKIPPED \] .* \([0-9]+ ms\)$/ { skipped[name]++ }
  /^\[  FAILED  \] .* \([0-9]+ ms\)$/ { failed[name]++ }
  END {
    close_suite()
    printf "%d passed, %d failed, %d skipped\n", p, f, s
    exit (f > 0 || p == 0)
  }' "${files[@]}"
