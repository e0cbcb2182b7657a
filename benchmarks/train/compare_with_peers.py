#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens per second of dstrain beside torch, DeepSpeed and FSDP2 on the same machine, in one run.

usage: compare_with_peers.py --dstrain build/cpu/dstrain --work DIR [--presets 15m,110m] [--dtypes fp32,bf16] [--repeats 3]
Needs torch, transformers and deepspeed in the Python that runs it; nothing is downloaded. The peers (torch_peer.py), plain and
with the allocator tuned by MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=99999999999:
  1 process x 2 threads   transformers, SDPA, HF's loss, clip 1.0, fused AdamW; bf16 = fp32 weights + autocast (what Trainer does);
                          --compile adds torch.compile (20-40 s to the first step)
  2 ranks x 1 thread      the same under DistributedDataParallel, FSDP2 and DeepSpeed ZeRO 1, 2, 3 (--kinds), over gloo
dstrain runs as 1 process x 2 threads and as 2 ranks x 1 thread (ZeRO 1), on random rows of the same length, the same global
batch, no gradient checkpointing on either side. Programs take turns within a repeat; each figure is the median over repeats of
the median step, with the smallest and largest beside it. Each dstrain row is held against the best peer of its own kind of run
and against the best of all. Prints a Markdown table.
"""
import argparse, json, os, pathlib, shutil, socket, statistics, subprocess, sys

SHAPES = {"15m": (256, 4, 9, 2), "110m": (512, 4, 4, 1)}  # preset: tokens per row, rows per step, timed steps, warm-up steps
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "99999999999"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_peer(preset, dtype, folder, kind, ranks, threads, tuned):
    seq, rows, steps, warm = SHAPES[preset]
    command = [sys.executable, str(pathlib.Path(__file__).with_name("torch_peer.py")), str(folder), "--kind", kind, "--dtype", dtype,
               "--tokens", str(seq), "--rows", str(rows), "--steps", str(steps), "--warm", str(warm)]
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), DS_ACCELERATOR="cpu", GLOO_SOCKET_IFNAME="lo", **(TUNED if tuned else {}))
    if ranks > 1 or kind.startswith("zero"):
        env.update(WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    started = [subprocess.Popen(command, env=dict(env, RANK=str(r), LOCAL_RANK=str(r)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for r in range(ranks)]
    outputs = [p.communicate() for p in started]
    if any(p.returncode for p in started):
        sys.exit(f"{kind} failed:\n{outputs[0][1][-2000:]}")
    return seq * rows / statistics.median(json.loads(outputs[0][0].strip().splitlines()[-1]))


def run_dstrain(args, preset, dtype, folder, ranks, extra=()):
    seq, rows, steps, warm = SHAPES[preset]
    out = pathlib.Path(args.work) / "dstrain-run"
    shutil.rmtree(out, ignore_errors=True)
    keys = dict(model_name_or_path=folder, dataset="synthetic", stage="pt", finetuning_type="full", do_train="true", cutoff_len=seq,
                per_device_train_batch_size=rows // ranks, max_steps=warm + steps, logging_steps=1, save_strategy="no", learning_rate="1e-4",
                lr_scheduler_type="constant", disable_gradient_checkpointing="true", output_dir=out, zero_stage=1 if ranks > 1 else 0,
                threads=args.threads // ranks)
    if dtype == "bf16":
        keys["bf16"] = "true"
    config = out.parent / "bench.yaml"
    config.write_text("".join(f"{k}: {v}\n" for k, v in keys.items()) + "".join(f"{e}\n" for e in extra))
    launch = ["mpirun", "-np", str(ranks)] if ranks > 1 else []
    env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_hwloc_base_binding_policy="none")
    subprocess.run(launch + [args.dstrain, str(config)], env=env, check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in (out / "trainer_log.jsonl").read_text().splitlines()]
    timed = [line for line in lines if "loss" in line][warm:]
    return statistics.median(line["tokens_per_second"] for line in timed), statistics.median(line.get("mfu", 0) for line in timed)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--dstrain"); ap.add_argument("--work", default="/tmp/dstrain-bench")
    ap.add_argument("--presets", default="15m,110m"); ap.add_argument("--dtypes", default="fp32,bf16")
    ap.add_argument("--threads", type=int, default=2); ap.add_argument("--repeats", type=int, default=3)
    ap.add_argument("--compile", action="store_true"); ap.add_argument("--kinds", default="ddp,fsdp2,zero1,zero2,zero3")
    args = ap.parse_args()
    pathlib.Path(args.work).mkdir(parents=True, exist_ok=True)
    print("| preset | dtype | program | tokens/s (median, min-max) | MFU | against the best peer run alike | of all peers |\n|---|---|---|---|---|---|---|")
    for preset in args.presets.split(","):
        folder = pathlib.Path(args.work) / preset
        if not (folder / "model.safetensors").exists():
            subprocess.run([args.dstrain, "export", f"preset:{preset}", str(folder)], check=True)
        for dtype in args.dtypes.split(","):
            compare(args, preset, dtype, folder)


def compare(args, preset, dtype, folder):
    peers = [("plain", 1)] + ([("compile", 1)] if args.compile else []) + [(kind, 2) for kind in args.kinds.split(",") if kind]
    runs = {}
    for _ in range(args.repeats):
        for kind, ranks in peers:
            for tuned in (False, True):
                rate = run_peer(preset, dtype, folder, kind, ranks, args.threads // ranks, tuned)
                runs.setdefault((kind + (", allocator" if tuned else ""), ranks), []).append((rate, 0))
        for ranks in (1, 2):
            runs.setdefault(("dstrain" + (" ZeRO 1" if ranks > 1 else ""), ranks), []).append(run_dstrain(args, preset, dtype, folder, ranks))
    rate = {key: statistics.median(r[0] for r in values) for key, values in runs.items()}
    peer_rates = {key: value for key, value in rate.items() if not key[0].startswith("dstrain")}
    for key, values in runs.items():
        name, ranks = key
        mfu = statistics.median(r[1] for r in values)
        alike = max((value for other, value in peer_rates.items() if other[1] == ranks), default=float("nan"))
        how = f"{ranks} x {args.threads // ranks} thread{'s' if args.threads > ranks else ''}"
        print(f"| {preset} | {dtype} | {name}, {how} | {rate[key]:.0f} ({min(r[0] for r in values):.0f}-{max(r[0] for r in values):.0f}) | "
              f"{f'{100 * mfu:.0f} %' if mfu else ''} | {rate[key] / alike:.2f} | {rate[key] / max(peer_rates.values()):.2f} |", flush=True)


if __name__ == "__main__":
    main()
