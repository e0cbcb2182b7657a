#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gpu-check.sh - everything that needs a GPU, unattended, from a built tree (preset cuda), one results file.
#
#   scripts/gpu-check.sh PART [BUILD_DIR [RESULTS_FILE]]   default: build/cuda gpu-check-results.txt
#       tests       kernels against the reference, runs beside the CPU's losses, ZeRO 0-3, checkpoints, offload
#       memcheck    an eighth of the same kernels, and a run, under compute-sanitizer
#       bench-step  whole training steps
#       peers       the same steps by torch and transformers (needs a python3 with both)
#       bench-ops   products, attention and other kernels of a few models
#       all         one part after the other, in this order
#   scripts/gpu-check.sh --pack DIR [BUILD_DIR]   what a bare machine needs, in one folder and in DIR.tar.xz: programs, the
#                                                 libraries they use beside the C library and CUDA, mpirun, this script
#   DIR/scripts/gpu-check.sh PART                 there: the same checks on the packed programs
#
# Each check has a time limit and its output in the results file; one that fails does not keep the others from running.
# A call ends by itself after CHECK_BUDGET seconds, a check that is at work then after another minute, and goes on, where
# it is started again, behind the checks that have an outcome in the results file: results are appended as they come, so
# that a call that is killed loses the check at work and no other. Remove the file to begin anew.
# Exit code: 0 all passed, 1 some failed (in this call or one before), 75 the budget ended the call (start it again), 77
# there is no GPU: what needs none was run, the rest is listed with the reason.
# Environment: CHECK_MODELS ("0.5b 1.5b 7b 8b"), CHECK_TOKENS ("1024 4096"), CHECK_LIMIT seconds of one check (120),
# CHECK_BUDGET seconds of a call (500), CHECK_SHARDS of eight of the kernels' tests for memcheck (1), CUDA_LIBS: folders
# with libcublasLt, libcudnn and libnccl, apart by spaces. CHECK_DEVICE=cpu rehearses: runs and benchmarks take the CPU.
set -uo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
limit=${CHECK_LIMIT:-120}
budget=${CHECK_BUDGET:-500}
models=${CHECK_MODELS:-0.5b 1.5b 7b 8b}
device=${CHECK_DEVICE:-cuda}
shards=${CHECK_SHARDS:-1}
grace=${CHECK_GRACE:-60} # seconds that a check at work has when the budget is spent
token_counts=${CHECK_TOKENS:-1024 4096}
cuda_libraries='libcuda|libcublas|libcudnn|libnccl|libnv'

pack() {
  local out=$1 build=$2 file
  rm -rf "$out" && mkdir -p "$out/bin" "$out/lib" "$out/scripts"
  for file in dstrain tests/unit/kernels/kernels_gpu_{ops,matmul,attention,attention_cudnn}_test tests/unit/core/core_test; do
    [[ -x $build/$file ]] && cp "$build/$file" "$out/bin/"
  done
  cp "$0" "$here/benchmarks/train/torch_peer_gpu.py" "$out/scripts/"
  cp -r "$here/tests/oracle/tiny-models/llama-biases" "$out/reference"
  local mpirun
  mpirun=$(command -v mpirun || true)
  if [[ -n $mpirun ]]; then
    cp -L "$mpirun" "$out/bin/mpirun"
    cp -L "$(command -v orted)" "$out/bin/" 2>/dev/null || true
    local plugins
    plugins=$(dirname "$(find /usr/lib -name mca_pml_ob1.so 2>/dev/null | head -n 1)")
    mkdir -p "$out/lib/openmpi" "$out/share"
    # Fabrics and resource managers bring libraries that a single machine does not need.
    for file in "$plugins"/mca_*.so; do
      case $(basename "$file") in *ofi* | *ucx* | *psm* | *openib* | *usnic* | *verbs* | *slurm* | *flux* | *gridengine*) ;; *) cp -L "$file" "$out/lib/openmpi/" ;; esac
    done
    cp -rL /usr/share/openmpi "$out/share/" 2>/dev/null || true
    [[ -d /usr/share/pmix ]] && cp -rL /usr/share/pmix "$out/share/"
    local pmix
    pmix=$(find /usr/lib -type d -path '*pmix*/lib/pmix' 2>/dev/null | head -n 1)
    [[ -n $pmix ]] && mkdir -p "$out/lib/pmix" && cp -rL "$pmix/." "$out/lib/pmix/"
  fi
  # All but the C library (the machine's own) and CUDA's (far over 1 GB; whoever has a GPU has them).
  find "$out/bin" "$out/lib" -type f -print0 | xargs -0 ldd 2>/dev/null | awk '/=> \//{print $3}' | sort -u |
    grep -vE "/(ld-linux|libc|libm|libpthread|libdl|librt|libresolv)[.-]|$cuda_libraries" |
    while read -r file; do [[ -e $out/lib/$(basename "$file") ]] || cp -L "$file" "$out/lib/"; done
  find "$out/bin" "$out/lib" -type f -exec strip --strip-unneeded {} + 2>/dev/null
  tar -C "$(dirname "$out")" -cJf "$out.tar.xz" "$(basename "$out")"
  printf '%s of files, %s packed: %s\n' "$(du -sh "$out" | cut -f1)" "$(du -sh "$out.tar.xz" | cut -f1)" "$out.tar.xz"
}

if [[ ${1:-} == --pack ]]; then
  pack "$(realpath -m "${2:?--pack DIR}")" "${3:-$here/build/cuda}"
  exit
fi

part=${1:-all}
case $part in
  tests | memcheck | bench-ops | bench-step | peers) parts=("$part") ;;
  all) parts=(tests memcheck bench-step peers bench-ops) ;;
  *)
    sed -n '2,29p' "$0"
    exit 2
    ;;
esac
peer_script=$here/benchmarks/train/torch_peer_gpu.py
reference=$here/tests/oracle/tiny-models/llama-biases
if [[ -x $here/bin/dstrain ]]; then # a packed folder
  programs=$here/bin
  export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PATH=$here/bin:$PATH
  export OPAL_PREFIX=$here OPAL_LIBDIR=$here/lib OPAL_PKGDATADIR=$here/share/openmpi OPAL_BINDIR=$here/bin
  export OMPI_MCA_mca_base_component_path=$here/lib/openmpi OMPI_MCA_component_path=$here/lib/openmpi OMPI_MCA_plm=isolated
  export PMIX_INSTALL_PREFIX=$here PMIX_MCA_mca_base_component_path=$here/lib/pmix PMIX_PKGDATADIR=$here/share/pmix
  results=${2:-gpu-check-results.txt}
  peer_script=$here/scripts/torch_peer_gpu.py
  reference=$here/reference
else
  programs=${2:-$here/build/cuda}
  results=${3:-gpu-check-results.txt}
fi
# CUDA's libraries where pip put them (nvidia-* packages) are found as well as a toolkit's.
python_folders=$(python3 -c 'import glob, sys; print(*[p for s in sys.path for p in glob.glob(s + "/nvidia/*/lib")])' 2>/dev/null)
for folder in ${CUDA_LIBS:-} /usr/local/cuda/lib64 $python_folders; do
  [[ -d $folder ]] && LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
done
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
export OMPI_MCA_btl_base_warn_component_unused=0

dstrain=$programs/dstrain
kernel_tests=$programs
[[ -x $kernel_tests/kernels_gpu_ops_test ]] || kernel_tests=$programs/tests/unit/kernels
core_test=$programs/core_test
[[ -x $core_test ]] || core_test=$programs/tests/unit/core/core_test
# Runs of a part that is started again find those of before.
scratch=${CHECK_SCRATCH:-${TMPDIR:-/tmp}/gpu-check-$(id -u)}
mkdir -p "$scratch"
out_of_time=0 begin_of_call=$SECONDS
touch "$results"

say() { printf '%s\n' "$*" | tee -a "$results"; }

# A check that stands in the results file with its outcome is not run again. Output is indented there: a line from the
# first column on is this script's.
has_outcome() { awk -v name="== $1" '$0 == name { inside = 1; next } /^== / { inside = 0 } inside && /^-- / { found = 1 } END { exit !found }' "$results"; }
count_outcomes() { grep -c "^-- $1" "$results"; }
failed_checks() { awk '/^== / { name = substr($0, 4) } /^-- FAILED/ { printf "%s; ", name }' "$results"; }

skip() { # NAME REASON
  has_outcome "$1" && return
  say "== $1"
  say "-- skipped: $2"
}

# check NAME COMMAND...: 77 counts as skipped, so does 3 (the run would not fit into memory).
check() {
  local name=$1 code begin=$SECONDS left cut=$limit
  shift
  has_outcome "$name" && return 0
  left=$((budget - (SECONDS - begin_of_call)))
  if ((left <= 0 || out_of_time)); then
    out_of_time=1
    return 75
  fi
  ((left + grace < cut)) && cut=$((left + grace))
  say "== $name"
  printf '   %s\n' "$*" >>"$results"
  timeout -k 10 "$cut" "$@" >"$scratch/out" 2>&1
  code=$?
  tail -c 12000 "$scratch/out" | sed 's/^/   /' >>"$results"
  if ((code == 124 || code == 137)) && ((cut < limit)); then
    out_of_time=1 # it was given less than its time: no outcome, the next call runs it again
    return 75
  fi
  case $code in
    0) say "-- passed, $((SECONDS - begin)) s" ;;
    3) say "-- skipped, refused: $(grep -m 1 -i '^error' "$scratch/out" | head -c 200)" ;;
    77) say "-- skipped: $(tail -n 1 "$scratch/out")" ;;
    124 | 137) say "-- FAILED: still running after $limit s" ;;
    *) say "-- FAILED with $code, $((SECONDS - begin)) s: $(grep -m 1 -iE 'error|fail' "$scratch/out" | head -c 200)" ;;
  esac
  return $code
}

# What needs a GPU: listed with the reason where there is none.
gpu_check() {
  if [[ -n $no_gpu ]]; then skip "$1" "$no_gpu"; else check "$@"; fi
}

# Trains the smallest model; arguments are keys.
train() { # NAME RANKS KEYS...
  local name=$1 ranks=$2 launch=() kind=gpu_check
  shift 2
  [[ " $* " == *" --device cpu "* ]] && kind=check
  ((ranks > 1)) && launch=(mpirun -np "$ranks")
  $kind "train $name" "${launch[@]}" "$dstrain" train --stage sft --model_name_or_path preset:nano --dataset synthetic \
    --synthetic_rows 64 --cutoff_len 64 --per_device_train_batch_size 2 --max_steps 6 --logging_steps 1 --save_steps 3 \
    --output_dir "$scratch/run-${name// /-}" --overwrite_output_dir true "$@"
}

# same_losses NAME A B: the loss columns of two runs agree to 1 %.
same_losses() {
  # shellcheck disable=SC2016  # awk's own variables
  gpu_check "$1" awk -v tolerance=0.01 '
    function loss(line) { match(line, /"loss": *[-0-9.e+]+/); value = substr(line, RSTART, RLENGTH); sub(/.*: */, "", value); return value + 0 }
    /"loss":/ { if (FNR == NR) a[++n] = loss($0); else { m++; d = a[m] - loss($0); if (d < 0) d = -d; if (d > tolerance * a[m]) bad++ } }
    END { printf "%d and %d losses, %d differ\n", n, m, bad; exit n == 0 || n != m || bad > 0 }' \
    "$scratch/run-${2// /-}/trainer_log.jsonl" "$scratch/run-${3// /-}/trainer_log.jsonl"
}

# Builds without the headers of cuDNN's frontend have no test of its attention.
is_built() { [[ -x $kernel_tests/kernels_gpu_${1}_test ]]; }

part_tests() {
  check "versions" "$dstrain" --version
  check "core tests (no GPU needed)" "$core_test"
  check "CPU path: bench gemm" "$dstrain" bench gemm --device cpu --model nano --tokens 64 --repeats 3
  train "on the CPU" 1 --device cpu
  if [[ -n $no_gpu ]]; then
    # shellcheck disable=SC2016  # the inner shell's arguments
    check "device: cuda is refused in one sentence" bash -c '"$1" train --stage sft --model_name_or_path preset:nano --dataset synthetic --device cuda --output_dir "$2" 2>&1 | tee "$2.log"; grep -q "^error: device: cuda is asked for, but" "$2.log"' _ "$dstrain" "$scratch/refused"
  fi
  command -v nvidia-smi >/dev/null || skip "nvidia-smi" "${no_gpu:-there is no nvidia-smi here}"
  gpu_check "nvidia-smi" nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv
  local group dtype stage ranks
  for group in ops matmul attention attention_cudnn; do
    [[ $device == cpu ]] && skip "kernels against the reference: $group" "rehearsed on the CPU"
    is_built "$group" || skip "kernels against the reference: $group" "this build has no kernels_gpu_${group}_test"
    gpu_check "kernels against the reference: $group" "$kernel_tests/kernels_gpu_${group}_test" "--gtest_filter=-*avx*"
  done
  for dtype in "" "--bf16 true" "--fp16 true"; do
    # shellcheck disable=SC2086
    train "on the GPU ${dtype:-fp32}" 1 --device "$device" $dtype
  done
  same_losses "GPU losses are the CPU's" "on the CPU" "on the GPU fp32"
  for stage in 0 1 2 3; do
    train "stage $stage one rank" 1 --device "$device" --zero_stage "$stage"
    for ranks in 2 4; do
      train "stage $stage $ranks ranks on one GPU" "$ranks" --device "$device" --device_oversubscribe true --zero_stage "$stage"
      train "stage $stage $ranks ranks CPU" "$ranks" --device cpu --zero_stage "$stage"
      same_losses "stage $stage $ranks ranks: GPU losses are the CPU's" "stage $stage $ranks ranks CPU" "stage $stage $ranks ranks on one GPU"
    done
  done
  train "offload" 1 --device "$device" --zero_stage 3 --offload_optimizer cpu --offload_param cpu
  same_losses "offload: GPU losses are the CPU's" "on the CPU" "offload"
  train "LoRA" 1 --device "$device" --finetuning_type lora --lora_target all
  train "attention by cuDNN" 1 --device "$device" --bf16 true --attention_backend cudnn
  train "8-bit AdamW" 1 --device "$device" --optim adamw_8bit
  train "Muon" 1 --device "$device" --use_muon true
  train "Muon on the CPU" 1 --device cpu --use_muon true
  same_losses "Muon: GPU losses are the CPU's" "Muon on the CPU" "Muon"
  train "evaluation" 1 --device "$device" --val_size 0.25 --eval_strategy steps --eval_steps 3
  gpu_check "compare with a reference file" "$dstrain" compare "$reference" "$reference/reference.safetensors" --device "$device"
  gpu_check "resume a GPU checkpoint on the CPU" "$dstrain" train --stage sft --model_name_or_path preset:nano --dataset synthetic \
    --synthetic_rows 64 --cutoff_len 64 --per_device_train_batch_size 2 --max_steps 8 --device cpu \
    --output_dir "$scratch/run-on-the-GPU-fp32" --resume_from_checkpoint "$scratch/run-on-the-GPU-fp32/checkpoint-6"
}

part_memcheck() {
  local group shard why=$no_gpu
  [[ $device == cpu ]] && why="rehearsed on the CPU"
  command -v compute-sanitizer >/dev/null || why=${why:-there is no compute-sanitizer here}
  for ((shard = 0; shard < shards; shard++)); do
    for group in ops matmul attention attention_cudnn; do
      if [[ -n $why ]]; then
        skip "memcheck of the kernels: $group, eighth $shard" "$why"
      elif ! is_built "$group"; then
        skip "memcheck of the kernels: $group, eighth $shard" "this build has no kernels_gpu_${group}_test"
      else
        # Under the sanitizer a test takes many times its time; the shards of Google Test cut across all of them.
        limit=$((budget / 3)) check "memcheck of the kernels: $group, eighth $shard" env GTEST_TOTAL_SHARDS=8 \
          GTEST_SHARD_INDEX="$shard" compute-sanitizer --tool memcheck --error-exitcode 1 \
          "$kernel_tests/kernels_gpu_${group}_test" "--gtest_filter=-*avx*"
      fi
    done
  done
  if [[ -n $why ]]; then
    skip "memcheck of a run" "$why"
  else
    check "memcheck of a run" compute-sanitizer --tool memcheck --error-exitcode 1 "$dstrain" train --stage sft \
      --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 16 --cutoff_len 64 --max_steps 2 --device "$device" \
      --output_dir "$scratch/memcheck" --overwrite_output_dir true
  fi
}

part_bench-ops() {
  local model tokens kind
  for model in $models; do
    for tokens in $token_counts; do
      for kind in gemm attention kernels; do
        gpu_check "$kind $model $tokens" "$dstrain" bench "$kind" --device "$device" --model "$model" --tokens "$tokens" --dtype bfloat16
      done
    done
  done
  gpu_check "collectives, 2 ranks on one GPU" mpirun -np 2 "$dstrain" bench collectives --device "$device" --device-oversubscribe
}

part_bench-step() {
  local model tokens
  for model in $models; do
    for tokens in $token_counts; do
      gpu_check "step $model $tokens full" "$dstrain" bench step --device "$device" --model "$model" --tokens "$tokens" --dtype bfloat16 --repeats 5
      gpu_check "step $model $tokens LoRA" "$dstrain" bench step --device "$device" --model "$model" --tokens "$tokens" --dtype bfloat16 --repeats 5 --lora
    done
  done
}

part_peers() {
  local model tokens why=$no_gpu
  [[ -n $why ]] || python3 -c 'import torch, transformers' 2>/dev/null || why="there is no python3 with torch and transformers here"
  for model in $models; do
    for tokens in $token_counts; do
      if [[ -n $why ]]; then
        skip "peer step $model $tokens" "$why"
      else
        # The libraries that torch brings, not those packed here.
        LD_LIBRARY_PATH='' check "peer step $model $tokens" python3 "$peer_script" --device "$device" --model "$model" --tokens "$tokens" --repeats 5
      fi
    done
  done
}

say "gpu-check $part $(date -u +%FT%TZ) on $(uname -srm)"
missing=$(ldd "$dstrain" 2>/dev/null | awk '/not found/{print $1}' | sort -u | tr '\n' ' ')
if [[ ! -x $dstrain ]]; then
  say "error: there is no $dstrain"
  say "hint: build preset cuda, or name its folder"
  exit 1
elif [[ -n $missing ]]; then
  say "error: $dstrain cannot start without ${missing% }"
  say "hint: put the folders of CUDA's libraries into CUDA_LIBS"
  exit 1
elif [[ $device == cuda && $("$dstrain" --version 2>/dev/null) == *"cuBLASLt not found"* ]]; then
  say "error: $dstrain finds no libcublasLt, which it loads for products on a GPU"
  say "hint: put its folder into CUDA_LIBS"
  exit 1
fi
no_gpu=
"$kernel_tests/kernels_gpu_ops_test" --gtest_filter=none >"$scratch/out" 2>&1
[[ $? == 77 ]] && no_gpu=$(sed -n 's/.*SKIPPED.*every test: //p' "$scratch/out")
[[ $device == cpu ]] && no_gpu=
for one in "${parts[@]}"; do "part_$one"; done

failures=$(count_outcomes FAILED)
say "== so far: $(count_outcomes passed) passed, $failures failed, $(count_outcomes skipped) skipped"
((failures == 0)) || say "failed: $(failed_checks)"
((out_of_time)) && say "the budget of $budget s ended the call: start it again to go on" && exit 75
((failures == 0)) || exit 1
[[ -z $no_gpu ]] || exit 77
