#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes loss_scales.json: loss scales under scripted overflows, by DeepSpeed's and torch's own classes.

usage: make_loss_scales.py LOSS_SCALER.py
LOSS_SCALER.py is deepspeed/runtime/fp16/loss_scaler.py of the release to follow (the file here: DeepSpeed 0.16.9); what it
imports comes from the installed deepspeed.
"""
import importlib.util
import json
import pathlib
import sys

import torch

# Two overflows in a row, single ones, long good runs: o is an overflow.
SCRIPT = "oo....o..........oo.o.o............oooo......o..............................oooooo.."
DEEPSPEED = [
    dict(init_scale=2.0**16, scale_window=4, min_scale=1, delayed_shift=2, consecutive_hysteresis=False),
    dict(init_scale=2.0**32, scale_window=1000, min_scale=1, delayed_shift=1, consecutive_hysteresis=False),
    dict(init_scale=2.0**10, scale_window=3, min_scale=0.25, delayed_shift=3, consecutive_hysteresis=True),
    dict(init_scale=2.0**3, scale_window=5, min_scale=2, delayed_shift=1, consecutive_hysteresis=False),
]
TORCH = [dict(init_scale=65536.0, growth_interval=2000), dict(init_scale=1024.0, growth_interval=3), dict(init_scale=2.0**126, growth_interval=2)]


def deepspeed_trace(module, options):
    scaler = module.DynamicLossScaler(**options, dtype=torch.half)
    trace = []
    for letter in SCRIPT:
        trace.append(scaler.cur_scale)
        try:
            scaler.update_scale(letter == "o")
        except Exception as error:
            return trace, str(error)
    return trace, None


def torch_trace(options):
    scaler = torch.amp.GradScaler("cpu", **options)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    trace = []
    for letter in SCRIPT:
        trace.append(scaler.scale(torch.ones(())).item())
        parameter.grad = torch.full((1,), float("inf") if letter == "o" else 0.0)
        scaler.step(optimizer)
        scaler.update()
    return trace


def main():
    spec = importlib.util.spec_from_file_location("loss_scaler", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.dist.get_rank = lambda: 1  # no log lines
    out = {"script": SCRIPT, "torch_version": torch.__version__, "deepspeed": [], "torch": []}
    for options in DEEPSPEED:
        trace, error = deepspeed_trace(module, options)
        out["deepspeed"].append({**options, "scales": trace, "error": error})
    for options in TORCH:
        out["torch"].append({**options, "scales": torch_trace(options)})
    (pathlib.Path(__file__).parent / "loss_scales.json").write_text(json.dumps(out) + "\n")


main()
