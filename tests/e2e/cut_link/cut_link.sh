#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cut_link.sh DSTRAIN: two hosts as network namespaces on one machine, two ranks on each, training; the second host's link is cut.
# The ranks of the first must name those of the other before the timeout and at it, the job must end soon after it, and no
# process may be left on either host. Ends with 77, and says why, where hosts cannot be made here.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
hosts=$here/../hosts/hosts.sh
dstrain=$(readlink -f "$1")
export HOSTS_STATE=${HOSTS_STATE:-/tmp/dstrain-cut-link-$$}
work=$HOSTS_STATE.work
timeout_s=8

bash "$hosts" check || exit 77
command -v sshd > /dev/null || [[ -x /usr/sbin/sshd ]] || { echo "no sshd (openssh-server)"; exit 77; }
down() { bash "$hosts" down 2> /dev/null; rm -rf "$work"; }
trap down EXIT
bash "$hosts" up 2 2 && bash "$hosts" sshd || { echo "FAILED: no hosts"; exit 1; }
mkdir -p "$work"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_plm=rsh
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24 OMP_NUM_THREADS=1
bash "$hosts" exec node1 mpirun --hostfile "$HOSTS_STATE/hostfile" "$dstrain" train --model_name_or_path preset:nano \
  --dataset synthetic --synthetic_rows 4096 --cutoff_len 48 --stage pt --finetuning_type full --do_train --max_steps 1000000 \
  --logging_steps 1 --save_steps 1000000 --zero_stage 3 --per_device_train_batch_size 1 --threads 1 --ddp_timeout $timeout_s \
  --output_dir "$work/out" > "$work/log" 2>&1 < /dev/null &
job=$!
steps_done() { if [[ -e $work/out/trainer_log.jsonl ]]; then wc -l < "$work/out/trainer_log.jsonl"; else echo 0; fi; }
for _ in $(seq 600); do
  [[ $(steps_done) -ge 3 ]] && break
  kill -0 $job 2> /dev/null || break
  sleep 0.1
done
[[ $(steps_done) -ge 3 ]] || { cat "$work/log"; echo "FAILED: the job did not train"; exit 1; }

bash "$hosts" cut node2
begin=$SECONDS
while kill -0 $job 2> /dev/null && ((SECONDS - begin < timeout_s + 22)); do sleep 0.1; done
ended="after $((SECONDS - begin)) s"
kill -0 $job 2> /dev/null && { kill -KILL $job; ended=never; }
wait $job
code=$?
ranks_left() { pgrep -fc "train .*--output_dir $work/out" || true; }
for _ in $(seq 150); do [[ $(ranks_left) == 0 ]] && break; sleep 0.1; done
left=$(ranks_left)

grep -E "^(warning|error): rank" "$work/log"
echo "the job ended $ended with exit code $code; $left of its processes are left"
failed=0
for kind in warning error; do
  grep -qE "^$kind: rank 0@node1 waits [0-9.]+ s in .*; ranks 2-3 \(node2\) do not answer" "$work/log" ||
    { echo "FAILED: no $kind names ranks 2 and 3 on node2"; failed=1; }
done
[[ $ended != never && $code != 0 ]] || { echo "FAILED: the job did not end by itself"; failed=1; }
[[ $left == 0 ]] || { echo "FAILED: processes are left"; failed=1; }
[[ $failed == 0 ]] || { echo "--- what it said"; cat "$work/log"; }
exit $failed
