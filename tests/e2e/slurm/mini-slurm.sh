#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mini-slurm.sh - a real Slurm of N nodes on one machine, for tests. Root, slurm-wlm and munge are needed; neither /etc nor
# systemd is touched. Every node is a slurmd with a host name, mounts, /dev/shm and folders of its own.
#
#   mini-slurm.sh check              says what is missing and ends with 1, or says nothing
#   mini-slurm.sh up STATE N CPUS    starts it; STATE is a folder that does not exist yet
#   mini-slurm.sh env STATE          lines to eval: where the clients find it
#   mini-slurm.sh down STATE         ends jobs and daemons, removes the folder
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

check() {
  local program
  ((EUID == 0)) || { echo "not root, who alone may start slurmd for others"; return 1; }
  for program in munged slurmctld slurmd sbatch srun scontrol squeue unshare; do
    command -v "$program" >/dev/null || { echo "$program is not installed (scripts/install-deps.sh)"; return 1; }
  done
  unshare --mount --uts --ipc true 2>/dev/null || { echo "this container may not make namespaces"; return 1; }
}

# Ports of this cluster: by the process that starts it, so that two clusters do not meet.
ports() { echo $((20000 + $$ % 1000 * 10)); }

configure() {
  local state=$1 nodes=$2 cpus=$3 host port i
  host=$(hostname -s)
  port=$(ports)
  cat <<CFG
ClusterName=mini
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=$port
SlurmctldPidFile=$state/slurmctld.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdPidFile=$state/slurmd.%n.pid
SlurmdLogFile=$state/slurmd.%n.log
SlurmdSpoolDir=$state/spool.%n
# PMIx makes its folders here: two nodes must not share it
TmpFS=$state/tmp.%n
StateSaveLocation=$state/save
AuthType=auth/munge
# cred_expire is also how long a job that was queued again waits: two minutes by default
AuthInfo=socket=$state/munge/socket,cred_expire=5
CredType=cred/munge
# no systemd, no cgroups: processes are followed by their parents
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,requeue_delay=1
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
InactiveLimit=0
SlurmdTimeout=20
MinJobAge=3600
GresTypes=gpu
CFG
  for ((i = 1; i <= nodes; ++i)); do
    echo "NodeName=node$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=$cpus RealMemory=1000 Gres=gpu:4 State=UNKNOWN"
  done
  echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO"
}

up() {
  local state=$1 nodes=$2 cpus=$3 i
  mkdir "$state"
  mkdir "$state/save" "$state/munge"
  chmod 711 "$state/munge" # munged and its clients ask for exactly this
  (umask 077 && head -c 1024 /dev/urandom >"$state/munge/key")
  configure "$state" "$nodes" "$cpus" >"$state/slurm.conf"
  echo "Name=gpu File=/dev/tty[0-3]" >"$state/gres.conf" # four pretended GPUs a node
  munged --force --key-file="$state/munge/key" --socket="$state/munge/socket" --pid-file="$state/munge/pid" \
    --log-file="$state/munge/log" --seed-file="$state/munge/seed" 2>/dev/null
  export SLURM_CONF=$state/slurm.conf
  slurmctld
  for ((i = 1; i <= nodes; ++i)); do
    mkdir "$state/spool.node$i" "$state/tmp.node$i"
    # Without a /dev/shm of its own the shared memory of Open MPI's "nodes" collides.
    unshare --mount --uts --ipc sh -ec "hostname node$i; mount -t tmpfs shm /dev/shm; exec slurmd -N node$i"
  done
  for ((i = 0; i < 150; ++i)); do
    if (($(sinfo -h -N -o %T 2>/dev/null | grep -c idle || true) == nodes)); then return 0; fi
    sleep 0.1
  done
  echo "the nodes did not become idle:" >&2
  sinfo -N -l >&2 || true
  tail -n 5 "$state"/slurm*.log >&2
  return 1
}

down() {
  local state=$1 pid file
  local -a pids=()
  export SLURM_CONF=$state/slurm.conf
  scancel -u root 2>/dev/null || true
  for file in "$state"/slurmd.*.pid "$state/slurmctld.pid" "$state/munge/pid"; do
    if [[ -s $file ]] && pid=$(<"$file") && [[ $pid =~ ^[0-9]+$ ]]; then pids+=("$pid"); fi
  done
  sleep 0.5
  ((${#pids[@]} == 0)) || kill -TERM "${pids[@]}" 2>/dev/null || true
  for _ in {1..50}; do
    if ((${#pids[@]} == 0)) || ! kill -0 "${pids[@]}" 2>/dev/null; then break; fi
    sleep 0.1
  done
  rm -rf "$state"
}

case ${1:-} in
  check) check ;;
  up) up "$2" "$3" "$4" ;;
  env)
    echo "export SLURM_CONF=$2/slurm.conf OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
    echo "export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1"
    # all nodes are this machine: its loopback is the network between them
    echo "export OMPI_MCA_btl_tcp_if_include=127.0.0.0/8 OMPI_MCA_oob_tcp_if_include=127.0.0.0/8"
    ;;
  down) down "$2" ;;
  *)
    sed -n '3,11p' "$0"
    exit 2
    ;;
esac
