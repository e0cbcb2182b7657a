#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loads exported model folders with transformers' own classes and compares logits with the references.

usage: python check_export.py REFERENCE_DIR EXPORT_DIR     1 where a folder of EXPORT_DIR does not load or differs

Folders whose model_type has no class (ChatGLM, Baichuan, InternLM2) are named and left out.
"""
import json
import os
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

references, exports = sys.argv[1:3]
torch.set_num_threads(1)
failed = compared = 0
for name in sorted(os.listdir(exports)):
    folder = os.path.join(exports, name)
    with open(os.path.join(folder, "config.json")) as f:
        model_type = json.load(f)["model_type"]
    if model_type not in CONFIG_MAPPING:
        print(f"{name}: transformers has no class for {model_type}")
        continue
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                       output_loading_info=True)
    reference = load_file(os.path.join(references, name, "reference.safetensors"))
    mask = reference["attention_mask"]
    with torch.no_grad():
        logits = model.train()(input_ids=reference["input_ids"], attention_mask=mask, use_cache=False).logits
    difference = ((logits - reference["logits"]).abs() * mask[..., None]).max().item()
    problems = {key: list(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    compared += 1
    if difference > 1e-5 or problems:
        failed += 1
        print(f"{name}: largest difference {difference:.2e} {problems}")
print(f"{compared} folders compared, {failed} differ")
sys.exit(1 if failed or not compared else 0)
