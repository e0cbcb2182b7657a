#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test.sh - installs, builds and runs every test; the last line counts the test cases of all suites.
#   preset cuda-ci  where nvcc is: every test, Release, the CUDA backend compiled for one GPU; warnings are errors
#   preset ci       elsewhere (or with SKIP_CUDA=1): the same without CUDA
#   preset checked  unit tests again under ASan and UBSan, with the checks that communicate; replays of the fuzzers
# Environment: JOBS (compilers at a time), TEST_JOBS (tests at a time, a job of ranks counts as two; default twice the cores: many
# only wait), SKIP_INSTALL=1, SKIP_CHECKED=1, SKIP_CUDA=1.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"

[[ ${SKIP_INSTALL:-0} == 1 ]] || scripts/install-deps.sh
choose_compiler
choose_cmake
use_ccache
mpi_on_one_machine

failed_suites=()
tested=()

# phase TEXT: a line with the seconds since the start of this script.
phase() { echo "== $SECONDS s: $*"; }

# build PRESET JOBS [TARGET]: configures and compiles.
build() {
  local preset=$1
  { cmake --preset "$preset" >"build/$preset-configure.log" 2>&1 || { cat "build/$preset-configure.log"; false; }; } &&
    cmake --build --preset "$preset" -j "$2" ${3:+--target "$3"}
}

# test_suite PRESET: runs the tests. One that fails does not keep the next suite from running.
test_suite() {
  local preset=$1
  phase "$preset: test"
  rm -f "build/$preset/Testing/Temporary/LastTest.log" "build/$preset/junit.xml" # an older run must not be counted
  ctest --preset "$preset" -j "${TEST_JOBS:-$((2 * jobs))}" --no-tests=error --output-junit junit.xml || failed_suites+=("$preset")
  tested+=("build/$preset")
}

# The program with both backends runs everything that the one without CUDA does; preset checked compiles the latter.
main_suite=ci
if [[ ${SKIP_CUDA:-0} == 1 ]]; then
  echo "== CUDA: skipped, as asked"
elif command -v nvcc >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]; then
  PATH=$PATH:/usr/local/cuda/bin
  main_suite=cuda-ci
else
  echo "== CUDA: skipped, there is no nvcc"
fi

mkdir -p build
phase "$main_suite: configure and build"
main_is_built=1
build "$main_suite" "$jobs" || main_is_built=0
((main_is_built)) || failed_suites+=("$main_suite (build)")

((main_is_built == 0)) || test_suite "$main_suite"

# Behind the tests, not beside them: compilers double the time of tests whose ranks wait for each other.
if [[ ${SKIP_CHECKED:-0} != 1 ]]; then
  phase "checked: configure and build"
  if build checked "$jobs" dstrain_unit_tests; then
    test_suite checked
  else
    failed_suites+=("checked (build)")
  fi
fi
phase "done"

((${#failed_suites[@]} == 0)) || echo "failed: ${failed_suites[*]}" >&2
scripts/count-tests.sh "${tested[@]}" || failed_suites+=("count")
exit $((${#failed_suites[@]} > 0))
