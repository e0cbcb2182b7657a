#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gpu-check.sh - everything that needs a GPU, in one unattended go from a built tree (preset cuda), one results file.
#
#   scripts/gpu-check.sh [BUILD_DIR [RESULTS_FILE]]      default: build/cuda gpu-check-results.txt
#   scripts/gpu-check.sh --pack DIR [BUILD_DIR]          what a bare machine needs, in one folder: programs, the libraries
#                                                        they use beside the C library and CUDA, mpirun, this script
#   DIR/scripts/gpu-check.sh                             there: the same checks on the packed programs
#
# Each check has a time limit and its output in the results file; one that fails does not keep the others from running.
# The last lines count them. Exit code: 0 all passed, 1 some failed, 77 there is no GPU (what needs none was run).
# Environment: CHECK_MODELS (default "0.5b 1b 8b"), CHECK_TOKENS ("1024 4096"), CHECK_LIMIT seconds of one check (120).
set -uo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
limit=${CHECK_LIMIT:-120}
models=${CHECK_MODELS:-0.5b 1b 8b}
token_counts=${CHECK_TOKENS:-1024 4096}

pack() {
  local out=$1 build=$2 file
  mkdir -p "$out/bin" "$out/lib" "$out/scripts"
  for file in dstrain tests/unit/kernels/kernels_gpu_{ops,matmul,attention}_test tests/unit/core/core_test; do
    [[ -x $build/$file ]] && cp "$build/$file" "$out/bin/"
  done
  cp "$0" "$out/scripts/"
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
      case $(basename "$file") in *ofi* | *ucx* | *psm* | *openib* | *usnic* | *verbs* | *slurm*) ;; *) cp "$file" "$out/lib/openmpi/" ;; esac
    done
    cp -r /usr/share/openmpi "$out/share/" 2>/dev/null || true
    [[ -d /usr/share/pmix ]] && cp -r /usr/share/pmix "$out/share/"
    local pmix
    pmix=$(find /usr/lib -type d -path '*pmix*/lib/pmix' 2>/dev/null | head -n 1)
    [[ -n $pmix ]] && mkdir -p "$out/lib/pmix" && cp -rL "$pmix/." "$out/lib/pmix/"
  fi
  # All but the C library (the machine's own) and CUDA's.
  find "$out/bin" "$out/lib" -type f -print0 | xargs -0 ldd 2>/dev/null | awk '/=> \//{print $3}' | sort -u |
    grep -vE '/(ld-linux|libc|libm|libpthread|libdl|librt|libresolv)[.-]|libcuda|libcublas|libcudnn|libnccl|libnv' |
    while read -r file; do [[ -e $out/lib/$(basename "$file") ]] || cp -L "$file" "$out/lib/"; done
  du -sh "$out"
}

if [[ ${1:-} == --pack ]]; then
  pack "$2" "${3:-$here/build/cuda}"
  exit 0
fi

if [[ -x $here/bin/dstrain ]]; then # a packed folder
  programs=$here/bin
  export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PATH=$here/bin:$PATH
  export OPAL_PREFIX=$here OPAL_LIBDIR=$here/lib OPAL_PKGDATADIR=$here/share/openmpi OPAL_BINDIR=$here/bin
  export OMPI_MCA_mca_base_component_path=$here/lib/openmpi OMPI_MCA_component_path=$here/lib/openmpi OMPI_MCA_plm=isolated
  export PMIX_INSTALL_PREFIX=$here PMIX_MCA_mca_base_component_path=$here/lib/pmix PMIX_PKGDATADIR=$here/share/pmix
  results=${1:-$here/gpu-check-results.txt}
else
  programs=${1:-$here/build/cuda}
  results=${2:-gpu-check-results.txt}
fi
# CUDA's libraries where pip put them (nvidia-* packages) are found as well as a toolkit's.
for folder in /usr/local/cuda/lib64 $(python3 -c 'import glob, site; print(*[p for s in site.getsitepackages() for p in glob.glob(s + "/nvidia/*/lib")])' 2>/dev/null); do
  [[ -d $folder ]] && LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
done
export LD_LIBRARY_PATH
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
export OMPI_MCA_btl_base_warn_component_unused=0

dstrain=$programs/dstrain
kernel_tests=$programs
[[ -x $kernel_tests/kernels_gpu_ops_test ]] || kernel_tests=$programs/tests/unit/kernels
core_test=$programs/core_test
[[ -x $core_test ]] || core_test=$programs/tests/unit/core/core_test
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=() skipped=0
: >"$results"

say() { printf '%s\n' "$*" | tee -a "$results"; }

# check NAME COMMAND...: 77 counts as skipped.
check() {
  local name=$1 code begin=$SECONDS
  shift
  say "== $name: $*"
  timeout -k 10 "$limit" "$@" >"$scratch/out" 2>&1
  code=$?
  tail -c 12000 "$scratch/out" >>"$results"
  case $code in
    0) passed=$((passed + 1)) && say "-- passed, $((SECONDS - begin)) s" ;;
    77) skipped=$((skipped + 1)) && say "-- skipped" ;;
    *) failed+=("$name") && say "-- FAILED with $code, $((SECONDS - begin)) s" ;;
  esac
  return $code
}

# Trains the smallest model; arguments are keys.
train() {
  local name=$1 ranks=$2
  shift 2
  local out=$scratch/run-${name// /-}
  local launch=()
  ((ranks > 1)) && launch=(mpirun -np "$ranks")
  check "train $name" "${launch[@]}" "$dstrain" train --stage sft --model_name_or_path preset:nano --dataset synthetic \
    --synthetic_rows 64 --cutoff_len 64 --per_device_train_batch_size 2 --max_steps 6 --logging_steps 1 --save_steps 3 \
    --output_dir "$out" --overwrite_output_dir true "$@"
}

# same_losses NAME A B: the loss columns of two logs agree to 1 %.
same_losses() {
  # shellcheck disable=SC2016  # awk's own variables
  check "$1" awk -v tolerance=0.01 '
    function loss(line) { match(line, /"loss": *[-0-9.e+]+/); value = substr(line, RSTART, RLENGTH); sub(/.*: */, "", value); return value + 0 }
    /"loss":/ { if (FNR == NR) a[++n] = loss($0); else { m++; d = a[m] - loss($0); if (d < 0) d = -d; if (d > tolerance * a[m]) bad++ } }
    END { printf "%d and %d losses, %d differ\n", n, m, bad; exit n == 0 || n != m || bad > 0 }' "$2" "$3"
}

say "gpu-check $(date -u +%FT%TZ) on $(uname -srm)"
check "versions" "$dstrain" --version
check "core tests (no GPU needed)" "$core_test"
check "CPU path: bench gemm" "$dstrain" bench gemm --device cpu --model nano --tokens 64 --repeats 3
train "on the CPU" 1 --device cpu
gpu=1
for group in ops matmul attention; do
  check "kernels against the reference: $group" "$kernel_tests/kernels_gpu_${group}_test" "--gtest_filter=-*avx*"
  [[ $? == 77 ]] && gpu=0
done

if ((gpu)); then
  check "nvidia-smi" nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv
  for dtype in "" "--bf16 true" "--fp16 true"; do
    # shellcheck disable=SC2086
    train "on the GPU ${dtype:-fp32}" 1 --device cuda $dtype
  done
  same_losses "GPU losses are the CPU's" "$scratch/run-on-the-CPU/trainer_log.jsonl" "$scratch/run-on-the-GPU-fp32/trainer_log.jsonl"
  for stage in 0 1 2 3; do
    train "stage $stage one rank" 1 --device cuda --zero_stage "$stage"
    for ranks in 2 4; do
      train "stage $stage $ranks ranks on one GPU" "$ranks" --device cuda --device_oversubscribe true --zero_stage "$stage"
      train "stage $stage $ranks ranks CPU" "$ranks" --device cpu --zero_stage "$stage"
      same_losses "stage $stage $ranks ranks: GPU losses are the CPU's" "$scratch/run-stage-$stage-$ranks-ranks-CPU/trainer_log.jsonl" \
        "$scratch/run-stage-$stage-$ranks-ranks-on-one-GPU/trainer_log.jsonl"
    done
  done
  train "LoRA" 1 --device cuda --finetuning_type lora --lora_target all
  check "resume a GPU checkpoint on the CPU" "$dstrain" train --stage sft --model_name_or_path preset:nano --dataset synthetic \
    --synthetic_rows 64 --cutoff_len 64 --per_device_train_batch_size 2 --max_steps 8 --device cpu \
    --output_dir "$scratch/run-on-the-GPU-fp32" --resume_from_checkpoint "$scratch/run-on-the-GPU-fp32/checkpoint-6"
  if command -v compute-sanitizer >/dev/null; then
    for group in ops matmul attention; do
      limit=600 check "memcheck of the kernels: $group" compute-sanitizer --tool memcheck --error-exitcode 1 \
        "$kernel_tests/kernels_gpu_${group}_test" "--gtest_filter=-*avx*"
    done
    limit=600 check "memcheck of a run" compute-sanitizer --tool memcheck --error-exitcode 1 "$dstrain" train --stage sft \
      --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 16 --cutoff_len 64 --max_steps 2 --device cuda \
      --output_dir "$scratch/memcheck"
  else
    say "== memcheck: there is no compute-sanitizer here" && skipped=$((skipped + 1))
  fi
  for model in $models; do
    for tokens in $token_counts; do
      check "gemm $model $tokens" "$dstrain" bench gemm --device cuda --model "$model" --tokens "$tokens" --dtype bfloat16
      check "attention $model $tokens" "$dstrain" bench attention --device cuda --model "$model" --tokens "$tokens" --dtype bfloat16
      check "kernels $model $tokens" "$dstrain" bench kernels --device cuda --model "$model" --tokens "$tokens" --dtype bfloat16
      check "step $model $tokens full" "$dstrain" bench step --device cuda --model "$model" --tokens "$tokens" --dtype bfloat16 --repeats 5
      check "step $model $tokens LoRA" "$dstrain" bench step --device cuda --model "$model" --tokens "$tokens" --dtype bfloat16 --repeats 5 --lora
    done
  done
  check "collectives, 2 ranks on one GPU" mpirun -np 2 "$dstrain" bench collectives --device cuda --device-oversubscribe
else
  # shellcheck disable=SC2016  # the inner shell's arguments
  check "device: cuda is refused in one sentence" bash -c '"$1" train --stage sft --model_name_or_path preset:nano --dataset synthetic --device cuda --output_dir "$2" 2>&1 | tee "$2.log"; grep -q "^error: device: cuda is asked for, but" "$2.log"' _ "$dstrain" "$scratch/refused"
fi

say "== $passed passed, ${#failed[@]} failed, $skipped skipped"
((${#failed[@]} == 0)) || say "failed: $(printf '%s; ' "${failed[@]}")"
((${#failed[@]} == 0)) || exit 1
((gpu)) || exit 77
