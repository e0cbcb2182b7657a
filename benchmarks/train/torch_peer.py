#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One peer of compare_with_peers.py: a training loop of torch on the CPU. Prints the seconds of each timed step as JSON.

usage: torch_peer.py MODEL_DIR --kind plain|compile|ddp|fsdp2|zero1|zero2|zero3 --dtype fp32|bf16 --tokens 256 --rows 4 --steps 9 --warm 2
With several ranks it is started once per rank with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set (gloo); --rows counts all ranks.
bf16: autocast over fp32 weights (plain, compile, ddp), MixedPrecisionPolicy (fsdp2), DeepSpeed's bf16 section (zeroN).
"""
import argparse, json, os, time


def batches(vocab, rows, tokens, seed):
    import torch
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randint(0, vocab, (rows, tokens), generator=generator)


def deepspeed_step(model, args, rows):
    import deepspeed
    config = {"train_micro_batch_size_per_gpu": rows, "gradient_clipping": 1.0, "steps_per_print": 10**9, "bf16": {"enabled": args.dtype == "bf16"},
              "zero_optimization": {"stage": int(args.kind[-1])}, "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "torch_adam": True}}}
    engine = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)[0]

    def step(ids):
        engine.backward(engine(input_ids=ids, labels=ids).loss)
        engine.step()
    return step


def torch_step(model, args):
    import torch
    autocast = args.dtype == "bf16" and args.kind != "fsdp2"
    if args.kind == "fsdp2":
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
        policy = {"mp_policy": MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)} if args.dtype == "bf16" else {}
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (torch.distributed.get_world_size(),))
        for layer in model.model.layers:
            fully_shard(layer, mesh=mesh, **policy)
        fully_shard(model, mesh=mesh, **policy)
    run = model
    if args.kind == "ddp":
        run = torch.nn.parallel.DistributedDataParallel(model)
    if args.kind == "compile":
        run = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(ids):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = run(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return step


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model"); ap.add_argument("--kind", default="plain"); ap.add_argument("--dtype", default="fp32")
    for name in ("tokens", "rows", "steps", "warm"):
        ap.add_argument(f"--{name}", type=int, required=True)
    args = ap.parse_args()
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if args.kind.startswith("zero"):
        import deepspeed
        deepspeed.init_distributed("gloo")
    elif world > 1:
        torch.distributed.init_process_group("gloo")
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation="sdpa")
    model.config.use_cache = False
    model.train()
    vocab, rows = model.config.vocab_size, args.rows // world
    step = deepspeed_step(model, args, rows) if args.kind.startswith("zero") else torch_step(model, args)
    seconds = []
    for number, ids in zip(range(args.warm + args.steps), batches(vocab, rows, args.tokens, rank)):
        if world > 1:
            torch.distributed.barrier()
        start = time.perf_counter()
        step(ids)
        if world > 1:
            torch.distributed.barrier()
        if number >= args.warm:
            seconds.append(time.perf_counter() - start)
    if rank == 0:
        print(json.dumps(seconds))


if __name__ == "__main__":
    main()
