#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Flips single bits of a checkpoint, one at a time, and lets a run resume: is each found before training goes on?

    tests/chaos/flips.py --binary build/ci/src/dstrain --flips 1000 --result benchmarks/results/flips.md

A LoRA run on 2 ranks leaves checkpoint-2 and checkpoint-4 (two shards, view, manifest, its digest, the adapter's files).
Each flip picks a file of checkpoint-4 and a bit of it: half of them file by file in turn, half by their share of the
bytes. The resumed process must say that checkpoint-4 is damaged and go back to checkpoint-2. Then files that are missing,
cut short, swapped, or of another checkpoint. Exit code 0 where all were found.
"""
import collections
import concurrent.futures
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

from chaos import arguments, environment, parsed


def train(args, folder, ranks, extra):
    command = (["mpirun", "-np", str(ranks)] if ranks > 1 else []) + [
        args.binary, "train", "--model_name_or_path", "preset:nano", "--dataset", "synthetic", "--synthetic_rows", "48",
        "--cutoff_len", "16", "--stage", "pt", "--finetuning_type", "lora", "--lora_target", "all", "--do_train",
        "--learning_rate", "1e-3", "--zero_stage", "2", "--per_device_train_batch_size", "1", "--virtual_ranks", "2",
        "--threads", "1", "--output_dir", str(folder)] + extra
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)


def flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << (bit % 8))]))


def noticed(args, folder):
    """Whether the run that resumes from `folder` says so before its first step."""
    # Three steps are no more than a resume from checkpoint-4 has done: it would train nothing and say nothing.
    result = train(args, folder, 1, ["--resume_from_checkpoint", "true", "--max_steps", "3", "--save_strategy", "no"])
    found = "checkpoint-4 is damaged" in result.stderr and "checkpoint-2 at step 2" in result.stderr
    return found and result.returncode == 0, result


def one_flip(args, original, worker, file, bit):
    folder = pathlib.Path(args.work) / f"copy-{worker}"
    if not folder.exists():
        shutil.copytree(original, folder)
    path = folder / "checkpoint-4" / file
    flip(path, bit)
    found, result = noticed(args, folder)
    flip(path, bit)
    return found, f"{file} bit {bit}: exit {result.returncode}: {result.stderr[-300:]}"


def structural(args, original):
    """Damage of other kinds: name -> whether it was found."""
    def swap(folder):
        a, b = folder / "shard-00001-of-00002.h5", folder / "shard-00002-of-00002.h5"
        a.rename(folder / "x"), b.rename(a), (folder / "x").rename(b)

    cases = {}
    names = sorted(p.name for p in (original / "checkpoint-4").iterdir())
    for name in names:
        cases[f"{name} missing"] = lambda folder, name=name: (folder / name).unlink()
        cases[f"{name} cut short by a byte"] = lambda folder, name=name: os.truncate(
            folder / name, (folder / name).stat().st_size - 1)
        cases[f"{name} empty"] = lambda folder, name=name: os.truncate(folder / name, 0)
        cases[f"{name} with a byte more"] = lambda folder, name=name: (folder / name).write_bytes(
            (folder / name).read_bytes() + b"\0")
        if not name.startswith("adapter_config"):  # the same in both
            cases[f"{name} of checkpoint-2"] = lambda folder, name=name: shutil.copy(
                folder.parent / "checkpoint-2" / name, folder / name)
    cases["shards swapped"] = swap
    found = {}
    for name, damage in cases.items():
        folder = pathlib.Path(args.work) / "structural"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(original, folder)
        damage(folder / "checkpoint-4")
        found[name] = noticed(args, folder)[0]
    return found


def main():
    parser = arguments(__doc__, "/tmp/dstrain-flips")
    parser.add_argument("--flips", type=int, default=20)
    args, work = parsed(parser)
    original = work / "original"
    begin = time.time()
    made = train(args, original, 2, ["--max_steps", "4", "--save_steps", "2"])
    if made.returncode != 0:
        sys.exit(made.stderr)

    files = {p.name: p.stat().st_size for p in sorted((original / "checkpoint-4").iterdir())}
    rng = random.Random(args.seed)
    picks = []
    for i in range(args.flips):
        by_turns = i % 2 == 0
        name = list(files)[i // 2 % len(files)] if by_turns else rng.choices(list(files), list(files.values()))[0]
        picks.append((name, rng.randrange(files[name] * 8)))
    found = collections.Counter()
    missed = []

    def share(worker):
        for name, bit in picks[worker::args.workers]:
            good, text = one_flip(args, original, worker, name, bit)
            if good:
                found[name] += 1
            else:
                missed.append(text)

    with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(share, range(args.workers)))
    others = structural(args, original)
    total = collections.Counter(name for name, _ in picks)
    lines = [f"- flips: {sum(found.values())} of {args.flips} found before training went on, seed {args.seed}"]
    lines += [f"  - {name} ({size} bytes): {found[name]} of {total[name]}" for name, size in files.items()]
    lines += [f"- other damage: {sum(others.values())} of {len(others)} found"]
    lines += [f"  - {name}: {'found' if good else 'NOT FOUND'}" for name, good in others.items()]
    lines += [f"- not found: {text}" for text in missed] + [f"- {time.time() - begin:.0f} s"]
    print("\n".join(lines))
    if args.result:
        pathlib.Path(args.result).write_text("# Flipped bits and other damage of checkpoints\n\n" + "\n".join(lines) + "\n")
    shutil.rmtree(work, ignore_errors=True)
    sys.exit(0 if not missed and all(others.values()) else 1)


if __name__ == "__main__":
    main()
