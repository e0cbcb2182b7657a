#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# hosts.sh - several hosts on one machine, for tests: each has its own network, host name, processesand /dev/shm,
# and they are joined by a switch in a namespace of its own, so that the machine's network is never touched. Needs root,
# iproute2 and util-linux; sshd for `sshd`.
#
#   hosts.sh check             says what is missing and ends with 77 where hosts cannot be made here
#   hosts.sh up N [SLOTS]      hosts node1 .. nodeN; eth0 is 10.77.0.1K, eth1 10.78.0.1K; writes $HOSTS_STATE/hostfile.
#                              DEAD_NIC=1: eth1 leads nowhere
#   hosts.sh hide HOST DIR..   empty folders in place of these, on HOST alone
#   hosts.sh sshd              sshd on every host, and a ~/.ssh for root there that logs in without questions
#   hosts.sh exec HOST CMD..   runs a command on a host
#   hosts.sh rate HOST RATE    caps eth0 of a host, e.g. 20mbit
#   hosts.sh cut HOST          unplugs eth0 of a host
#   hosts.sh down
set -euo pipefail
HOSTS_STATE=${HOSTS_STATE:-/tmp/dstrain-hosts}
pid_of() { cat "$HOSTS_STATE/$1.pid" 2>/dev/null || { echo "no host $1" >&2; exit 255; }; }
on_switch() { nsenter -t "$(pid_of switch)" -n -- "$@"; }
enter() {
  local host=$1 pid; shift
  pid=$(pid_of "$host")
  exec nsenter -t "$pid" -m -u -i -n -p --wd="$PWD" -- "$@"
}

check() {
  ((EUID == 0)) || { echo "not root"; exit 77; }
  local tool
  for tool in ip nsenter unshare mount; do command -v "$tool" >/dev/null || { echo "no $tool (iproute2, util-linux)"; exit 77; }; done
  unshare --net --uts --ipc --mount --pid --fork true 2>/dev/null || { echo "namespaces are not allowed here"; exit 77; }
  unshare --net sh -ec 'ip link add br0 type bridge; ip link add v0 type veth peer name v1' 2>/dev/null ||
    { echo "network namespaces have no bridge or veth here"; exit 77; }
}

# NAME UNSHARE-FLAGS...: a process that owns the namespaces, sleeps and, being pid 1 there, reaps.
hold() {
  local name=$1 outer inner='' child; shift
  setsid unshare "$@" --fork --kill-child=KILL -- bash -c 'while :; do sleep 3600 & wait $!; done' </dev/null >/dev/null 2>&1 &
  outer=$!
  for _ in $(seq 500); do
    for child in $(cat "/proc/$outer/task/$outer/children" 2>/dev/null); do
      [ "$(cat "/proc/$child/comm" 2>/dev/null)" = bash ] && inner=$child
    done
    [ -n "$inner" ] && break
    sleep 0.02
  done
  [ -n "$inner" ] || { echo "cannot start $name" >&2; exit 1; }
  echo "$inner" >"$HOSTS_STATE/$name.pid"
}

add_host() { # NUMBER
  local i=$1 host=node$1 pid
  hold "$host" --net --uts --ipc --mount --pid
  pid=$(pid_of "$host")
  on_switch ip link add "s$i" type veth peer name eth0 netns "$pid"
  on_switch ip link set "s$i" master br0 up
  on_switch ip link add "t$i" type veth peer name eth1 netns "$pid"
  [ "${DEAD_NIC:-0}" = 1 ] || on_switch ip link set "t$i" master br1
  on_switch ip link set "t$i" up
  nsenter -t "$pid" -m -u -i -n -p -- sh -ec "
    mount -t proc proc /proc
    ip link set lo up
    ip addr add 10.77.0.$((10 + i))/24 dev eth0; ip link set eth0 up
    ip addr add 10.78.0.$((10 + i))/24 dev eth1; ip link set eth1 up
    hostname $host
    mount --bind $HOSTS_STATE/hosts /etc/hosts
    mount -t tmpfs shm /dev/shm"
}

up() {
  local n=$1 slots=${2:-1} i
  [ ! -e "$HOSTS_STATE/switch.pid" ] || { echo "already up in $HOSTS_STATE" >&2; exit 1; }
  mkdir -p "$HOSTS_STATE"
  {
    echo "127.0.0.1 localhost"
    for i in $(seq "$n"); do echo "10.77.0.$((10 + i)) node$i"; done
  } >"$HOSTS_STATE/hosts"
  for i in $(seq "$n"); do echo "node$i slots=$slots"; done >"$HOSTS_STATE/hostfile"
  hold switch --net --pid
  on_switch sh -ec "ip link set lo up
    ip link add br0 type bridge; ip link set br0 up
    ip link add br1 type bridge; ip link set br1 up"
  for i in $(seq "$n"); do add_host "$i"; done
}

hide() {
  local pid dir; pid=$(pid_of "$1"); shift
  for dir in "$@"; do nsenter -t "$pid" -m -- mount -t tmpfs hidden "$dir"; done
}

start_sshd() {
  local host sshd; sshd=$(command -v sshd || echo /usr/sbin/sshd)
  mkdir -p /run/sshd "$HOSTS_STATE/ssh"
  chmod 700 "$HOSTS_STATE/ssh"
  [ -e "$HOSTS_STATE/ssh/id_ed25519" ] || ssh-keygen -q -t ed25519 -N '' -f "$HOSTS_STATE/ssh/id_ed25519"
  cp "$HOSTS_STATE/ssh/id_ed25519.pub" "$HOSTS_STATE/ssh/authorized_keys"
  cat >"$HOSTS_STATE/ssh/config" <<CFG
Host *
  IdentityFile $HOSTS_STATE/ssh/id_ed25519
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
CFG
  for host in "$HOSTS_STATE"/node*.pid; do
    host=$(basename "$host" .pid)
    # root's own ~/.ssh stays as it is: another one lies over it on the hosts alone
    nsenter -t "$(pid_of "$host")" -m -- sh -c "mkdir -p /root/.ssh && mount --bind $HOSTS_STATE/ssh /root/.ssh"
    nsenter -t "$(pid_of "$host")" -m -u -i -n -p -- "$sshd" -f /dev/null -o Port=22 \
      -o HostKey="$HOSTS_STATE/ssh/id_ed25519" -o AuthorizedKeysFile="$HOSTS_STATE/ssh/authorized_keys" \
      -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no -o StrictModes=no -o UsePAM=no \
      -o PidFile=none
  done
}

case ${1:-} in
  check) check ;;
  up) shift; up "$@" ;;
  hide) shift; hide "$@" ;;
  sshd) start_sshd ;;
  exec) shift; enter "$@" ;;
  rate)
    on_switch tc qdisc add dev "s${2#node}" root tbf rate "$3" burst 64kb latency 50ms
    nsenter -t "$(pid_of "$2")" -n tc qdisc add dev eth0 root tbf rate "$3" burst 64kb latency 50ms ;;
  cut) on_switch ip link set "s${2#node}" down ;;
  down)
    for file in "$HOSTS_STATE"/*.pid; do
      [ -e "$file" ] || continue
      kill -KILL "$(cat "$file")" 2>/dev/null || true
      rm -f "$file"
    done
    rm -rf "$HOSTS_STATE" ;;
  *) sed -n '3,17p' "$0"; exit 2 ;;
esac
