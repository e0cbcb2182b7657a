#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Full fine-tuning of tiny models with other losses than plain cross entropy, in transformers and torch.

usage: python make_losses.py [OUTFILE]      (default: losses.json beside this file)

Label smoothing by transformers' own LabelSmoother; the losses of LLaMA-Factory (use_dft_loss, use_eaft_loss) by their formulas;
`pads`: labels padded with the pad id, as its collator does with ignore_pad_token_for_loss: false; `pure_bf16`: weights,
gradients and AdamW in bf16. Loss, gradient norm of every step, 2-norm of every tensor at the end. Eager attention, CPU. Also
writes adamw_bf16.txt: torch.optim.AdamW on bf16 parameters, bit by bit.
"""
import json
import os
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM
from transformers.trainer_pt_utils import LabelSmoother

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS, LENGTHS, WIDTH, LR, DECAY, PAD = 6, [16, 11, 9, 13], 16, 5e-3, 0.01, 0
LLAMA, BLOOM, MISTRAL = "tiny-models/llama-biases", "tiny-families/bloom", "tiny-models/mistral-window"

CASES = {
    "label_smoothing": dict(base=LLAMA, smoothing=0.1),
    "label_smoothing_gemma2": dict(base="tiny-families/gemma2", smoothing=0.3),
    "dft": dict(base=LLAMA, dft=True),
    "eaft": dict(base=LLAMA, eaft=1.5),
    "pads": dict(base=LLAMA, pads=True),
    "pads_bloom": dict(base=BLOOM, pads=True),
    "pads_smoothing": dict(base=LLAMA, pads=True, smoothing=0.2),
    "pure_bf16": dict(base=LLAMA, bf16=True),
}


def batch(step, vocab, pads):
    """The same formula stands in the test. The first three labels of a row are masked."""
    ids = torch.full((len(LENGTHS), WIDTH), PAD)
    labels = torch.full_like(ids, PAD if pads else -100)
    mask = torch.zeros_like(ids)
    for r, length in enumerate(LENGTHS):
        for t in range(length):
            ids[r, t] = 3 + (7 * t + 11 * r + 5 * step + t * t * (r + 1)) % (vocab - 3)
        labels[r, :length] = ids[r, :length]
        labels[r, :3] = -100
        mask[r, :length] = 1
    return ids, labels, mask


def loss_of(logits, labels, case):
    count = (labels != -100).sum()
    if "smoothing" in case:
        return LabelSmoother(epsilon=case["smoothing"])({"logits": logits}, labels, shift_labels=True, num_items_in_batch=count)
    source, target = logits[:, :-1].reshape(-1, logits.shape[-1]).float(), labels[:, 1:].reshape(-1)
    each = torch.nn.functional.cross_entropy(source, target, reduction="none", ignore_index=-100)
    if "dft" in case:
        each = each * torch.exp(-each).detach()
    if "eaft" in case:
        top = torch.topk(source.detach(), k=20, dim=-1).values
        log_p = top - torch.logsumexp(top, dim=-1, keepdim=True)
        each = each * torch.pow(-(log_p.exp() * log_p).sum(-1) / 3.0, case["eaft"])
    return each.sum() / count


def train(name, case):
    dtype = torch.bfloat16 if case.get("bf16") else torch.float32
    model = AutoModelForCausalLM.from_pretrained(os.path.join(HERE, case["base"]), dtype=dtype, attn_implementation="eager").train()
    groups = [dict(params=[], weight_decay=DECAY), dict(params=[], weight_decay=0.0)]
    for key, p in model.named_parameters():
        plain = any(w in key.lower() for w in ("bias", "layernorm", "rmsnorm"))
        is_layer_norm = case["base"] == BLOOM and p.dim() == 1
        groups[1 if plain or is_layer_norm else 0]["params"].append(p)
    optimizer = torch.optim.AdamW(groups, lr=LR)
    result = {"keys": case, "losses": [], "grad_norms": []}
    for step in range(STEPS):
        ids, labels, mask = batch(step, model.config.vocab_size, case.get("pads", False))
        loss = loss_of(model(input_ids=ids, attention_mask=mask, use_cache=False).logits, labels, case)
        loss.backward()
        result["losses"].append(loss.item())
        result["grad_norms"].append(torch.sqrt(sum(p.grad.double().pow(2).sum() for p in model.parameters())).item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    result["norms"] = {n: p.detach().double().norm().item() for n, p in model.named_parameters()}
    print(name, [round(x, 5) for x in result["losses"]])
    return result


def adamw_bf16(path):
    """Lines: parameters, gradients of every step (f32), parameters and both moments behind it, as the 16 bits in hex."""
    torch.manual_seed(5)
    count, lr, decay = 64, 3e-3, 0.1
    p = torch.nn.Parameter((torch.randn(count) * torch.logspace(-3, 1, count)).bfloat16())
    optimizer = torch.optim.AdamW([p], lr=lr, betas=(0.9, 0.95), eps=1e-6, weight_decay=decay, foreach=False, fused=False)
    hexed = lambda x: " ".join("%04x" % (v & 0xFFFF) for v in x.detach().view(torch.int16).tolist())
    with open(path, "w") as f:
        f.write(hexed(p) + "\n")
        for _ in range(12):
            gradient = torch.randn(count) * torch.logspace(1, -4, count)
            p.grad = gradient.bfloat16()
            f.write(" ".join(repr(v) for v in gradient.tolist()) + "\n")
            optimizer.step()
            state = optimizer.state[p]
            f.write(hexed(p) + "\n" + hexed(state["exp_avg"]) + "\n" + hexed(state["exp_avg_sq"]) + "\n")


if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "losses.json")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    cases = {name: train(name, case) for name, case in CASES.items()}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    with open(out, "w") as f:
        json.dump({"versions": versions, "cases": cases}, f, indent=1)
        f.write("\n")
    adamw_bf16(os.path.join(os.path.dirname(out), "adamw_bf16.txt"))
