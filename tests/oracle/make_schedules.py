#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes schedules.json: the learning rate of every update under transformers', torch's and DeepSpeed's schedulers."""
import json
import logging
import pathlib

import deepspeed
import torch
import transformers
from deepspeed.runtime import lr_schedules
from transformers import get_scheduler

logging.disable(logging.WARNING)

TRANSFORMERS = [
    ("linear", {}, 0, 10), ("linear", {}, 3, 17), ("cosine", {}, 4, 20), ("cosine", {"num_cycles": 1.25}, 2, 21),
    ("cosine_with_restarts", {}, 3, 19), ("cosine_with_restarts", {"num_cycles": 3}, 3, 25),
    ("polynomial", {}, 2, 15), ("polynomial", {"lr_end": 1e-5, "power": 2.5}, 4, 18),
    ("constant", {}, 5, 8), ("constant_with_warmup", {}, 5, 9),
    ("inverse_sqrt", {}, 4, 16), ("inverse_sqrt", {}, 0, 6), ("inverse_sqrt", {"timescale": 7}, 4, 16),
    ("cosine_with_min_lr", {"min_lr": 1e-5}, 3, 20), ("cosine_with_min_lr", {"min_lr_rate": 0.1, "num_cycles": 0.75}, 0, 13),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.2}, 5, 17),
    ("cosine_warmup_with_min_lr", {"min_lr": 3e-5, "warmup_lr_rate": 0.3}, 5, 17),
    ("warmup_stable_decay", {"num_stable_steps": 5, "num_decay_steps": 8}, 4, 17),
    ("warmup_stable_decay", {"num_stable_steps": 3, "num_decay_steps": 6, "warmup_type": "cosine", "decay_type": "linear", "min_lr_ratio": 0.1}, 4, 20),
    ("warmup_stable_decay", {"num_stable_steps": 0, "num_decay_steps": 9, "warmup_type": "1-sqrt", "decay_type": "1-sqrt"}, 5, 16),
    ("warmup_stable_decay", {"num_stable_steps": 2, "num_decay_steps": 7, "decay_type": "cosine", "num_cycles": 0.4, "min_lr_ratio": 0.05}, 0, 12),
]
PLATEAU = [
    ({}, [3.0, 2.0] + [2.0] * 25), ({"factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": 1e-5}, [1, 1, 1, 1, 1, 1, 1, .5, .5, .5, .5, .5, .5, .5]),
    ({"mode": "max", "factor": 0.3, "patience": 0, "threshold": 0.05, "threshold_mode": "abs"}, [1, 1.04, 1.06, 1.2, 1.2, 0.9, 2, 2.01]),
    ({"patience": 1, "factor": 0.9, "eps": 5e-5}, [1, 1, 1, 1, 1, 1]),
]
DEEPSPEED = [
    ("WarmupLR", {"warmup_min_lr": 0, "warmup_max_lr": 4e-4, "warmup_num_steps": 6}, 12),
    ("WarmupLR", {"warmup_min_lr": 1e-5, "warmup_max_lr": 4e-4, "warmup_num_steps": 5, "warmup_type": "linear"}, 9),
    ("WarmupLR", {"warmup_max_lr": 1e-3, "warmup_num_steps": 1}, 5),
    ("WarmupDecayLR", {"total_num_steps": 15, "warmup_min_lr": 1e-6, "warmup_max_lr": 4e-4, "warmup_num_steps": 4}, 18),
    ("WarmupDecayLR", {"total_num_steps": 9, "warmup_max_lr": 4e-4, "warmup_num_steps": 3, "warmup_type": "linear"}, 12),
    ("WarmupCosineLR", {"total_num_steps": 16, "warmup_num_steps": 5}, 16),
    ("WarmupCosineLR", {"total_num_steps": 14, "warmup_num_steps": 4, "warmup_min_ratio": 0.1, "cos_min_ratio": 0.05, "warmup_type": "linear"}, 14),
    ("OneCycle", {"cycle_min_lr": 1e-5, "cycle_max_lr": 1e-3, "cycle_first_step_size": 4}, 12),
    ("OneCycle", {"cycle_min_lr": 1e-5, "cycle_max_lr": 1e-3, "cycle_first_step_size": 3, "cycle_second_step_size": 6, "decay_step_size": 2,
                  "decay_lr_rate": 0.5, "decay_mom_rate": 0.1, "cycle_min_mom": 0.7, "cycle_max_mom": 0.95}, 20),
    ("OneCycle", {"cycle_min_lr": 0, "cycle_max_lr": 1e-3, "cycle_first_step_size": 8, "cycle_first_stair_count": 4, "cycle_momentum": False}, 20),
    ("LRRangeTest", {"lr_range_test_min_lr": 1e-4, "lr_range_test_step_size": 3, "lr_range_test_step_rate": 2}, 10),
    ("LRRangeTest", {"lr_range_test_min_lr": 1e-4, "lr_range_test_step_size": 3, "lr_range_test_staircase": True}, 10),
]
LR = 3e-4


def optimizer():
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=LR)


def rates(o, scheduler, count, step):
    values, betas = [], []
    for k in range(count):
        values.append(float(o.param_groups[0]["lr"]))
        betas.append([float(b) for b in o.param_groups[0]["betas"]])
        o.step()
        step(scheduler, k)
    return values, betas


def main():
    out = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__, "deepspeed": deepspeed.__version__},
           "learning_rate": LR, "transformers": [], "plateau": [], "deepspeed": []}
    for name, kwargs, warmup, total in TRANSFORMERS:
        o = optimizer()
        values, _ = rates(o, get_scheduler(name, o, warmup, total, dict(kwargs)), total + 3, lambda s, k: s.step())
        out["transformers"].append({"type": name, "arguments": kwargs, "warmup": warmup, "total": total, "rates": values})
    for kwargs, metrics in PLATEAU:
        o = optimizer()
        values, _ = rates(o, get_scheduler("reduce_lr_on_plateau", o, 0, 10, dict(kwargs)), len(metrics), lambda s, k: s.step(metrics[k]))
        out["plateau"].append({"arguments": kwargs, "metrics": metrics, "rates": values})
    for name, params, count in DEEPSPEED:
        o = optimizer()
        values, betas = rates(o, getattr(lr_schedules, name)(o, **params), count, lambda s, k: s.step())
        case = {"type": name, "params": params, "rates": values}
        if name == "OneCycle" and params.get("cycle_momentum", True):
            case["betas"] = betas
        out["deepspeed"].append(case)
    (pathlib.Path(__file__).parent / "schedules.json").write_text(json.dumps(out, indent=1) + "\n")


main()
