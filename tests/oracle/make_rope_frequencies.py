#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Inverse frequencies of every kind of RoPE scaling as transformers computes them, for rope_frequencies_test.

usage: python make_rope_frequencies.py > rope_frequencies.json
"""
import json
import sys

import torch
import transformers
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

CASES = [  # head_dim, theta, max_position_embeddings, scaling, seq_len
    (64, 10000.0, 2048, None, 2048),
    (12, 500000.0, 64, None, 19),
    (128, 1000000.0, 32768, None, 100),
    (64, 10000.0, 2048, {"rope_type": "linear", "factor": 4.0}, 100),
    (64, 10000.0, 2048, {"rope_type": "dynamic", "factor": 4.0}, 2048),
    (64, 10000.0, 2048, {"rope_type": "dynamic", "factor": 4.0}, 3000),
    (12, 10000.0, 8, {"rope_type": "dynamic", "factor": 2.5}, 19),
    (128, 500000.0, 131072, {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 8192}, 100),
    (64, 500000.0, 131072, {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                            "original_max_position_embeddings": 8192}, 100),
    (128, 1000000.0, 131072, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 100),
    (64, 10000.0, 8192, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048, "beta_fast": 16.0,
                         "beta_slow": 2.0, "attention_factor": 1.25}, 100),
    (64, 10000.0, 8192, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048, "mscale": 1.0,
                         "mscale_all_dim": 0.5}, 100),
]

out = {"torch": torch.__version__, "transformers": transformers.__version__, "cases": []}
for head_dim, theta, positions, scaling, seq_len in CASES:
    config = LlamaConfig(hidden_size=head_dim * 4, num_attention_heads=4, head_dim=head_dim, rope_theta=theta,
                         max_position_embeddings=positions, rope_scaling=dict(scaling) if scaling else None)
    if scaling is None:  # the default kind has no entry in the table of newer versions
        inv_freq, factor = 1.0 / (theta ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim)), 1.0
    else:
        # The model passes a tensor: the arithmetic of the dynamic base is f32.
        length = torch.tensor(seq_len) if scaling["rope_type"] == "dynamic" else seq_len
        inv_freq, factor = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config, "cpu", seq_len=length)
    out["cases"].append({"head_dim": head_dim, "rope_theta": theta, "max_position_embeddings": positions, "rope_scaling": scaling,
                         "seq_len": seq_len, "attention_factor": float(factor), "inv_freq": inv_freq.tolist()})
json.dump(out, sys.stdout, indent=0)
print()
