#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SHA-256 of the final weights for every number of ranks and ZeRO stage, with `reproducible: true` and the same virtual_ranks.
Needs nothing but Python and mpirun.

usage: same_bits.py --dstrain build/cpu/dstrain [--steps 100] [--ranks 1,2,3,4,8] [--stages 0,1,2,3] [--work DIR] [--prefix CMD]
One table for each of fp32 and bf16, full and LoRA: all sums of a table must be equal. Exit code 1 where they are not.
--prefix is put before every mpirun, e.g. "nice -n 5".
"""
import argparse, hashlib, itertools, os, pathlib, platform, shlex, shutil, subprocess, sys, time

VIRTUAL_RANKS = 8


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def environment():
    env = dict(os.environ, OMP_NUM_THREADS="1")
    for name, value in {"OMPI_ALLOW_RUN_AS_ROOT": 1, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": 1, "OMPI_MCA_rmaps_base_oversubscribe": 1,
                        "OMPI_MCA_hwloc_base_binding_policy": "none", "OMPI_MCA_mpi_yield_when_idle": 1}.items():
        env.setdefault(name, str(value))
    return env


def run(args, dtype, tuning, ranks, stage):
    """Trains once. @return (sha256 of the final weights, seconds)"""
    out = pathlib.Path(args.work) / "run"
    shutil.rmtree(out, ignore_errors=True)
    command = shlex.split(args.prefix) + ["mpirun", "-np", str(ranks), os.path.abspath(args.dstrain), "train",
        "--model_name_or_path", f"preset:{args.preset}", "--dataset", "synthetic", "--synthetic_rows", "512", "--cutoff_len", "32",
        "--stage", "pt", "--do_train", "--finetuning_type", tuning, "--learning_rate", "1e-3", "--lr_scheduler_type", "cosine",
        "--warmup_steps", "10", "--weight_decay", "0.1", "--per_device_train_batch_size", "1", "--max_steps", str(args.steps),
        "--logging_steps", str(args.steps), "--save_strategy", "no", "--disable_tqdm", "true", "--reproducible", "true",
        "--virtual_ranks", str(VIRTUAL_RANKS), "--zero_stage", str(stage), "--output_dir", str(out)]
    if dtype == "bf16":
        command += ["--bf16", "true"]
    if tuning == "lora":
        command += ["--lora_dropout", "0.1"]
    start = time.time()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stderr}")
    name = "adapter_model.safetensors" if tuning == "lora" else "model.safetensors"
    return hashlib.sha256((out / name).read_bytes()).hexdigest(), time.time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dstrain", required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--ranks", default="1,2,3,4,8")
    parser.add_argument("--stages", default="0,1,2,3")
    parser.add_argument("--work", default="/tmp/dstrain-same-bits")
    parser.add_argument("--prefix", default="")
    args = parser.parse_args()
    ranks = [int(r) for r in args.ranks.split(",")]
    stages = [int(s) for s in args.stages.split(",")]
    print(f"{args.steps} steps of preset:{args.preset}, virtual_ranks {VIRTUAL_RANKS}, {cpu_name()}\n", flush=True)
    bad = 0
    for dtype, tuning in itertools.product(("fp32", "bf16"), ("full", "lora")):
        print(f"{dtype}, {tuning}\n\n| ranks | " + " | ".join(f"stage {s}" for s in stages) + " |\n|---" * 1 + "|---" * len(stages) + "|", flush=True)
        sums = set()
        for count in ranks:
            row = []
            for stage in stages:
                digest, seconds = run(args, dtype, tuning, count, stage)
                sums.add(digest)
                row.append(f"{digest[:16]} ({seconds:.0f} s)")
            print(f"| {count} | " + " | ".join(row) + " |", flush=True)
        bad += len(sums) > 1
        print(f"\n{len(sums)} different SHA-256: " + ", ".join(sorted(sums)) + "\n", flush=True)
    print("all equal" if bad == 0 else f"{bad} tables are NOT equal")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
