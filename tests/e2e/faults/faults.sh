#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# faults.sh - what goes wrong between hosts, provoked on network namespaces: each fault must be named in one message, with
# the right exit code, in less than 30 s.
#
#   faults.sh DSTRAIN CASE...    CASE: a function fault_<CASE> below, `all`, or `clean [N]`: N starts that say nothing
#   faults.sh DSTRAIN list
# Ends with 77 where hosts cannot be made here. Prints each fault's message: what docs/doctor.md quotes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
hosts=$here/../hosts/hosts.sh
dstrain=$(readlink -f "$1")
shift
export HOSTS_STATE=${HOSTS_STATE:-/tmp/dstrain-faults-$$}
work=$HOSTS_STATE.work
limit_s=30

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_plm=rsh OMPI_MCA_plm_rsh_no_tree_spawn=1 OMP_NUM_THREADS=1

on() { bash "$hosts" exec "$@"; }
pid_of() { cat "$HOSTS_STATE/$1.pid"; }

# up N: hosts with sshd. They see the same files; node1 is where jobs are started.
up() {
  bash "$hosts" up "$1" 1
  bash "$hosts" sshd
  mkdir -p "$work"
}
down() {
  bash "$hosts" down 2>/dev/null || true
  rm -rf "$work"
}
trap down EXIT

config() { # [KEY=VALUE lines]
  cat >"$work/cfg.yaml" <<CFG
model_name_or_path: preset:nano
dataset: synthetic
stage: pt
finetuning_type: full
do_train: true
cutoff_len: 32
synthetic_rows: 16
max_steps: 1
threads: 1
per_device_train_batch_size: 1
overwrite_output_dir: true
output_dir: $work/out
save_strategy: ${1:-"\"no\""}
CFG
}

# job ARGS..: mpirun over all hosts, from node1; NETWORK chooses MPI's ("" leaves the choice to Open MPI)
job() {
  local choice=()
  [ -z "${NETWORK-10.77.0.0/24}" ] || choice=(--mca btl_tcp_if_include "${NETWORK-10.77.0.0/24}")
  on node1 mpirun --hostfile "$HOSTS_STATE/hostfile" --mca oob_tcp_if_include 10.77.0.0/24 "${choice[@]}" "$@"
}

# `timeout` starts programs only: job as one.
export -f on job
export hosts dstrain work
spmd=(bash -c 'job "$@"' job)

# expect CODE TEXT.. -- COMMAND..: runs, and looks for exit code and every text in what it says
expect() {
  local code=$1 texts=() begin=$SECONDS status=0 text
  shift
  while [ "$1" != -- ]; do texts+=("$1"); shift; done
  shift
  timeout -k 2 $((limit_s + 5)) "$@" >"$work/said" 2>&1 </dev/null || status=$?
  echo "== $fault: exit code $status after $((SECONDS - begin)) s"
  grep -E "^(error|warning):" -A 1 "$work/said" | grep -vE "^--$|^-----" || true
  if [ "$status" != "$code" ] || ((SECONDS - begin >= limit_s)); then
    echo "expected exit code $code in less than $limit_s s; it said:" >&2
    cat "$work/said" >&2
    exit 1
  fi
  for text in "${texts[@]}"; do
    grep -qF -- "$text" "$work/said" && continue
    echo "not said: $text" >&2
    cat "$work/said" >&2
    exit 1
  done
}
fault_typo() {
  up 2
  printf 'node1 slots=1\nnode2 slots-1\n' >"$work/hosts"
  expect 2 "hosts:2:7" "slots=1" -- "$dstrain" doctor --hostfile "$work/hosts"
}

fault_unknown_host() {
  up 2
  printf 'node1 slots=1\nnode9 slots=1\n' >"$work/hosts"
  expect 3 "node9" "Could not resolve hostname node9" "DNS or /etc/hosts" -- bash "$hosts" exec node1 "$dstrain" doctor --hostfile "$work/hosts"
}

fault_ssh_refused() {
  up 3
  local listener
  listener=$(nsenter -t "$(pid_of node3)" -n ss -Hltnp 'sport = :22' | grep -o 'pid=[0-9]*' | head -1)
  kill "${listener#pid=}"
  expect 3 "ssh does not start programs on node3" "Connection refused" "start sshd" -- \
    bash "$hosts" exec node1 "$dstrain" doctor --hostfile "$HOSTS_STATE/hostfile"
}

fault_host_down() {
  up 3
  bash "$hosts" cut node3
  expect 3 "ssh does not start programs on node3" -- bash "$hosts" exec node1 "$dstrain" doctor --hostfile "$HOSTS_STATE/hostfile"
}

# One rank stands still between MPI's start and its first message.
fault_missing_rank() {
  up 3
  config
  cat >"$work/stop.sh" <<RUN
#!/bin/sh
[ "\$(hostname)" != node3 ] && exec "$dstrain" "\$@"
exec env LD_PRELOAD=$work/stop.so "$dstrain" "\$@"
RUN
  cat >"$work/stop.c" <<'SRC'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  int (*real)(int*, char***, int, int*) = (int (*)(int*, char***, int, int*))dlsym(RTLD_NEXT, "MPI_Init_thread");
  int result = real(argc, argv, required, provided);
  raise(SIGSTOP);
  return result;
}
SRC
  gcc -shared -fPIC -o "$work/stop.so" "$work/stop.c" -ldl
  chmod +x "$work/stop.sh"
  expect 3 "rank 2@node3 sent nothing in 15 s" -- "${spmd[@]}" "$work/stop.sh" "$work/cfg.yaml"
}

fault_other_binary() {
  up 3
  config
  cp "$dstrain" "$work/other"
  local id
  id=$(readelf -n "$dstrain" | sed -n 's/.*Build ID: //p')
  python3 - "$work/other" "$id" <<'PY'
import sys
path, build = sys.argv[1], bytes.fromhex(sys.argv[2])
data = open(path, "rb").read()
assert data.count(build) == 1
open(path, "wb").write(data.replace(build, bytes(len(build))))
PY
  printf '#!/bin/sh\n[ "$(hostname)" = node2 ] && exec %s "$@"\nexec %s "$@"\n' "$work/other" "$dstrain" >"$work/run.sh"
  chmod +x "$work/run.sh"
  expect 3 "rank 1@node2 runs another build of dstrain than rank 0" "install the same binary" -- \
    "${spmd[@]}" "$work/run.sh" "$work/cfg.yaml"
}

fault_dead_interface() {
  DEAD_NIC=1 up 3
  config
  export NETWORK=
  expect 3 "eth1 of node2 (10.78.0.12)" "OMPI_MCA_btl_tcp_if_include=10.77.0.0/24" -- \
    "${spmd[@]}" "$dstrain" "$work/cfg.yaml"
}

fault_slow_link() {
  up 4
  bash "$hosts" rate node3 50mbit
  expect 0 "every link of node3 is slow" "eth0 of node3" -- "${spmd[@]}" "$dstrain" doctor
}

# The switch takes smaller packets than the hosts send, on MPI's network alone.
fault_mtu() {
  up 3
  nsenter -t "$(pid_of switch)" -n ip link set t2 mtu 1280
  # Without this the kernel moves bundles of packets that no port takes for too long.
  local host
  for host in node1 node2 node3; do
    nsenter -t "$(pid_of "$host")" -n python3 - <<'PY'
import array, fcntl, socket, struct
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for command in (0x1f, 0x24, 0x2c):  # ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO
    value = array.array("B", struct.pack("II", command, 0))
    fcntl.ioctl(asked, 0x8946, struct.pack("16sP", b"eth1", value.buffer_info()[0]))
PY
  done
  config
  export NETWORK=10.78.0.0/24
  expect 3 "small messages arrive and large ones do not" "MTU" -- "${spmd[@]}" "$dstrain" "$work/cfg.yaml"
}

fault_output_folder() {
  up 3
  config steps
  mkdir -p "$work/out"
  bash "$hosts" hide node3 "$work/out"
  expect 3 "output_dir '$work/out' of node1 is not the folder that node3 sees" "checkpoint_writers: single" -- \
    "${spmd[@]}" "$dstrain" "$work/cfg.yaml"
}

fault_full_disk() {
  up 2
  config steps
  mkdir -p "$work/out"
  local host
  for host in node1 node2; do nsenter -t "$(pid_of "$host")" -m -- mount -t tmpfs -o size=64k small "$work/out"; done
  expect 3 "a checkpoint needs" "are free" -- "${spmd[@]}" "$dstrain" "$work/cfg.yaml"
}

fault_clock() {
  up 3
  config
  gcc -shared -fPIC -o "$work/clock.so" "$here/clock_offset.c" -ldl
  printf '#!/bin/sh\n[ "$(hostname)" = node2 ] && export CLOCK_OFFSET_S=3600 LD_PRELOAD=%s\nexec %s "$@"\n' "$work/clock.so" "$dstrain" >"$work/run.sh"
  chmod +x "$work/run.sh"
  expect 0 "the hosts' clocks differ by 60 min (node2 is 60 min ahead)" "timedatectl" -- \
    "${spmd[@]}" "$work/run.sh" "$work/cfg.yaml"
}

# A host with InfiniBand, as far as preflight looks: /sys/class with one more entry.
fault_memlock() {
  up 2
  config
  mkdir -p "$work/class/infiniband/mlx5_0/ports/1"
  cp -a /sys/class/. "$work/class/" 2>/dev/null || true
  echo "4: ACTIVE" >"$work/class/infiniband/mlx5_0/ports/1/state"
  nsenter -t "$(pid_of node2)" -m -- mount --bind "$work/class" /sys/class
  printf '#!/bin/sh\nulimit -l 64\nexec %s "$@"\n' "$dstrain" >"$work/run.sh"
  chmod +x "$work/run.sh"
  expect 0 "a process may lock 64.0 KiB of memory" "(node2)" "memlock unlimited" -- \
    "${spmd[@]}" "$work/run.sh" "$work/cfg.yaml"
}

fault_gateway() {
  up 3
  config
  local host
  for host in node1 node2 node3; do
    nsenter -t "$(pid_of "$host")" -n sh -c 'ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up'
  done
  export NETWORK=
  expect 3 "docker0" "172.17.0.1" "OMPI_MCA_btl_tcp_if_include=10.77.0.0/24" -- \
    "${spmd[@]}" "$dstrain" "$work/cfg.yaml"
}

# What srun --mpi=none leaves behind: its variables and no PMI.
fault_no_pmi() {
  mkdir -p "$work"
  config
  expect 3 "srun started 4 processes that MPI cannot join" "srun --mpi=pmix" -- \
    env SLURM_PROCID=0 SLURM_STEP_ID=0 SLURM_JOB_ID=7 SLURM_STEP_NUM_TASKS=4 SLURM_NTASKS=4 "$dstrain" "$work/cfg.yaml"
}

# node_by_hand HOST NODE_RANK: the same command on every node, without ssh
node_by_hand() {
  bash "$hosts" exec "$1" env DSTRAIN_TOKEN=a-token-for-this-test-alone "$dstrain" launch --nnodes 3 --node_rank "$2" \
    --nproc_per_node 1 --master_addr node1 --master_port 29555 --notice_after 5 --join_timeout 15 "$work/cfg.yaml"
}
export -f node_by_hand

fault_missing_node() {
  up 2
  config
  node_by_hand node2 1 >"$work/node2" 2>&1 &
  expect 3 "node 2" -- bash -c 'node_by_hand node1 0'
  wait || true
}

fault_same_node_rank() {
  up 3
  config
  node_by_hand node2 1 >"$work/node2" 2>&1 &
  (sleep 2; node_by_hand node3 1) >"$work/node3" 2>&1 &
  expect 3 "node 1" "node3" -- bash -c 'node_by_hand node1 0'
  wait || true
}

fault_port_taken() {
  up 1
  config
  bash "$hosts" exec node1 python3 -c 'import socket, time
s = socket.socket(); s.bind(("", 29555)); s.listen(); time.sleep(60)' &
  sleep 1
  expect 3 "29555" -- bash -c 'node_by_hand node1 0'
}

# A rank on another host breaks in the middle of a run: its message must arrive on the launching side.
fault_failing_rank() {
  up 3
  config
  local i
  for i in 1 2 3; do
    expect 1 "(shard-1.h5; 2@node3)" -- "${spmd[@]}" "${FAILING_JOB:-$(dirname "$dstrain")/tests/distributed/comm/comm_failing_job}" throw
  done
}

clean() {
  local n=$1 i begin=$SECONDS
  up 4
  config
  for i in $(seq "$n"); do
    job "$dstrain" "$work/cfg.yaml" >"$work/said" 2>&1 </dev/null || { cat "$work/said"; exit 1; }
    if grep -nE "^(warning|error):" "$work/said"; then
      echo "false alarm in start $i" >&2
      exit 1
    fi
  done
  echo "== $n clean starts on 4 hosts without an alarm in $((SECONDS - begin)) s"
}

bash "$hosts" check || exit $?
all=$(declare -F | sed -n 's/^declare -f fault_//p')
case ${1:-all} in
  list) echo "$all" ;;
  clean) fault=clean; clean "${2:-5}" ;;
  *)
    [ "${1:-all}" != all ] || set -- $all
    for fault in "$@"; do
      (
        trap down EXIT
        "fault_$fault"
      )
    done
    ;;
esac
