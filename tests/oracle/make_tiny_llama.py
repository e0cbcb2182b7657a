#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tiny random models with transformers' logits, loss and gradients, for tests without the larger test data.

usage: python make_tiny_llama.py [OUTDIR]      (default: tiny-models beside this file)

Writes OUTDIR/<name>/{config.json, model.safetensors, reference.safetensors}. fp32, eager attention, CPU. The metadata of
reference.safetensors names the versions that made it. Biases and norms are random too, so that a test sees them.
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoConfig

SIZES = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             vocab_size=43, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, hidden_act="silu",
             attention_dropout=0.0, rms_norm_eps=1e-5, initializer_range=0.02, rope_theta=10000.0)

MODELS = {
    "llama-biases": dict(SIZES, model_type="llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=6),
    "llama-yarn": dict(SIZES, model_type="llama", tie_word_embeddings=False,
                       rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)),
    "mistral-window": dict(SIZES, model_type="mistral", tie_word_embeddings=False, sliding_window=5),
    "qwen2-window": dict(SIZES, model_type="qwen2", tie_word_embeddings=True, num_hidden_layers=3, use_sliding_window=True,
                         sliding_window=4, max_window_layers=1),
}
LENGTHS = [23, 17, 9]  # the rows of the batch, padded on the right


def make(name, config, out):
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1, sort_keys=True)
        f.write("\n")
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), attn_implementation="eager").float().train()
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.normal_(1.0 if key.endswith("norm.weight") else 0.0, 0.25 if p.dim() > 1 else 0.1)
    width = max(LENGTHS)
    ids = torch.randint(3, config["vocab_size"], (len(LENGTHS), width))
    mask = torch.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
    ids = ids * mask
    labels = torch.where(mask.bool(), ids, -100)
    labels[:, :3] = -100
    result = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False)
    result.loss.backward()
    state = {k: v.detach().clone().contiguous() for k, v in model.named_parameters()}
    save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    reference = {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits": result.logits.detach().float().contiguous(),
                 "loss": result.loss.detach().reshape(1)}
    reference |= {f"grad.{k}": p.grad.contiguous() for k, p in model.named_parameters()}
    save_file(reference, os.path.join(folder, "reference.safetensors"),
              metadata={"format": "pt", "torch": torch.__version__, "transformers": transformers.__version__})
    print(name, f"loss {result.loss.item():.6f}", sum(v.numel() for v in state.values()), "parameters")


if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny-models")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, config in MODELS.items():
        make(name, config, out)
