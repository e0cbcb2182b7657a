#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Usage: startup.sh DSTRAIN WAY [REPEATS [KINDS]] - seconds from the command to its end at 2, 4 and 8 ranks, one Markdown row for each.
#
#   WAY mpirun | launch | nossh | srun        dstrain, started so: `empty` ends after the ranks have met (rank 0 finds no
#                                             configuration and all agree on exit code 2), `step` trains one step of preset:nano
#       torchrun | deepspeed                  PYTHON_BIN/torchrun or deepspeed (default: those on PATH): `empty` is an empty script,
#                                             `step` one that opens a gloo process group and meets once
# srun needs what tests/e2e/slurm/mini-slurm.sh needs, and starts a Slurm of two nodes. Median, least and greatest of REPEATS (5); KINDS: "empty step".
set -euo pipefail
dstrain=$(readlink -f "$1")
way=$2
repeats=${3:-5}
tree=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export OMP_NUM_THREADS=1
bin=${PYTHON_BIN:+$PYTHON_BIN/}

: >empty.py
cat >step.py <<'END'
import torch.distributed as dist
dist.init_process_group("gloo")
dist.barrier()
dist.destroy_process_group()
END
cat >step.yaml <<'END'
model_name_or_path: preset:nano
dataset: synthetic
synthetic_rows: 64
cutoff_len: 32
stage: pt
do_train: true
max_steps: 1
per_device_train_batch_size: 1
save_strategy: "no"
overwrite_output_dir: true
output_dir: out
END
printf '%s\n' "$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" >token
chmod 600 token

# words of dstrain for `empty` and `step`, and the exit code that is right
words() { if [[ $1 == empty ]]; then echo none.yaml; else echo step.yaml; fi; }
right() { if [[ $1 == empty && $way != torchrun && $way != deepspeed ]]; then echo 2; else echo 0; fi; }

start() {
  local what=$1 ranks=$2 node pid code=0
  local -a pids=()
  case $way in
    mpirun) mpirun -np "$ranks" "$dstrain" train "$(words "$what")" ;;
    launch) "$dstrain" launch --num_gpus "$ranks" "$(words "$what")" ;;
    nossh)
      for node in 1 0; do
        "$dstrain" launch --nnodes=2 --node_rank=$node --nproc_per_node=$((ranks / 2)) --master_addr=127.0.0.1 \
          --master_port=29511 --token_file="$work/token" "$(words "$what")" &
        pids+=($!)
      done
      for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
      return "$code"
      ;;
    srun) srun --mpi=pmix --nodes=2 --ntasks="$ranks" --ntasks-per-node=$((ranks / 2)) --overcommit "$dstrain" train "$(words "$what")" ;;
    torchrun) "${bin}torchrun" --standalone --nproc_per_node="$ranks" "$what.py" ;;
    deepspeed) "${bin}deepspeed" --num_gpus "$ranks" "$what.py" ;;
  esac
}

if [[ $way == srun ]]; then
  reason=$("$tree/tests/e2e/slurm/mini-slurm.sh" check) || { echo "no Slurm: $reason" >&2; exit 2; }
  trap '"$tree/tests/e2e/slurm/mini-slurm.sh" down "$work/slurm"; rm -rf "$work"' EXIT
  "$tree/tests/e2e/slurm/mini-slurm.sh" up "$work/slurm" 2 4
  eval "$("$tree/tests/e2e/slurm/mini-slurm.sh" env "$work/slurm")"
fi

for what in ${4:-empty step}; do
  for ranks in 2 4 8; do
    times=()
    for ((i = 0; i <= repeats; ++i)); do
      begin=$EPOCHREALTIME
      code=0
      start "$what" "$ranks" >log 2>&1 || code=$?
      end=$EPOCHREALTIME
      if ((code != $(right "$what"))); then
        tail -n 20 log >&2
        echo "$way $what $ranks: exit code $code" >&2
        exit 1
      fi
      ((i == 0)) || times+=("$(awk -v a="$begin" -v b="$end" 'BEGIN { printf "%.3f", b - a }')") # the first fills caches
    done
    printf '%s\n' "${times[@]}" | sort -n | awk -v w="$way" -v s="$what" -v r="$ranks" '
      { t[NR] = $1 } END { printf "| %s | %s | %d | %.2f | %.2f to %.2f |\n", w, s, r, t[int((NR + 1) / 2)], t[1], t[NR] }'
  done
done
