#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loads an adapter folder with PEFT and compares logits with those of a merged model folder.

usage: python check_adapter.py MODEL_DIR ADAPTER_DIR MERGED_DIR     prints the largest difference; 1 where it is above 1e-4
"""
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

base, adapter, merged = sys.argv[1:4]
torch.manual_seed(0)


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


model = PeftModel.from_pretrained(load(base), adapter).eval()
ids = torch.randint(3, model.config.vocab_size, (2, 40))
with torch.no_grad():
    ours = load(merged)(input_ids=ids).logits
    theirs = model(input_ids=ids).logits
    plain = load(base)(input_ids=ids).logits
difference = (ours - theirs).abs().max().item()
print(f"largest difference {difference:.2e}, largest logit {theirs.abs().max().item():.2f}, "
      f"the adapter changes up to {(theirs - plain).abs().max().item():.2f}")
sys.exit(0 if difference <= 1e-4 else 1)
