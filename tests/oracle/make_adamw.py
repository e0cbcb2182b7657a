#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes adamw_torch.txt: five steps of torch.optim.AdamW (single tensor) on 67 numbers, as hexadecimal float bits."""
import pathlib

import torch

COUNT, STEPS = 67, 5


def bits(value):
    return format(value.view(torch.int32).item() & 0xFFFFFFFF, "08x")


def main():
    generator = torch.Generator().manual_seed(1)
    parameter = torch.nn.Parameter(torch.randn(COUNT, generator=generator))
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, foreach=False)
    lines = [f"# torch {torch.__version__}, tests/oracle/make_adamw.py: step gradient parameter exp_avg exp_avg_sq"]
    zeros = torch.zeros(COUNT)

    def record(step, gradient, exp_avg, exp_avg_sq):
        for row in zip(gradient, parameter.data, exp_avg, exp_avg_sq):
            lines.append(" ".join([str(step)] + [bits(value) for value in row]))

    record(0, zeros, zeros, zeros)
    for step in range(1, STEPS + 1):
        # Gradients of many sizes, zeros among them.
        parameter.grad = torch.randn(COUNT, generator=generator) * 10.0 ** torch.randint(-6, 2, (COUNT,), generator=generator)
        parameter.grad[::29] = 0
        optimizer.step()
        state = optimizer.state[parameter]
        record(step, parameter.grad, state["exp_avg"], state["exp_avg_sq"])
    (pathlib.Path(__file__).parent / "adamw_torch.txt").write_text("\n".join(lines) + "\n")


main()
