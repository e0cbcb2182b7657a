#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens per second of dstrain beside transformers + torch on the same machine, in one run.

usage: compare_with_peers.py --dstrain build/cpu/dstrain --work DIR [--presets 15m,110m] [--dtypes fp32,bf16] [--repeats 3]
Needs torch and transformers in the Python that runs it; nothing is downloaded. The peers, one process of `--threads` threads:
  plain      AutoModelForCausalLM, SDPA, HF's loss, clip 1.0, fused AdamW; bf16 = fp32 weights + autocast (what Trainer does)
  allocator  the same with MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=99999999999: the best tuned one without a compiler
  compile    torch.compile (only with --compile: 20-40 s to the first step)
dstrain runs once as 1 process x 2 threads and once as 2 ranks x 1 thread (ZeRO 1), on the same random rows of the same length,
the same global batch, no gradient checkpointing on either side. Programs take turns within a repeat; each figure is the median
over repeats of the median step, with the smallest and largest beside it. Prints a Markdown table.
"""
import argparse, json, os, pathlib, shutil, statistics, subprocess, sys, time

SHAPES = {"15m": (256, 4, 9, 2), "110m": (512, 4, 4, 1)}  # preset: tokens per row, rows per step, timed steps, warm-up steps
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "99999999999"}


def peer(args):
    """Runs in a process of its own: prints the seconds of each timed step as JSON."""
    import torch
    from transformers import AutoModelForCausalLM
    seq, rows, steps, warm = SHAPES[args.peer_preset]
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(args.peer, dtype=torch.float32, attn_implementation="sdpa")
    model.config.use_cache = False
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    step_model = torch.compile(model) if args.compile else model
    seconds = []
    for step in range(warm + steps):
        ids = torch.randint(0, model.config.vocab_size, (rows, seq))
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtypes == "bf16"):
            loss = step_model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step >= warm:
            seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds))


def run_peer(args, preset, dtype, folder, tuned, compiled):
    command = [sys.executable, __file__, "--peer", str(folder), "--peer-preset", preset, "--dtypes", dtype, "--threads", str(args.threads)]
    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads), **(TUNED if tuned else {}))
    out = subprocess.run(command + (["--compile"] if compiled else []), env=env, check=True, capture_output=True, text=True).stdout
    seq, rows, _, _ = SHAPES[preset]
    return seq * rows / statistics.median(json.loads(out.strip().splitlines()[-1]))


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
    ap.add_argument("--compile", action="store_true"); ap.add_argument("--peer"); ap.add_argument("--peer-preset")
    args = ap.parse_args()
    if args.peer:
        return peer(args)
    pathlib.Path(args.work).mkdir(parents=True, exist_ok=True)
    print("| preset | dtype | program | tokens/s (median, min-max) | MFU | against the best peer |\n|---|---|---|---|---|---|")
    for preset in args.presets.split(","):
        folder = pathlib.Path(args.work) / preset
        if not (folder / "model.safetensors").exists():
            subprocess.run([args.dstrain, "export", f"preset:{preset}", str(folder)], check=True)
        for dtype in args.dtypes.split(","):
            runs = {}
            for _ in range(args.repeats):
                runs.setdefault("torch plain, 1 x 2 threads", []).append((run_peer(args, preset, dtype, folder, False, False), 0))
                runs.setdefault("torch allocator, 1 x 2 threads", []).append((run_peer(args, preset, dtype, folder, True, False), 0))
                if args.compile:
                    runs.setdefault("torch allocator + compile, 1 x 2 threads", []).append((run_peer(args, preset, dtype, folder, True, True), 0))
                runs.setdefault("dstrain, 1 x 2 threads", []).append(run_dstrain(args, preset, dtype, folder, 1))
                runs.setdefault("dstrain ZeRO 1, 2 x 1 thread", []).append(run_dstrain(args, preset, dtype, folder, 2))
            rates = {name: [r[0] for r in values] for name, values in runs.items()}
            best = max(statistics.median(v) for name, v in rates.items() if name.startswith("torch"))
            for name, values in rates.items():
                mfu = statistics.median(r[1] for r in runs[name])
                print(f"| {preset} | {dtype} | {name} | {statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f}) | "
                      f"{f'{100 * mfu:.0f} %' if mfu else ''} | {statistics.median(values) / best:.2f} |", flush=True)


if __name__ == "__main__":
    main()
