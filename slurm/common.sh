# SPDX-License-Identifier: Apache-2.0
# Sourced by the sbatch files beside it: which program, how many ranks, which launcher, and what happens at the end of the time.
# shellcheck shell=bash disable=SC2034  # what functions set is for the files that source this one
#
# Settings, all from the environment (sbatch --export=ALL, the default, hands them on):
#   DSTRAIN                 the program; else `dstrain` on PATH, else build/{cuda,cpu,ci}/dstrain of this tree
#   DSTRAIN_CONTAINER       an Apptainer image; the program is then the one inside it
#   DSTRAIN_RANKS_PER_NODE  ranks on each node; else as `count_ranks` says
#   DSTRAIN_LAUNCHER        pmix | pmi2 | mpirun; else pmix where srun has it, else mpirun
#   DSTRAIN_SRUN_ARGS       further words for srun;  DSTRAIN_MPIRUN_ARGS  for mpirun
#   DSTRAIN_MAX_RESTARTS    after so many restarts a job that stopped in good order is not queued again

say() { printf 'slurm: %s\n' "$*" >&2; }

give_up() {
  printf 'error: %s\n' "$1" >&2
  [[ -z ${2:-} ]] || printf '  hint: %s\n' "$2" >&2
  exit 2
}

# find_dstrain TREE: fills the array `dstrain` with the words that start the program.
find_dstrain() {
  local candidate
  if [[ -n ${DSTRAIN_CONTAINER:-} ]]; then
    [[ -r $DSTRAIN_CONTAINER ]] || give_up "DSTRAIN_CONTAINER=$DSTRAIN_CONTAINER cannot be read on $(hostname)"
    dstrain=(apptainer exec)
    (($(gpus_on_node) > 0)) && dstrain+=(--nv)
    dstrain+=("$DSTRAIN_CONTAINER" "${DSTRAIN:-dstrain}")
    return
  fi
  for candidate in "${DSTRAIN:-}" "$(command -v dstrain || true)" "$1"/build/{cuda,cpu,ci}/dstrain; do
    if [[ -n $candidate && -x $candidate && ! -d $candidate ]]; then
      dstrain=("$candidate")
      return
    fi
    [[ $candidate != "${DSTRAIN:-}" || -z $candidate ]] ||
      give_up "DSTRAIN=$candidate is no program on $(hostname)" "the path must be seen from every node"
  done
  give_up "dstrain is neither on PATH nor built in $1/build" "set DSTRAIN=/path/to/dstrain, seen from every node"
}

gpus_on_node() {
  local gpus=${SLURM_GPUS_ON_NODE:-0}
  [[ $gpus =~ ^[0-9]+$ ]] || gpus=$(tr ',' '\n' <<<"$gpus" | awk -F: '{n += $NF} END {print n + 0}') # "gpu:a100:4"
  echo "$gpus"
}

# count_ranks: sets `nodes`, `ranks`, `ranks_per_node` by what the allocation has:
# one rank for each GPU, unless the user said how many tasks; without GPUs as many as tasks, one a node where nothing was said.
count_ranks() {
  local gpus
  nodes=${SLURM_JOB_NUM_NODES:-${SLURM_NNODES:-1}}
  gpus=$(gpus_on_node)
  if [[ -n ${DSTRAIN_RANKS_PER_NODE:-} ]]; then
    ranks_per_node=$DSTRAIN_RANKS_PER_NODE
  elif [[ -n ${SLURM_NTASKS_PER_NODE:-} ]]; then
    ranks_per_node=$SLURM_NTASKS_PER_NODE
  elif [[ -n ${SLURM_NTASKS:-} ]]; then
    ranks=$SLURM_NTASKS
    ranks_per_node=$(((ranks + nodes - 1) / nodes))
    return
  elif ((gpus > 0)); then
    ranks_per_node=$gpus
  else
    ranks_per_node=1
  fi
  [[ $ranks_per_node =~ ^[1-9][0-9]*$ ]] || give_up "\"$ranks_per_node\" is no number of ranks per node"
  ranks=$((nodes * ranks_per_node))
}

# cores_per_rank: as many as --cpus-per-task says, else the cores of this node shared out; at least one.
cores_per_rank() {
  local cores=${SLURM_CPUS_PER_TASK:-$((${SLURM_CPUS_ON_NODE:-1} / ranks_per_node))}
  echo $((cores > 0 ? cores : 1))
}

choose_launcher() {
  launcher=${DSTRAIN_LAUNCHER:-}
  case $launcher in
    pmix | pmi2 | mpirun) return ;;
    '') ;;
    *) give_up "DSTRAIN_LAUNCHER=$launcher is unknown" "pmix, pmi2 or mpirun" ;;
  esac
  # shellcheck disable=SC2076  # a word of the list, not a pattern
  if [[ " $(srun --mpi=list 2>&1 | tr -s '\n\t,' ' ') " =~ " pmix " ]]; then
    launcher=pmix
  elif command -v mpirun >/dev/null; then
    launcher=mpirun
  else
    give_up "srun has no PMIx, and there is no mpirun on PATH" "load the module of the MPI that dstrain was built with"
  fi
}

# launch_line RANKS NODES: fills the array `launch` with the words before the program.
# Every variable of the job reaches every rank: srun by --export=ALL, mpirun's daemons are started by srun and inherit it.
launch_line() {
  local -a more
  local per_node=$((($1 + $2 - 1) / $2))
  if [[ $launcher == mpirun ]]; then
    read -ra more <<<"${DSTRAIN_MPIRUN_ARGS:-}"
    # Open MPI counts slots by these variables; a job that asked for GPUs and not for tasks would have one slot a node.
    launch=(env -u SLURM_CPUS_PER_TASK "SLURM_TASKS_PER_NODE=$per_node(x$2)" "SLURM_NTASKS=$1" "SLURM_NPROCS=$1"
      "OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(cores_per_rank)}" mpirun -np "$1" --map-by "ppr:$per_node:node" --bind-to none "${more[@]}")
    return
  fi
  read -ra more <<<"${DSTRAIN_SRUN_ARGS:-}"
  # Since 22.05 a step does not inherit --cpus-per-task. One rank that fails ends all.
  launch=(srun "--mpi=$launcher" "--nodes=$2" "--ntasks=$1" "--ntasks-per-node=$per_node" "--cpus-per-task=$(cores_per_rank)"
    --distribution=block --kill-on-bad-exit=1 --export=ALL)
  if ((per_node > ${SLURM_CPUS_ON_NODE:-per_node})); then
    say "$per_node ranks of a node share ${SLURM_CPUS_ON_NODE} cores: ask for more by --cpus-per-task or --exclusive"
    launch+=(--overcommit)
  fi
  launch+=("${more[@]}")
}

# output_dir_of WORDS...: where a run with these words writes. The program is asked, so that every dialect is understood.
output_dir_of() {
  "${dstrain[@]}" config "$@" --yaml | sed -n '/^output_dir: */{s///; s/  #.*//; s/^"\(.*\)"$/\1/; p}'
}

# add_resume WORDS...: fills `words`; a job that Slurm started again goes on from its newest checkpoint, where it has one.
add_resume() {
  words=("$@")
  ((${SLURM_RESTART_COUNT:-0} > 0)) || return 0
  local folder
  folder=$(output_dir_of "$@")
  if compgen -G "$folder/checkpoint-*/checkpoint.h5" >/dev/null; then
    words+=(resume_from_checkpoint=true)
  else
    say "restart $SLURM_RESTART_COUNT: no checkpoint in '$folder' yet, starting anew"
  fi
}

# run_job COMMAND...: runs it to its end and sets `code`. Slurm's warning (--signal=B:USR1@N) goes on to the ranks: they agree at
# the end of a step, write a checkpoint and end with 75. SIGTERM (scancel, preemption) reaches the ranks from Slurm itself.
run_job() {
  local pid interrupted
  ended_by_slurm=0
  "$@" &
  pid=$!
  trap 'interrupted=1; say "warned: the time is nearly over, asking the ranks for a checkpoint"; pass_on "$pid"' USR1
  trap 'interrupted=1; ended_by_slurm=1' TERM
  while :; do
    interrupted=0
    wait "$pid" && code=0 || code=$?
    ((interrupted)) || break # else `wait` may have returned for the signal; the shell keeps the command's own code
  done
  trap - USR1 TERM
}

# mpirun and srun both hand SIGUSR1 to their ranks.
pass_on() { kill -USR1 "$1" 2>/dev/null || true; }

# this_job: its name for Slurm's commands; the bare number of an array's last task means the whole array.
this_job() { echo "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"; }

# finish: ends with the run's exit code. 75 (stopped in good order, a checkpoint is written): the job goes back into the queue.
finish() {
  local state
  if ((code == 75)); then
    state=$(squeue -h -j "$(this_job)" -o %T 2>/dev/null || true)
    if ((ended_by_slurm)) || [[ $state != RUNNING ]]; then
      say "stopped by Slurm (${state:-unknown}); a checkpoint is written; submit again to go on"
    elif ((${SLURM_RESTART_COUNT:-0} >= ${DSTRAIN_MAX_RESTARTS:-1000000})); then
      say "stopped after DSTRAIN_MAX_RESTARTS=$DSTRAIN_MAX_RESTARTS restarts; a checkpoint is written; submit again to go on"
    elif scontrol requeue "$(this_job)"; then
      say "stopped in good order; the job is in the queue again"
      exit 75
    else
      say "Slurm would not queue the job again; a checkpoint is written; submit again to go on"
    fi
  fi
  exit "$code"
}
