#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# slurm_test.sh DSTRAIN WORK_DIR - trains under a real Slurm of two nodes that it starts itself, with the files of slurm/:
#   srun --mpi=pmix; train.sbatch by srun and by mpirun, its rank counts and exit codes; a job that comes to the end of its time,
#   is queued again and ends with the weights of an undisturbed run; a sweep; a scaling table.
# Ends with 77 (skipped) where no Slurm can be started.
set -euo pipefail
dstrain=$(readlink -f "$1")
work=$2
here=$(cd "$(dirname "$0")" && pwd)
slurm=$(cd "$here/../../../slurm" && pwd)
export DSTRAIN=$dstrain

if ! reason=$("$here/mini-slurm.sh" check); then
  echo "skipped: $reason"
  exit 77
fi

rm -rf "$work"
mkdir -p "$work"
state=$(mktemp -d /tmp/dstrain-slurm-XXXXXX)/state
trap '"$here/mini-slurm.sh" down "$state"; rmdir "$(dirname "$state")"' EXIT
"$here/mini-slurm.sh" up "$state" 2 2
cluster_start=$SECONDS
eval "$("$here/mini-slurm.sh" env "$state")"
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  tail -n 12 "$(ls -t ./*.out | head -n 1)" >&2 || true
  exit 1
}

# submit WORDS...: sbatch; prints the job's number.
submit() { sbatch --parsable "$@" | cut -d';' -f1; }

# settle JOB SECONDS: waits until the job is over and prints its state.
settle() {
  local state deadline=$((SECONDS + $2))
  while ((SECONDS < deadline)); do
    state=$(squeue -h -t all -j "$1" -o %T | sort -u | paste -sd, -)
    case $state in *PENDING* | *RUNNING* | *COMPLETING* | *REQUEUED* | '') sleep 0.2 ;; *) echo "$state"; return ;; esac
  done
  echo "still $state after $2 s"
}

field() { scontrol show job "$1" | sed -n "s/.*\b$2=\([^ ]*\).*/\1/p" | head -n 1; }
losses() { sed -n 's/.*"current_steps":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' "$1"; }
expect() { [[ $1 == "$2" ]] || fail "$3: \"$1\" instead of \"$2\""; }

cat >cfg.yaml <<CFG
model_name_or_path: preset:nano
dataset: synthetic
synthetic_rows: 96
cutoff_len: 48
stage: pt
finetuning_type: full
do_train: true
zero_stage: 2
per_device_train_batch_size: 4
learning_rate: 1.0e-3
max_steps: 8
logging_steps: 1
save_strategy: "no"
output_dir: out
CFG

echo "== srun --mpi=pmix"
srun --mpi=pmix --nodes=2 --ntasks=2 --cpus-per-task=1 "$dstrain" cfg.yaml output_dir=srun 2>srun.out || fail "srun"
grep -q 'ranks *2 on 2 hosts, 1 thread each (SLURM_CPUS_PER_TASK)' srun.out || fail "srun did not make two ranks on two hosts"

echo "== train.sbatch, srun and mpirun; the environment reaches every rank"
cat >shows_environment <<'END'
#!/usr/bin/env bash
[[ $1 == config ]] || printf '%s\n' "$DSTRAIN_TEST_WORDS" >"words.${PMIX_RANK:-none}"
exec "$DSTRAIN_TEST_BINARY" "$@"
END
chmod +x shows_environment
# shellcheck disable=SC2016  # nothing is to be expanded here
export DSTRAIN_TEST_BINARY=$dstrain DSTRAIN_TEST_WORDS='two words; "and" $more'
for launcher in pmix mpirun; do
  rm -f words.*
  job=$(DSTRAIN=$work/shows_environment DSTRAIN_LAUNCHER=$launcher \
    submit --nodes=2 --ntasks-per-node=1 --cpus-per-task=1 "$slurm/train.sbatch" cfg.yaml output_dir="$launcher")
  expect "$(settle "$job" 60)" COMPLETED "$launcher"
  expect "$(losses "$launcher/trainer_log.jsonl")" "$(losses srun/trainer_log.jsonl)" "losses by $launcher"
  cmp "$launcher/model.safetensors" srun/model.safetensors || fail "weights by $launcher are others"
  expect "$(cat words.0)$(cat words.1)" "$DSTRAIN_TEST_WORDS$DSTRAIN_TEST_WORDS" "environment by $launcher"
done

echo "== one rank for each GPU; exit codes"
job=$(submit --nodes=2 --gpus-per-node=2 "$slurm/train.sbatch" cfg.yaml output_dir=gpus max_steps=1)
expect "$(settle "$job" 60)" COMPLETED "GPUs"
grep -q 'ranks *4 on 2 hosts' "dstrain-$job.out" || fail "two GPUs on each of two nodes are not four ranks"
job=$(submit "$slurm/train.sbatch" cfg.yaml no_such_key=1)
expect "$(settle "$job" 60)" FAILED "a wrong configuration"
expect "$(field "$job" ExitCode)" 2:0 "exit code of a wrong configuration"
expect "$(field "$job" Restarts)" 0 "restarts of a wrong configuration"

# The interruption. Slurm looks at times every 30 s, counted from its start: a job that begins 18 s into such a period is warned
# about 12 s later. The length of the run follows from the speed of this machine, so that it is still busy then.
echo "== to the end of its time and on"
long=(lr_scheduler_type=constant) # every loss is logged
begin=$(date +%s%N)
srun --mpi=pmix --nodes=2 --ntasks=2 --cpus-per-task=1 "$dstrain" cfg.yaml output_dir=pace "${long[@]}" max_steps=300 2>pace.out || fail "pace"
step_us=$((($(date +%s%N) - begin) / 300000))
steps=$((24000000 / step_us))
restarts=0
for ((attempt = 1; attempt <= 3 && restarts == 0; ++attempt, steps *= 2)); do
  echo "a step takes about $step_us us: $steps steps"
  rm -rf cut
  while (((SECONDS - cluster_start) % 30 != 18)); do sleep 0.2; done
  job=$(submit --nodes=2 --ntasks-per-node=1 --cpus-per-task=1 --time=1 --signal=B:USR1@25 "$slurm/train.sbatch" cfg.yaml \
    output_dir=cut "${long[@]}" max_steps=$steps)
  expect "$(settle "$job" 150)" COMPLETED "the job that was interrupted"
  restarts=$(field "$job" Restarts)
done
((restarts > 0)) || fail "the job was never interrupted: $steps steps were too few"
steps=$((steps / 2))
echo "restarts: $restarts"
grep -q 'asking the ranks for a checkpoint' "dstrain-$job.out" || fail "no warning came"
grep -q 'resumed from cut/checkpoint-' "dstrain-$job.out" || fail "it did not resume"
srun --mpi=pmix --nodes=2 --ntasks=2 --cpus-per-task=1 "$dstrain" cfg.yaml output_dir=whole "${long[@]}" max_steps=$steps 2>whole.out || fail "undisturbed"
expect "$(losses cut/trainer_log.jsonl)" "$(losses whole/trainer_log.jsonl)" "losses of the interrupted run"
cmp cut/model.safetensors whole/model.safetensors || fail "the interrupted run has other weights"

echo "== a job that is cancelled keeps a checkpoint and stays away"
job=$(submit --nodes=2 --ntasks-per-node=1 --cpus-per-task=1 "$slurm/train.sbatch" cfg.yaml output_dir=cancelled max_steps=1000000)
for ((i = 0; i < 150; i++)); do
  grep -q '"current_steps":20,' cancelled/trainer_log.jsonl 2>/dev/null && break
  sleep 0.2
done
scancel "$job"
expect "$(settle "$job" 60)" CANCELLED "scancel"
compgen -G 'cancelled/checkpoint-*/checkpoint.h5' >/dev/null || fail "a cancelled run left no checkpoint"
expect "$(field "$job" Restarts)" 0 "restarts of a cancelled job"

echo "== a sweep, one run of which is interrupted"
printf '# learning rates\n\nlearning_rate=1e-3 max_steps=2\nlearning_rate=2e-3 max_steps=400 "logging_dir=two words"\n' >sweep.txt
job=$(submit --array=1-2 --cpus-per-task=1 "$slurm/array.sbatch" cfg.yaml sweep.txt)
for ((i = 0; i < 150; i++)); do
  grep -q '"current_steps":20,' out/sweep-2/trainer_log.jsonl 2>/dev/null && break
  sleep 0.2
done
scancel --batch --signal=USR1 "${job}_2"
expect "$(settle "$job" 90)" COMPLETED "the sweep"
grep -q 'resumed from out/sweep-2/checkpoint-' "dstrain-sweep-${job}_2.out" || fail "run 2 did not resume"
! grep -q 'restart 1' "dstrain-sweep-${job}_1.out" || fail "run 1 was started again with run 2"
grep -q '^learning_rate: 0.002' out/sweep-2/resolved_config.yaml || fail "run 2 has another learning rate"
grep -q '^logging_dir: "*two words' out/sweep-2/resolved_config.yaml || fail "a quoted value fell apart"
[[ -s out/sweep-1/model.safetensors ]] || fail "run 1 left no model"

echo "== scaling"
job=$(DSTRAIN_SCALING_STEPS=6 submit --nodes=2 --ntasks-per-node=1 --cpus-per-task=1 "$slurm/scaling.sbatch" cfg.yaml)
expect "$(settle "$job" 90)" COMPLETED "scaling"
cat "scaling-$job/table.md"
expect "$(awk -F, 'NF == 6 && $4 + 0 > 0 { print $1 $2 "@" $3 }' "scaling-$job/table.csv" | paste -sd' ' -)" \
  "strong1@1 strong2@2 weak1@1 weak2@2" "rows of the scaling table"
expect "$(head -c 4 "scaling-$job/speedup.png" | tail -c 3)" PNG "the picture"
echo "passed in $SECONDS s"
