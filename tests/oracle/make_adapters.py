#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adapter training of tiny models with PEFT: start adapters, losses of every step, merged weights.

usage: python make_adapters.py [OUTDIR [CASE ...]]      (default: adapters beside this file, all of them)

The base model is tiny-models/llama-biases (tied embeddings, biases everywhere) where a case names no other. Writes OUTDIR/<case>/ with start/ (a PEFT
folder, where the case has one), expected.json (the case's keys, loss, grad_norm of every step, 2-norms of every trained
tensor, parameter counts) and for some cases merged.safetensors. fp32, eager attention, CPU, dropout 0. AdamW of torch,
constant learning rate.
"""
import json
import os
import sys

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = "tiny-models/llama-biases"
STEPS, ROWS, WIDTH, LR, DECAY = 6, 4, 16, 5e-3, 0.01
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

CASES = {
    "lora": dict(target_modules=ALL),
    "lora-qv": dict(target_modules=["q_proj", "v_proj"]),
    "rslora": dict(target_modules=ALL, use_rslora=True),
    "dora": dict(target_modules=ALL, use_dora=True),
    "loraplus": dict(target_modules=ALL, loraplus_lr_ratio=4.0),
    "additional": dict(target_modules=["q_proj", "up_proj"], modules_to_save=["embed_tokens", "norm"]),
    "lm-head": dict(target_modules=["o_proj"], modules_to_save=["lm_head"]),
    "patterns": dict(target_modules=r".*\.(q_proj|down_proj)", rank_pattern={"q_proj": 2}, alpha_pattern={"layers.1.mlp.down_proj": 3}),
    "pissa": dict(target_modules=["k_proj", "gate_proj", "down_proj"], init_lora_weights="pissa"),
    "pissa-dora": dict(target_modules=["v_proj", "o_proj"], init_lora_weights="pissa", use_dora=True),
    "lookup": dict(target_modules=["embed_tokens", "q_proj"]),
    "lookup-dora": dict(target_modules=["embed_tokens", "v_proj"], use_dora=True),
    "gemma2-lookup": dict(base="tiny-families/gemma2", target_modules=["embed_tokens", "o_proj"]),
    "gpt2": dict(base="tiny-families/gpt2", target_modules=["c_attn", "c_proj", "c_fc"]),
    "gpt2-dora": dict(base="tiny-families/gpt2", target_modules=["c_attn", "c_proj", "c_fc"], use_dora=True),
    "gpt2-pissa": dict(base="tiny-families/gpt2", target_modules=["c_attn", "c_proj"], init_lora_weights="pissa"),
    "gpt2-lookups": dict(base="tiny-families/gpt2", target_modules=["wte", "wpe", "c_attn"], loraplus_lr_ratio=2.0),
    "bloom": dict(base="tiny-families/bloom", use_rslora=True,
                  target_modules=["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
    "phi3": dict(base="tiny-families/phi3-partial", target_modules=["qkv_proj", "o_proj", "gate_up_proj"], use_dora=True),
    "freeze": dict(freeze=".1."),
    "freeze-mlp": dict(freeze=".0.mlp", extra="embed_tokens"),
}
MERGED = ["lora", "rslora", "dora", "additional", "patterns", "pissa", "pissa-dora", "lookup", "lookup-dora", "gemma2-lookup", "gpt2",
          "gpt2-dora", "gpt2-pissa", "bloom", "phi3"]


def base_model(case):
    base = case.get("base", BASE)
    model = AutoModelForCausalLM.from_pretrained(os.path.join(HERE, base), dtype=torch.float32, attn_implementation="eager")
    model.name_or_path = "tests/oracle/" + base  # what adapter_config.json names: no path of one machine
    return model.train()


def rows(vocab):
    """The step's rows: the same formula stands in the test."""
    return [[[3 + (7 * t + 11 * r + 5 * s + t * t * (r + 1)) % (vocab - 3) for t in range(WIDTH)] for r in range(ROWS)]
            for s in range(STEPS)]


def freeze(model, case):
    for name, p in model.named_parameters():
        p.requires_grad_(case["freeze"] in name or ("extra" in case and case["extra"] in name))


def adapter_model(case, folder):
    options = {k: v for k, v in case.items() if k not in ("loraplus_lr_ratio", "base")}
    torch.manual_seed(3)
    model = get_peft_model(base_model(case), LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, **options))
    if "pissa" not in str(options.get("init_lora_weights", "")):
        with torch.no_grad():  # B = 0 would hide mistakes
            for name, p in model.named_parameters():
                if "lora_B" in name or "lora_embedding_A" in name:
                    p.normal_(0, 0.1)
        model.save_pretrained(os.path.join(folder, "start"), save_embedding_layers=False)
        readme = os.path.join(folder, "start", "README.md")
        if os.path.exists(readme):
            os.remove(readme)
    return model


def optimizer_of(model, case):
    groups = {}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        plus = case.get("loraplus_lr_ratio", 1.0)
        lr = LR * plus if "lora_B" in name or p.dim() == 1 and plus != 1.0 else LR
        if "lora_embedding_B" in name and plus != 1.0:
            lr = 1e-6  # LLaMA-Factory's loraplus_lr_embedding
        decay = DECAY if not any(w in name.lower() for w in ("bias", "layernorm", "rmsnorm")) else 0.0
        groups.setdefault((lr, decay), []).append(p)
    return torch.optim.AdamW([dict(params=p, lr=lr, weight_decay=d) for (lr, d), p in groups.items()])


def plain_name(name):
    name = name.removeprefix("base_model.model.").replace(".default", "").replace(".modules_to_save", "")
    return name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")


def train(name, case, out):
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    if "freeze" in case:
        model = base_model(case)
        freeze(model, case)
    else:
        model = adapter_model(case, folder)
    model.train()
    expected = {"keys": case, "versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                                           "peft": peft.__version__}, "losses": [], "grad_norms": []}
    trained = [p for p in model.parameters() if p.requires_grad]
    expected["trainable"] = sum(p.numel() for p in trained)
    expected["all"] = sum(p.numel() for p in model.parameters())
    optimizer = optimizer_of(model, case)
    for batch in rows(model.config.vocab_size):
        ids = torch.tensor(batch)
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        expected["losses"].append(loss.item())
        expected["grad_norms"].append(torch.nn.utils.clip_grad_norm_(trained, 1.0).item())
        optimizer.step()
        optimizer.zero_grad()
    expected["norms"] = {plain_name(n): p.detach().norm().item() for n, p in model.named_parameters() if p.requires_grad}
    if name in MERGED:
        # "auto" keeps a copy of adapted tables beside their adapters
        model.save_pretrained(os.path.join(folder, "end"), save_embedding_layers="auto" if name == "lookup" else False)
        readme = os.path.join(folder, "end", "README.md")
        if os.path.exists(readme):
            os.remove(readme)
        merged = PeftModel.from_pretrained(base_model(case), os.path.join(folder, "end")).merge_and_unload()
        state = {n: p.detach().contiguous().clone() for n, p in merged.named_parameters()}
        head = merged.get_output_embeddings().weight
        if head is not merged.get_input_embeddings().weight:
            state["lm_head.weight"] = head.detach().contiguous().clone()
        save_file(state, os.path.join(folder, "merged.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "expected.json"), "w") as f:
        json.dump(expected, f, indent=1)
        f.write("\n")
    print(name, [round(x, 5) for x in expected["losses"]], expected["trainable"], expected["all"])


if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "adapters")
    wanted = sys.argv[2:] or CASES
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in wanted:
        train(name, CASES[name], out)
