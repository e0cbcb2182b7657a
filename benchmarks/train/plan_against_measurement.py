#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Planned memory beside what processes really hold, for many configurations. Needs nothing but Python.

usage: plan_against_measurement.py --dstrain build/cpu/dstrain [--work DIR] [--only SUBSTRING] [--model DIR --stages 3]
With --model: that folder's weights are loaded by 1, 2 and 4 ranks of this machine instead, and the sum over ranks is shown too.
Each configuration trains a few steps while every rank's PSS (private pages plus own share of shared ones, from smaps_rollup) is
sampled every 20 ms; the table shows the largest rank's peak beside `dstrain plan --json`. A row is good when the two differ by at
most 3 % + 64 MiB. Exit code 1 where one is not.
"""
import argparse, json, os, pathlib, shutil, subprocess, sys, time

MIB = 1 << 20
CASES = []  # (preset, ranks, stage, dtype, checkpointing, rows per rank, cutoff_len)
for ranks in (1, 2, 4):
    for stage in (0, 1, 2, 3):
        CASES.append(("15m", ranks, stage, "fp32", True, 4, 256))
for stage in (0, 1, 2, 3):
    CASES.append(("15m", 2, stage, "bf16", False, 8, 256))
CASES += [("nano", 1, 0, "fp32", True, 2, 128), ("nano", 3, 3, "bf16", True, 2, 128), ("15m", 3, 3, "fp32", False, 2, 512),
          ("110m", 1, 0, "fp32", True, 2, 256), ("110m", 1, 0, "bf16", False, 2, 256), ("110m", 2, 1, "fp32", True, 1, 256),
          ("110m", 2, 2, "bf16", True, 2, 256), ("110m", 2, 3, "fp32", False, 2, 256), ("110m", 4, 3, "bf16", True, 1, 256)]


def ranks_of(marker):
    """Process ids whose command line holds `marker` and that are no launcher."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if marker.encode() in words and not words[0].endswith((b"mpirun", b"env")):
                yield int(entry)


def pss(pid):
    try:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def measure(args, case):
    preset, ranks, stage, dtype, checkpointing, rows, cutoff = case
    work = pathlib.Path(args.work)
    out = work / "run"
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    config = work / "memory.yaml"
    model = preset if os.path.isdir(preset) else f"preset:{preset}"
    config.write_text(f"""model_name_or_path: {model}
dataset: synthetic
stage: pt
finetuning_type: full
do_train: true
cutoff_len: {cutoff}
per_device_train_batch_size: {rows}
gradient_accumulation_steps: 2
max_steps: 3
logging_steps: 1
save_strategy: "no"
disable_gradient_checkpointing: {str(not checkpointing).lower()}
bf16: {str(dtype == 'bf16').lower()}
zero_stage: {stage}
threads: 1
output_dir: {out}
""")
    env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
               OMPI_MCA_hwloc_base_binding_policy="none", OMPI_MCA_mpi_yield_when_idle="1")
    plan = json.loads(subprocess.run([args.dstrain, "plan", str(config), "--ranks", str(ranks), "--json"], check=True, capture_output=True,
                                     text=True, env=env).stdout)
    job = subprocess.Popen((["mpirun", "-np", str(ranks)] if ranks > 1 else []) + [args.dstrain, str(config)], env=env,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peaks = {}
    while job.poll() is None:
        for pid in list(ranks_of(str(config))):
            peaks[pid] = max(peaks.get(pid, 0), pss(pid))
        time.sleep(0.02)
    errors = job.stderr.read()
    if job.returncode != 0:
        sys.exit(f"{case}: exit code {job.returncode}\n{errors}")
    return plan, max(peaks.values()), sum(peaks.values())


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--dstrain", required=True)
    ap.add_argument("--work", default="/tmp/dstrain-memory")
    ap.add_argument("--only", default="")
    ap.add_argument("--model")
    ap.add_argument("--stages", default="3")
    args = ap.parse_args()
    cases = CASES
    if args.model:
        cases = [(args.model, ranks, int(stage), "fp32", True, 1, 64) for stage in args.stages.split(",") for ranks in (1, 2, 4)]
    bad = 0
    print("| preset | ranks | stage | dtype | checkpointing | rows x tokens | arena MiB | + floor MiB | peak PSS MiB (largest rank) | difference | "
          "allowed | sum of peaks MiB | sum of plans MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        if args.only and args.only not in str(case):
            continue
        plan, peak, peak_sum = measure(args, case)
        total = plan["total_bytes"]
        allowed = 0.03 * total + 64 * MIB
        bad += abs(peak - total) > allowed
        preset, ranks, stage, dtype, checkpointing, rows, cutoff = case
        print(f"| {os.path.basename(preset)} | {ranks} | {stage} | {dtype} | {'on' if checkpointing else 'off'} | {rows} x {cutoff} | {plan['arena_bytes'] / MIB:.1f} | "
              f"{total / MIB:.1f} | {peak / MIB:.1f} | {(peak - total) / MIB:+.1f} | {allowed / MIB:.1f} | {peak_sum / MIB:.0f} | {total * ranks / MIB:.0f} |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
