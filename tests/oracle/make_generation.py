#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Greedy answers of the tiny models by transformers' own generate(), for generator_test.

usage: python make_generation.py > generation.json      (after make_tiny_llama.py)
"""
import json
import os
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny-models")
out = {"torch": torch.__version__, "transformers": transformers.__version__, "cases": []}
for name in sorted(os.listdir(here)):
    model = AutoModelForCausalLM.from_pretrained(os.path.join(here, name), attn_implementation="eager").float().eval()
    for prompt, penalty in [([1, 7, 8, 9, 30, 31], 1.0), ([1, 40, 12, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 1.0), ([5, 6, 5, 6], 1.4)]:
        config = GenerationConfig(do_sample=False, max_new_tokens=30, repetition_penalty=penalty, eos_token_id=2, pad_token_id=0)
        with torch.no_grad():
            ids = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                                 generation_config=config)[0].tolist()
        out["cases"].append({"model": name, "prompt": prompt, "repetition_penalty": penalty, "answer": ids[len(prompt):]})
json.dump(out, sys.stdout)
print()
