#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/gpu-check.sh with programs that pretend: what it calls, in which order, what it writes down, and that a part that
# ran out of time or was killed goes on where it stopped. usage: gpu_check_test.sh SOURCE_DIR SCRATCH
set -uo pipefail

source_dir=$1
scratch=$2
rm -rf "$scratch"
mkdir -p "$scratch"
failures=0
expect() { # WHAT CONDITION...
  local what=$1
  shift
  "$@" && return
  printf 'FAILED: %s\n' "$what"
  failures=$((failures + 1))
}

# A packed folder whose programs write down how they were called. Each run of dstrain leaves a log of losses.
make_folder() { # NAME
  home=$scratch/$1
  mkdir -p "$home/bin" "$home/scripts" "$home/tools" "$home/runs" "$home/reference"
  cp "$source_dir/scripts/gpu-check.sh" "$home/scripts/"
  cp "$source_dir/benchmarks/train/torch_peer_gpu.py" "$home/scripts/"
  cat >"$home/bin/stub" <<'STUB'
#!/usr/bin/env bash
home=$(cd "$(dirname "$0")/.." && pwd)
[[ $1 == --version ]] && { [[ -e $home/no-cublaslt ]] && printf 'backends: CPU; GPU with CUDA 13.0, cuBLASLt not found\n'; exit 0; }
printf '%s %s\n' "$(basename "$0")" "$*" >>"$home/calls"
[[ " $* " == *gtest_filter=none* ]] && { [[ -e $home/no-gpu ]] && printf 'SKIPPED before every test: no driver\n' && exit 77; exit 0; }
output=
for ((i = 1; i <= $#; i++)); do [[ ${!i} == --output_dir ]] && { i=$((i + 1)) && output=${!i}; }; done
[[ -n $output ]] && mkdir -p "$output" && printf '{"loss": 2.5}\n{"loss": 2.4}\n' >"$output/trainer_log.jsonl"
printf 'output of %s\n-- a line that is no outcome\n== neither is this\n' "$(basename "$0")"
[[ -e $home/slow ]] && sleep "$(cat "$home/slow")"
[[ -e $home/hang && "$*" == *"$(cat "$home/hang")"* ]] && sleep 60
[[ -e $home/breaks && "$*" == *"$(cat "$home/breaks")"* ]] && { printf 'error: it broke\n'; exit 1; }
[[ -e $home/refuses && "$*" == *"$(cat "$home/refuses")"* ]] && { printf 'error: 126 GiB are needed, 80 are free\n'; exit 3; }
[[ "$*" == *"--device cuda"* && "$*" == *refused* ]] && printf 'error: device: cuda is asked for, but there is no GPU\n'
exit 0
STUB
  chmod +x "$home/bin/stub"
  local name
  for name in dstrain core_test kernels_gpu_ops_test kernels_gpu_matmul_test kernels_gpu_attention_test kernels_gpu_attention_cudnn_test mpirun; do
    cp "$home/bin/stub" "$home/bin/$name"
  done
  # mpirun -np N PROGRAM ...: one call stands for all ranks.
  printf '#!/usr/bin/env bash\nshift 2\nexec "$@"\n' >"$home/bin/mpirun"
  printf '#!/usr/bin/env bash\nprintf "a GPU\\n"\n' >"$home/tools/nvidia-smi"
  printf '#!/usr/bin/env bash\nwhile [[ $1 == --* ]]; do [[ $1 == --tool || $1 == --error-exitcode ]] && shift; shift; done\nexec "$@"\n' >"$home/tools/compute-sanitizer"
  printf '#!/usr/bin/env bash\n[[ $1 == -c ]] && exit 0\nprintf "%%s\\n" "$*" >>"%s/calls"\n' "$home" >"$home/tools/python3"
  chmod +x "$home/tools/"*
  : >"$home/calls"
}

run() { # PART [VARIABLE=VALUE...]
  local part=$1
  shift
  env PATH="$home/tools:$PATH" CHECK_SCRATCH="$home/runs" CHECK_MODELS="0.5b 7b" CHECK_TOKENS=64 "$@" \
    "$home/scripts/gpu-check.sh" "$part" "$home/results" >"$home/out" 2>&1
}
calls() { grep -c -- "$1" "$home/calls"; }
outcomes() { grep -c "^-- $1" "$home/results"; }
run_code() { # CODE PART [VARIABLE=VALUE...]
  local wanted=$1
  shift
  run "$@"
  local code=$?
  [[ $code == "$wanted" ]] || { printf 'code %s instead of %s:\n' "$code" "$wanted" && tail -n 5 "$home/out" && return 1; }
}

make_folder complete
expect "all parts pass" run_code 0 all
expect "nothing failed" test "$(outcomes FAILED)" == 0
expect "offload is trained" test "$(calls '--zero_stage 3 --offload_optimizer cpu --offload_param cpu')" == 1
expect "a checkpoint of the GPU goes on on the CPU" test "$(calls '--device cpu --output_dir .* --resume_from_checkpoint')" == 1
expect "an eighth of the kernels' tests goes to memcheck" test "$(grep -c 'memcheck of the kernels' "$home/results")" == 4
expect "steps of every model" test "$(calls 'bench step .*--model 7b')" == 2
expect "its peer" test "$(calls 'torch_peer_gpu.py --device cuda --model 7b')" == 1
# shellcheck disable=SC2016  # awk's own variables
order=$(awk '/bench step/ && !s { s = NR } /torch_peer/ && !p { p = NR } /bench gemm --device cuda/ && !o { o = NR } END { print (s < p && p < o) }' "$home/calls")
expect "steps, then peers, then single operations" test "$order" == 1
before=$(wc -l <"$home/calls")
expect "a second call has nothing left to do" run_code 0 all
expect "but to look for a GPU" test "$(wc -l <"$home/calls")" == $((before + 1))

make_folder partial
rm "$home/bin/kernels_gpu_attention_cudnn_test"
expect "a program that was not built is no failure" run_code 0 tests
expect "but said" grep -q '^-- skipped: this build has no kernels_gpu_attention_cudnn_test' "$home/results"

make_folder libraries
touch "$home/no-cublaslt"
expect "a library that is loaded later is missed at once" run_code 1 all
expect "with a hint" grep -q '^hint: put its folder into CUDA_LIBS' "$home/results"
expect "before anything runs" test "$(wc -l <"$home/calls")" == 0

make_folder without
touch "$home/no-gpu"
expect "without a GPU the code says so" run_code 77 all
expect "with the reason" grep -q '^-- skipped: no driver' "$home/results"
expect "nothing was asked of a GPU" test "$(grep -- '--device cuda' "$home/calls" | grep -vc refused)" == 0

make_folder short
printf '0.1' >"$home/slow"
rounds=0
while :; do
  run tests CHECK_BUDGET=2
  code=$?
  rounds=$((rounds + 1))
  ((code == 75 && rounds < 20)) || break
done
expect "a part ends in rounds" test "$code" == 0 -a "$rounds" -gt 2
expect "each check ran once" test "$(grep '^== ' "$home/results" | grep -v '^== so far' | sort | uniq -d | wc -l)" == 0
expect "offload was not lost" test "$(calls '--offload_optimizer cpu')" == 1

make_folder killed
printf -- '--zero_stage 2' >"$home/hang"
setsid env PATH="$home/tools:$PATH" CHECK_SCRATCH="$home/runs" "$home/scripts/gpu-check.sh" tests "$home/results" >"$home/out" 2>&1 &
group=$!
for ((i = 0; i < 300; i++)); do grep -q -- '--zero_stage 2' "$home/calls" && break || sleep 0.1; done
kill -9 -- "-$group" 2>/dev/null
wait "$group" 2>/dev/null
expect "what was done is written down" test "$(outcomes passed)" -gt 10
first=$(calls '--fp16 true')
rm "$home/hang"
expect "the next call goes on" run_code 0 tests
expect "and repeats nothing that was done" test "$(calls '--fp16 true')" == "$first"
expect "but what was at work" grep -q '^-- passed' <(sed -n '/^== train stage 2 one rank/,/^== train stage 2 2/p' "$home/results")

make_folder cut
printf -- '--zero_stage 1' >"$home/hang"
expect "a spent budget begins nothing" run_code 75 tests CHECK_BUDGET=0
expect "nothing" test "$(outcomes '')" == 0 -a "$(calls 'train --stage sft')" == 0
expect "a check that had less than its time ends the call" run_code 75 tests CHECK_BUDGET=4 CHECK_GRACE=1 CHECK_LIMIT=30
expect "without an outcome" test "$(grep -A 3 '^== train stage 1 one rank' "$home/results" | grep -c '^-- ')" == 0
rm "$home/hang"
expect "and is run again" run_code 0 tests
expect "to its end" test "$(outcomes FAILED)" == 0

make_folder broken
printf -- '--fp16 true' >"$home/breaks"
printf 'step --device cuda --model 7b' >"$home/refuses"
expect "one failure is the code" run_code 1 tests
expect "others ran" test "$(calls '--offload_param cpu')" == 1
expect "what does not fit is no failure" run_code 1 bench-step
expect "but said" grep -q '^-- skipped, refused: error: 126 GiB' "$home/results"
expect "failures of earlier calls are kept" grep -q '^failed: train on the GPU --fp16 true; $' "$home/out"

((failures == 0)) && printf 'all as expected\n'
exit $((failures > 0))
