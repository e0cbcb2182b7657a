#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `reproducible: true` costs: interleaved pairs of runs with and without it. Needs nothing but Python and mpirun.

usage: reproducible_cost.py --dstrain build/cpu/dstrain [--ranks 2] [--stage 2] [--pairs 7] [--steps 12] [--preset 15m] [--bf16]
       [--accumulation 1] [--rows 4] [--cutoff 256] [--work DIR]
The figure of a run is its median tokens per second over the steps behind the first two. Printed: every pair, the median of
the pairs' ratios and their spread.
"""
import argparse, json, os, pathlib, shutil, statistics, subprocess, sys


def run(args, reproducible):
    out = pathlib.Path(args.work) / "run"
    shutil.rmtree(out, ignore_errors=True)
    env = dict(os.environ, OMP_NUM_THREADS="1")
    for name, value in {"OMPI_ALLOW_RUN_AS_ROOT": 1, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": 1, "OMPI_MCA_rmaps_base_oversubscribe": 1,
                        "OMPI_MCA_hwloc_base_binding_policy": "none", "OMPI_MCA_mpi_yield_when_idle": 1}.items():
        env.setdefault(name, str(value))
    command = ["mpirun", "-np", str(args.ranks), os.path.abspath(args.dstrain), "train", "--model_name_or_path",
        f"preset:{args.preset}", "--dataset", "synthetic", "--synthetic_rows", "512", "--cutoff_len", str(args.cutoff), "--stage", "pt",
        "--do_train", "--finetuning_type", "full", "--per_device_train_batch_size", str(args.rows), "--max_steps", str(args.steps),
        "--gradient_accumulation_steps", str(args.accumulation), "--logging_steps", "1", "--save_strategy", "no", "--disable_tqdm",
        "true", "--zero_stage", str(args.stage), "--reproducible", "true" if reproducible else "false", "--output_dir", str(out)]
    if args.bf16:
        command += ["--bf16", "true"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stderr}")
    lines = [json.loads(line) for line in (out / "trainer_log.jsonl").read_text().splitlines()]
    return statistics.median(line["tokens_per_second"] for line in lines[2:] if "tokens_per_second" in line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dstrain", required=True)
    for name, value in (("ranks", 2), ("stage", 2), ("pairs", 7), ("steps", 12), ("accumulation", 1), ("rows", 4), ("cutoff", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--preset", default="15m")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--work", default="/tmp/dstrain-reproducible-cost")
    args = parser.parse_args()
    ratios = []
    for pair in range(args.pairs):
        order = (False, True) if pair % 2 == 0 else (True, False)
        rate = {flag: run(args, flag) for flag in order}
        ratios.append(rate[False] / rate[True] - 1)
        print(f"pair {pair + 1}: {rate[False]:.0f} tokens/s without, {rate[True]:.0f} with, cost {100 * ratios[-1]:+.1f} %", flush=True)
    print(f"{args.preset} {'bf16' if args.bf16 else 'fp32'}, {args.ranks} ranks, stage {args.stage}, accumulation {args.accumulation}: "
          f"cost {100 * statistics.median(ratios):+.1f} % (median of {args.pairs} pairs; {100 * min(ratios):+.1f} to {100 * max(ratios):+.1f})")


if __name__ == "__main__":
    main()
