#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test.sh - installs, builds and runs every test; the last line counts the test cases of all suites.
#   preset cuda-ci  where nvcc is: every test, Release, the CUDA backend compiled for one GPU; warnings are errors
#   preset ci       elsewhere (or with SKIP_CUDA=1): the same without CUDA
#   preset checked  unit tests again under ASan and UBSan, with the checks that communicate; replays of the fuzzers
# Environment: JOBS (compilers at a time), TEST_JOBS (tests at a time, default one more than cores: some only wait), SKIP_INSTALL=1, SKIP_CHECKED=1,
# SKIP_CUDA=1.
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

# suite PRESET: configures, builds, tests. A test that fails does not keep the next suite from running.
suite() {
  local preset=$1 started=$SECONDS
  echo "== $preset: configure and build"
  rm -f "build/$preset/Testing/Temporary/LastTest.log" "build/$preset/junit.xml" # an older run must not be counted
  if ! { cmake --preset "$preset" >"build/$preset-configure.log" 2>&1 || { cat "build/$preset-configure.log"; false; }; } ||
    ! cmake --build --preset "$preset" -j "$jobs" ${2:+--target "$2"}; then
    failed_suites+=("$preset (build)")
    return 0
  fi
  echo "== $preset: test ($((SECONDS - started)) s so far)"
  ctest --preset "$preset" -j "${TEST_JOBS:-$((jobs + 1))}" --no-tests=error --output-junit junit.xml || failed_suites+=("$preset")
  tested+=("build/$preset")
  echo "== $preset: $((SECONDS - started)) s"
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
suite "$main_suite"
[[ ${SKIP_CHECKED:-0} == 1 ]] || suite checked dstrain_unit_tests

((${#failed_suites[@]} == 0)) || echo "failed: ${failed_suites[*]}" >&2
scripts/count-tests.sh "${tested[@]}" || failed_suites+=("count")
exit $((${#failed_suites[@]} > 0))
