#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh [DIR] - from nothing to a small model that has learned to add, on two ranks of this machine at ZeRO stage 3.
#   1 install   2 build   3 make a dataset   4 ask   5 train   6 show the loss   7 ask again
# DIR (default build/demo) gets data/, start/ and run/. Environment: JOBS, SKIP_INSTALL=1.
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
# Compiled once and not changed: in batches that takes a third of the time.
cmake --preset cpu -DDSTRAIN_BUILD_TESTS=OFF -DDSTRAIN_PRECOMPILE=ON -DDSTRAIN_UNITY=16
cmake --build --preset cpu -j "$jobs" --target dstrain

step "a dataset: sums below 100, worked digit by digit; 100 questions are held out"
examples/sums/make_data.sh "$demo/data"

# ask MODEL ANSWERS: asks the held-out questions, prints some answers and how many of all are right.
ask() {
  build/cpu/dstrain generate "$1" --template default --do_sample false --max_new_tokens 48 --json \
    --prompts "$demo/data/held_out.jsonl" >"$2"
  paste -d '\n' "$demo/data/held_out.jsonl" "$2" | awk '
    # the value of a text field of one line of JSON; these texts hold no quotes, and what random models say is cut there
    function field(line, name) { sub(".*\"" name "\": *\"", "", line); sub(/".*/, "", line); return line }
    NR % 2 == 1 { prompt = field($0, "prompt"); answer = field($0, "answer"); next }
    {
      text = field($0, "text"); n++
      good = text ~ ("so " answer "$")
      right += good
      if (n <= 5) printf "  %-20s %s   %s\n", prompt, substr(text, 1, 60), good ? "right" : "wrong, it is " answer
    }
    END { printf "%d of %d held-out questions right\n", right, n }'
}

step "before: a model with random weights"
rm -rf "$demo/start"
build/cpu/dstrain export examples/sums/model/config.json "$demo/start"
cp examples/sums/model/tokenizer*.json "$demo/start"
ask "$demo/start" "$demo/before.jsonl" | tee "$demo/before.txt"

step "train: two ranks, ZeRO stage 3"
began=$SECONDS
mpirun -np 2 build/cpu/dstrain examples/sums/train.yaml model_name_or_path="$demo/start" train_from_scratch=false \
   dataset_dir="$demo/data" output_dir="$demo/run"
echo "trained in $((SECONDS - began)) s"

step "loss"
# every line of trainer_log.jsonl that has a loss, about ten of them
awk '
  BEGIN { n = 0 }
  match($0, /"current_steps": *[0-9]+/) { step = substr($0, RSTART, RLENGTH); sub(/.*: */, "", step) }
  match($0, /"loss": *[0-9.]+/) { loss = substr($0, RSTART, RLENGTH); sub(/.*: */, "", loss); steps[n] = step; losses[n++] = loss }
  END {
    if (n < 2) { print "error: no losses were logged" > "/dev/stderr"; exit 1 }
    for (i = 0; i < n; i++) if (i % int(n / 10 + 1) == 0 || i == n - 1) printf "  step %6d   loss %.4f\n", steps[i], losses[i]
    if (losses[n - 1] + 0 >= losses[0] + 0) { print "error: the loss did not fall" > "/dev/stderr"; exit 1 }
  }' "$demo/run/trainer_log.jsonl"

step "after: questions it has never seen"
ask "$demo/run" "$demo/after.jsonl" | tee "$demo/after.txt"
right() { sed -n 's/ of .* held-out questions right//p' "$1"; }
if (($(right "$demo/after.txt") <= $(right "$demo/before.txt"))); then
  echo "error: training did not teach it to add" >&2
  exit 1
fi
