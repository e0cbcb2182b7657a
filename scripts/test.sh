#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test.sh - installs, builds and runs every test; the last line counts the test cases of all suites.
#   preset ci       every test, Release, warnings are errors
#   preset cuda-ci  where nvcc is: the CUDA backend compiled for one GPU, warnings are errors; the program and the tests of
#                   the device layer run without a GPU
#   preset checked  unit tests again under ASan and UBSan, with the checks that communicate
# Environment: JOBS (compilers at a time), TEST_JOBS (tests at a time, default 2), SKIP_INSTALL=1, SKIP_CHECKED=1,
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
  ctest --preset "$preset" -j "${TEST_JOBS:-2}" --no-tests=error --output-junit junit.xml || failed_suites+=("$preset")
  tested+=("build/$preset")
  echo "== $preset: $((SECONDS - started)) s"
}

# The CUDA backend is compiled and linked; what the CPU does is the same code as in preset ci and not tested again.
cuda_suite() {
  if ! command -v nvcc >/dev/null && [[ ! -x /usr/local/cuda/bin/nvcc ]]; then
    echo "== cuda-ci: skipped, there is no nvcc"
    return 0
  fi
  PATH=$PATH:/usr/local/cuda/bin
  local started=$SECONDS
  echo "== cuda-ci: configure and build"
  if ! cmake --preset cuda-ci >build/cuda-ci-configure.log 2>&1; then
    cat build/cuda-ci-configure.log
    failed_suites+=("cuda-ci (configure)")
    return 0
  fi
  if ! cmake --build --preset cuda-ci -j "$jobs" --target dstrain kernels_gpu_ops_test kernels_gpu_matmul_test kernels_gpu_attention_test core_test core_device_test; then
    failed_suites+=("cuda-ci (build)")
    return 0
  fi
  ctest --test-dir build/cuda-ci -R '^(core_test|core_device_test|kernels_gpu_[a-z]*_test|version_names_cuda|device_cuda_is_answered)$' --no-tests=error \
    --output-on-failure --output-junit junit.xml || failed_suites+=("cuda-ci")
  tested+=("build/cuda-ci")
  echo "== cuda-ci: $((SECONDS - started)) s"
}

mkdir -p build
suite ci
[[ ${SKIP_CUDA:-0} == 1 ]] || cuda_suite
[[ ${SKIP_CHECKED:-0} == 1 ]] || suite checked dstrain_unit_tests

((${#failed_suites[@]} == 0)) || echo "failed: ${failed_suites[*]}" >&2
scripts/count-tests.sh "${tested[@]}" || failed_suites+=("count")
exit $((${#failed_suites[@]} > 0))
