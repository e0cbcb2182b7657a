#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make_data.sh DIR [TRAIN [HELD_OUT]] - sums of two numbers below 100, worked digit by digit, in Alpaca's form.
#   DIR/dataset_info.json, DIR/sums.json   TRAIN questions with answers (default 4000)
#   DIR/held_out.jsonl                     HELD_OUT other questions {"prompt", "answer"} (default 100); no pair is in both
# The same files on every machine: the shuffle is a generator of our own, not awk's.
set -euo pipefail

dir=${1:?usage: make_data.sh DIR [TRAIN [HELD_OUT]]}
train=${2:-4000}
held_out=${3:-100}
if ! [[ $train =~ ^[0-9]+$ && $held_out =~ ^[0-9]+$ ]] || ((train < 1 || train + held_out > 10000)); then
  echo "error: TRAIN and HELD_OUT must be whole numbers, at least 1 and at most 10000 together" >&2
  exit 2
fi

mkdir -p "$dir"
printf '{\n  "sums": {"file_name": "sums.json"}\n}\n' >"$dir/dataset_info.json"
: >"$dir/held_out.jsonl"

awk -v train="$train" -v held_out="$held_out" -v sums="$dir/sums.json" -v rest="$dir/held_out.jsonl" '
  # Park and Miller, "Random number generators: good ones are hard to find": exact in double arithmetic.
  function next_random() { state = (state * 16807) % 2147483647; return state }

  # 47 + 38: "7 + 8 is 15, 4 + 3 + 1 is 8, so 85"
  function worked(a, b,    ones, tens, carry) {
    ones = a % 10 + b % 10
    carry = ones >= 10
    tens = int(a / 10) + int(b / 10) + carry
    return (a % 10) " + " (b % 10) " is " ones ", " int(a / 10) " + " int(b / 10) (carry ? " + 1" : "") " is " tens ", so " (a + b)
  }

  BEGIN {
    state = 20260101
    for (i = 0; i < 10000; i++) pair[i] = i
    for (i = 9999; i > 0; i--) {
      j = next_random() % (i + 1)
      t = pair[i]; pair[i] = pair[j]; pair[j] = t
    }
    printf "[" >sums
    for (i = 0; i < train + held_out; i++) {
      a = int(pair[i] / 100); b = pair[i] % 100
      question = "What is " a " + " b "?"
      if (i < train) printf "%s\n  {\"instruction\": \"%s\", \"input\": \"\", \"output\": \"%s\"}", (i ? "," : ""), question, worked(a, b) >sums
      else printf "{\"prompt\": \"%s\", \"answer\": \"%d\"}\n", question, a + b >rest
    }
    printf "\n]\n" >sums
  }'
echo "$dir: $train questions to learn from, $held_out held out"
