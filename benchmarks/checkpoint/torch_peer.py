#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Saves of the same bytes by torch.distributed.checkpoint and by DeepSpeed, beside plain write + fsync. One process, CPU.

    torch_peer.py DIR GIB REPEATS [dcp|deepspeed]

dcp: save() and the stall of async_save() with its default writer (fsyncs its files). deepspeed: save_checkpoint() of a
ZeRO-1 engine whose parameters and moments make up GIB (it does not fsync; a sync() is timed with it and apart).
"""
import os
import shutil
import statistics
import sys
import time

import torch
import torch.distributed as dist


def plain(tensors, path):
    begin = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for tensor in tensors:
            view = memoryview(tensor.numpy()).cast("B")
            for at in range(0, len(view), 4 << 20):
                file.write(view[at:at + (4 << 20)])
        os.fsync(file.fileno())
    seconds = time.perf_counter() - begin
    os.remove(path)
    os.sync()
    return seconds


def dcp(folder, gib, repeats):
    import torch.distributed.checkpoint as checkpoint
    count = int(gib * (1 << 30)) // 12
    each = count // 96
    state = {f"{kind}.layer.{i}.weight": torch.full((each,), 0.37) for kind in ("parameter", "exp_avg", "exp_avg_sq")
             for i in range(96)}
    plains, saves, stalls, drains = [], [], [], []
    for i in range(repeats):
        plains.append(plain(state.values(), f"{folder}/plain"))
        begin = time.perf_counter()
        checkpoint.save(state, checkpoint_id=f"{folder}/save-{i}")
        saves.append(time.perf_counter() - begin)
        shutil.rmtree(f"{folder}/save-{i}")
        os.sync()
        begin = time.perf_counter()
        future = checkpoint.async_save(state, checkpoint_id=f"{folder}/async-{i}")
        stalls.append(time.perf_counter() - begin)
        future.result() if not hasattr(future, "upload_completion") else future.upload_completion.result()
        drains.append(time.perf_counter() - begin)
        shutil.rmtree(f"{folder}/async-{i}")
        os.sync()
    m = statistics.median
    print(f"torch {torch.__version__} distributed.checkpoint, {gib} GiB, medians of {repeats}: plain {m(plains):.3f} s, save "
          f"{m(saves):.3f} s, async_save: stall {m(stalls):.3f} s ({100 * m(stalls) / m(saves):.0f} % of save), done after {m(drains):.3f} s")


def deepspeed(folder, gib, repeats):
    import deepspeed as ds
    count = int(gib * (1 << 30)) // 12
    width = 2048
    model = torch.nn.Sequential(*[torch.nn.Linear(width, width, bias=False) for _ in range(max(1, count // width**2))])
    engine, *_ = ds.initialize(model=model, model_parameters=model.parameters(), config={
        "train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 1},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "torch_adam": True}}})
    loss = engine(torch.ones(1, width)).sum()
    engine.backward(loss)
    engine.step()
    plains, saves, synced = [], [], []
    tensors = [p.detach() for p in model.parameters()] * 3
    for i in range(repeats):
        plains.append(plain(tensors, f"{folder}/plain"))
        begin = time.perf_counter()
        engine.save_checkpoint(folder, tag=f"save-{i}")
        saves.append(time.perf_counter() - begin)
        os.sync()
        synced.append(time.perf_counter() - begin)
        size = sum(os.path.getsize(f"{folder}/save-{i}/{f}") for f in os.listdir(f"{folder}/save-{i}"))
        shutil.rmtree(f"{folder}/save-{i}")
        os.sync()
    m = statistics.median
    print(f"DeepSpeed {ds.__version__} ZeRO-1, {gib} GiB of state ({size / 2**30:.2f} GiB of files), medians of {repeats}: plain "
          f"{m(plains):.3f} s, save_checkpoint {m(saves):.3f} s, with sync() {m(synced):.3f} s; training waits for all of it")


def main():
    folder, gib, repeats = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    os.makedirs(folder, exist_ok=True)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29611")
    for key, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(key, value)
    torch.set_num_threads(1)
    dist.init_process_group("cpu:gloo", rank=0, world_size=1)
    (deepspeed if sys.argv[4:] == ["deepspeed"] else dcp)(folder, gib, repeats)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
