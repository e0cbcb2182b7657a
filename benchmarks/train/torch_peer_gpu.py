#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One training step of torch and transformers on a GPU, as `dstrain bench step` does it: random weights of a preset's sizes, one row of
random ids, bf16 weights with f32 masters (autocast over f32 weights), gradient checkpointing, clipping, fused AdamW.

usage: torch_peer_gpu.py --model 0.5b --tokens 1024 [--repeats 5] [--compile] [--device cuda|cpu]
Prints median and best seconds of a step, tokens/s, TFLOP/s (6N per token) and the peak of allocated memory. Exit code 3 where the
GPU's memory is too small. --device cpu is for trying the script out.
"""
import argparse, statistics, sys, time

# name: class, hidden, layers, heads, key/value heads, intermediate, vocabulary, tied
MODELS = {"nano": ("llama", 64, 2, 4, 2, 176, 512, False), "15m": ("llama", 288, 6, 6, 6, 768, 32000, True),
          "110m": ("llama", 768, 12, 12, 12, 2048, 32000, True), "0.5b": ("qwen2", 896, 24, 14, 2, 4864, 151936, True),
          "1.5b": ("qwen2", 1536, 28, 12, 2, 8960, 151936, True),
          "1b": ("llama", 2048, 16, 32, 8, 8192, 128256, True), "7b": ("llama", 4096, 32, 32, 32, 11008, 32000, False),
          "8b": ("llama", 4096, 32, 32, 8, 14336, 128256, False)}


def make(name, device):
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config
    kind, hidden, layers, heads, kv, wide, vocabulary, tied = MODELS[name]
    config = {"llama": LlamaConfig, "qwen2": Qwen2Config}[kind](
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, intermediate_size=wide,
        vocab_size=vocabulary, tie_word_embeddings=tied, max_position_embeddings=32768, use_cache=False)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", choices=MODELS, required=True); ap.add_argument("--tokens", type=int, required=True)
    ap.add_argument("--repeats", type=int, default=5); ap.add_argument("--compile", action="store_true")
    ap.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    args = ap.parse_args()
    import torch
    if args.device == "cuda" and not torch.cuda.is_available():
        print("error: torch sees no GPU")
        return 77
    try:
        measure(args)
    except torch.cuda.OutOfMemoryError as error:
        print(f"error: {args.model} does not fit: {str(error).splitlines()[0]}")
        return 3
    return 0


def measure(args):
    import torch, transformers
    on_gpu = args.device == "cuda"
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    torch.manual_seed(0)
    model = make(args.model, args.device)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    run = torch.compile(model) if args.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    ids = torch.randint(0, model.config.vocab_size, (1, args.tokens), device=args.device)

    def step():
        with torch.autocast(args.device, torch.bfloat16):
            loss = run(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = []
    for number in range(args.repeats + 3):
        wait()
        begin = time.perf_counter()
        step()
        wait()
        if number >= 3:
            seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds)
    parameters = sum(p.numel() for p in model.parameters())
    peak = f"peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if on_gpu else "peak not measured"
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.cuda.get_device_name() if on_gpu else 'CPU'}")
    print(f"{args.model}, {args.tokens} tokens, {parameters} parameters: median {median:.4f} s, best {min(seconds):.4f} s, "
          f"{args.tokens / median:.0f} tokens/s, {6 * parameters * args.tokens / median / 1e12:.1f} TFLOP/s, {peak}")


if __name__ == "__main__":
    sys.exit(main())
