#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes optimizers.json: ten steps of torch's, transformers' and bitsandbytes' optimizers on fixed gradients.

Tensors, first weights and gradients are those of tests/distributed/zero/optimizers_test.cpp, made from the same integers,
so that only results stand in the file: up to 48 elements of every tensor after the last step, and every tensor's norm.
Muon is LLaMA-Factory's form (momentum without dampening, 0.2 sqrt(max(rows, columns)), AdamW with eps before the bias
correction beside it), restated here and compared with torch.optim.Muon.
"""
import json
import math
import pathlib

import bitsandbytes
import bitsandbytes.backends.cpu.ops
import numpy as np
import torch
import transformers
from transformers.optimization import Adafactor

STEPS, SCALE = 10, 0.5
HIDDEN, VOCABULARY = 72, 37
TENSORS = [("embed", (VOCABULARY, HIDDEN)), ("block.1.norm", (HIDDEN,)), ("block.1.q", (HIDDEN, HIDDEN)),
           ("block.1.k", (HIDDEN // 2, HIDDEN)), ("block.1.down", (HIDDEN, 2 * HIDDEN + 1)), ("norm", (HIDDEN,)),
           ("lm_head", (VOCABULARY, HIDDEN))]
MASK = (1 << 64) - 1


def mix(a, b, count):
    c = np.arange(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        x = np.uint64(a * 0x9E3779B97F4A7C15 & MASK) + np.uint64(b * 0xBF58476D1CE4E5B9 & MASK) + c * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        x *= np.uint64(0xD6E8FEB86659FD93)
    return (x >> np.uint64(32)).astype(np.uint32)


def uniform(bits):
    return (bits >> np.uint32(8)).astype(np.float32) / np.float32(16777216.0) - np.float32(0.5)


def initial(tensor, shape):
    return torch.from_numpy(uniform(mix(977, tensor, math.prod(shape)))).reshape(shape).clone()


def gradient(step, tensor, shape):
    bits = mix(step, tensor, math.prod(shape))
    scale = np.float32(1.0) / (np.uint32(1) << (bits % np.uint32(10))).astype(np.float32)
    return torch.from_numpy(uniform(bits) * scale).reshape(shape).clone()


def rate(base, step):
    return base * (1 + step % 3)




def run(make, lr, decay=0.1):
    parameters = [torch.nn.Parameter(initial(t, shape)) for t, (_, shape) in enumerate(TENSORS)]
    groups = [{"params": [p], "weight_decay": decay if t % 2 == 0 else 0.0} for t, p in enumerate(parameters)]
    optimizer = make(groups, parameters)
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate(lr, step)
        for t, p in enumerate(parameters):
            p.grad = gradient(step, t, p.shape) * SCALE
        optimizer.step()
    return parameters


class Muon(torch.optim.Optimizer):
    """LLaMA-Factory's, for groups of one tensor."""

    def __init__(self, groups, names):
        super().__init__(groups, dict(lr=1e-3, weight_decay=0.0))
        self.names = names

    @torch.no_grad()
    def step(self):
        for group, name in zip(self.param_groups, self.names):
            p, lr, decay = group["params"][0], group["lr"], group["weight_decay"]
            state = self.state[p]
            state["step"] = state.get("step", 0) + 1
            if p.ndim == 2 and "embed" not in name and "lm_head" not in name:
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(p))
                buffer.mul_(0.95).add_(p.grad)
                u = newton_schulz(p.grad.add(buffer, alpha=0.95))
                p.mul_(1 - lr * decay).add_(u.float(), alpha=-lr * 0.2 * math.sqrt(max(p.shape)))
                continue
            m = state.setdefault("exp_avg", torch.zeros_like(p))
            v = state.setdefault("exp_avg_sq", torch.zeros_like(p))
            m.lerp_(p.grad, 1 - 0.9)
            v.lerp_(p.grad.square(), 1 - 0.999)
            scale = (1 - 0.9 ** state["step"]) / (1 - 0.999 ** state["step"]) ** 0.5
            p.mul_(1 - lr * decay).add_(m / (1e-8 + v.sqrt()), alpha=-lr / scale)


class Lamb(torch.optim.Optimizer):
    """DeepSpeed's FusedLamb (csrc/lamb/fused_lamb_cuda_kernel.cu), which runs on GPUs alone, restated."""

    def __init__(self, groups, max_coeff=10.0, min_coeff=0.01, bias_correction=True):
        super().__init__(groups, dict(lr=1e-3, weight_decay=0.0))
        self.bounds, self.bias_correction = (min_coeff, max_coeff), bias_correction

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            p, state = group["params"][0], self.state[group["params"][0]]
            state["step"] = state.get("step", 0) + 1
            m, v = (state.setdefault(name, torch.zeros_like(p)) for name in ("exp_avg", "exp_avg_sq"))
            m.mul_(0.9).add_(p.grad, alpha=1 - 0.9)
            v.mul_(0.999).add_(p.grad * p.grad, alpha=1 - 0.999)
            update = m / (v.sqrt() + 1e-8) + group["weight_decay"] * p
            step_size = group["lr"]
            if self.bias_correction:
                step_size *= math.sqrt(1 - 0.999 ** state["step"]) / (1 - 0.9 ** state["step"])
            weights, updates = p.double().norm().item(), update.double().norm().item()
            trust = min(max(weights / updates, self.bounds[0]), self.bounds[1]) if weights and updates else 1.0
            p.sub_(step_size * trust * update)


def newton_schulz(g, steps=5):
    x = g.bfloat16()
    tall = x.size(0) > x.size(1)
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


def compare_with_torch(parameters, lr):
    """torch.optim.Muon damps its buffer, which the normalisation takes out again."""
    index = [n for n, _ in TENSORS].index("block.1.down")
    p = torch.nn.Parameter(initial(index, TENSORS[index][1]))
    optimizer = torch.optim.Muon([p], lr=lr, weight_decay=0.1, momentum=0.95, nesterov=True, adjust_lr_fn="match_rms_adamw")
    for step in range(1, STEPS + 1):
        optimizer.param_groups[0]["lr"] = rate(lr, step)
        p.grad = gradient(step, index, p.shape) * SCALE
        optimizer.step()
    moved = (parameters[index] - initial(index, TENSORS[index][1])).norm()
    difference = ((parameters[index] - p).norm() / moved).item()
    print(f"Muon: {difference:.4f} of the way from torch.optim.Muon")
    assert difference < 0.02


def nearest(values, code, absmax_out, out, blocksize):
    """The definition of bitsandbytes' default backend. Its CPU library takes codes from a coarser table, off by one here and there."""
    flat = values.reshape(-1)
    for b in range(absmax_out.numel()):
        block = flat[b * blocksize:(b + 1) * blocksize]
        absmax_out[b] = block.abs().max()
        scaled = torch.clamp(block * (1 / absmax_out[b]), -1, 1)
        out.view(-1)[b * blocksize:(b + 1) * blocksize] = (scaled[:, None] - code[None, :]).abs().argmin(dim=-1).to(torch.uint8)


bitsandbytes.backends.cpu.ops._quant_blockwise_fp32_direct = nearest


def bnb(kind, **arguments):
    def make(groups, parameters):
        manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
        manager.__init__() if hasattr(manager, "initialize") is False else manager.initialize()
        manager.register_parameters(parameters)
        manager.override_config(parameters[0], "optim_bits", 32)  # transformers: embeddings stay in 32 bits
        return kind(groups, lr=1e-3, **arguments)
    return make


def without_indices(kind, **arguments):
    return lambda groups, parameters: kind(groups, **arguments)


CASES = {
    "adamw": (without_indices(torch.optim.AdamW, lr=1, foreach=False), 1e-3),
    "adam": (without_indices(torch.optim.Adam, lr=1, foreach=False), 1e-3),
    "sgd": (without_indices(torch.optim.SGD, lr=1, foreach=False), 1e-2),
    "sgd_momentum": (without_indices(torch.optim.SGD, lr=1, momentum=0.9, dampening=0.3, foreach=False), 1e-2),
    "sgd_nesterov": (without_indices(torch.optim.SGD, lr=1, momentum=0.9, nesterov=True, foreach=False), 1e-2),
    "adagrad": (without_indices(torch.optim.Adagrad, lr=1, lr_decay=0.1, foreach=False), 1e-2),
    "rmsprop": (without_indices(torch.optim.RMSprop, lr=1, foreach=False), 1e-3),
    "rmsprop_centered": (without_indices(torch.optim.RMSprop, lr=1, momentum=0.8, centered=True, alpha=0.9, foreach=False), 1e-3),
    "adafactor": (without_indices(Adafactor, lr=1, scale_parameter=False, relative_step=False), 1e-3),
    "adafactor_scaled": (without_indices(Adafactor, lr=1, scale_parameter=True, relative_step=False, beta1=0.9), 1e-2),
    "lamb": (lambda groups, parameters: Lamb(groups), 1e-2),
    "lamb_bounded": (lambda groups, parameters: Lamb(groups, 0.4, 0.3, False), 1e-2),
    "lion": (bnb(bitsandbytes.optim.Lion, betas=(0.9, 0.99), optim_bits=32), 1e-4),
    "lion_8bit": (bnb(bitsandbytes.optim.Lion, betas=(0.9, 0.99), optim_bits=8), 1e-4),
    "adamw_8bit": (bnb(bitsandbytes.optim.AdamW, betas=(0.9, 0.999), optim_bits=8), 1e-3),
    "muon": (lambda groups, parameters: Muon(groups, [n for n, _ in TENSORS]), 1e-2),
}


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    out = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__, "bitsandbytes": bitsandbytes.__version__},
           "cases": {}}
    for name, (make, lr) in CASES.items():
        parameters = run(make, lr)
        if name == "muon":
            compare_with_torch(parameters, lr)
        tensors = []
        for p in parameters:
            flat = p.detach().reshape(-1)
            stride = max(1, flat.numel() // 48)
            tensors.append({"stride": stride, "norm": flat.double().norm().item(), "values": [float(v) for v in flat[::stride]]})
        out["cases"][name] = {"lr": lr, "tensors": tensors}
    (pathlib.Path(__file__).parent / "optimizers.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
    maps = bitsandbytes.functional.create_dynamic_map
    lines = [" ".join(format(v.view(torch.int32).item() & 0xFFFFFFFF, "08x") for v in maps(signed=signed)) for signed in (True, False)]
    (pathlib.Path(__file__).parent / "dynamic_maps.txt").write_text("\n".join(lines) + "\n")


main()
