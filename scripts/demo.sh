#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh [DIR] - from nothing to a small model that has learned to add, on two ranks of this machine at ZeRO stage 3.
#   1 install   2 build   3 make a dataset   4 train   5 show the loss
# DIR (default build/demo) gets data/ and run/. Environment: JOBS, SKIP_INSTALL=1.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"
demo=${1:-build/demo}

step() { printf '\n== %s\n' "$*"; }

step "install"
[[ ${SKIP_INSTALL:-0} == 1 ]] || scripts/install-deps.sh
choose_compiler
choose_cmake
use_ccache
mpi_on_one_machine

step "build"
cmake --preset cpu -DDSTRAIN_BUILD_TESTS=OFF
cmake --build --preset cpu -j "$jobs" --target dstrain

step "a dataset: sums below 100, worked digit by digit; 100 questions are held out"
examples/sums/make_data.sh "$demo/data"

step "train: two ranks, ZeRO stage 3"
mpirun -np 2 build/cpu/dstrain examples/sums/train.yaml dataset_dir="$demo/data" output_dir="$demo/run"

step "loss"
# every line of trainer_log.jsonl that has a loss, about ten of them
awk '
  match($0, /"current_steps": *[0-9]+/) { step = substr($0, RSTART, RLENGTH); sub(/.*: */, "", step) }
  match($0, /"loss": *[0-9.]+/) { loss = substr($0, RSTART, RLENGTH); sub(/.*: */, "", loss); steps[n] = step; losses[n++] = loss }
  END {
    if (n < 2) { print "error: no losses were logged" > "/dev/stderr"; exit 1 }
    for (i = 0; i < n; i++) if (i % int(n / 10 + 1) == 0 || i == n - 1) printf "  step %6d   loss %.4f\n", steps[i], losses[i]
    if (losses[n - 1] + 0 >= losses[0] + 0) { print "error: the loss did not fall" > "/dev/stderr"; exit 1 }
  }' "$demo/run/trainer_log.jsonl"
