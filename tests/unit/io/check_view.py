# SPDX-License-Identifier: Apache-2.0
"""Reads a checkpoint of checkpoint_test_support.hpp through checkpoint.h5 alone and compares every value."""
import sys

import h5py
import numpy

TENSORS = [
    ("model.embed_tokens.weight", (37, 11)),
    ("model.layers.0.norm.weight", (11,)),
    ("model.layers.0.conv.weight", (5, 3, 7)),
    ("lm_head.weight", (13, 11)),
    ("model.empty", (0, 4)),
]
FROZEN = 1

# In the order of CheckpointKind.
KINDS = ["parameter", "exp_avg", "exp_avg_sq", "momentum_buffer", "sum", "square_avg", "grad_avg", "exp_avg_sq_row",
         "exp_avg_sq_col", "state1", "absmax1", "state2", "absmax2", "exp_avg_bf16", "exp_avg_sq_bf16"]


def shape_of(kind, shape):
    if kind == "exp_avg_sq_row":
        return shape[:-1]
    if kind == "exp_avg_sq_col":
        return shape[:-2] + shape[-1:]
    if kind.startswith("absmax"):
        return (-(-int(numpy.prod(shape)) // 256),)
    return shape


def expected(kind, tensor, size):
    number = KINDS.index(kind)
    steps = numpy.arange(size)
    if kind.startswith("state"):
        return ((7 * tensor + steps + number) % 251).astype(numpy.uint8)
    if kind.endswith("bf16"):  # the upper half of f32: these numbers are exact in it
        values = ((7 * tensor + steps + number) % 251).astype(numpy.float32)
        return (values.view(numpy.uint32) >> 16).astype(numpy.uint16)
    return numpy.float32(0.0625 * number + 1000 * tensor) + steps.astype(numpy.float32)


with h5py.File(f"{sys.argv[1]}/checkpoint.h5", "r") as view:
    assert view.attrs["step"] == 7 and view.attrs["format"] == 2
    assert view.attrs["trainer_state"] == '{"global_step": 7, "note": "schön"}'
    assert view.attrs["config"] == "c" * 100_000
    for kind in KINDS:
        group = view if kind == "parameter" else view[kind]
        for tensor, (name, shape) in enumerate(TENSORS):
            own = shape_of(kind, shape)
            if kind != "parameter" and (tensor == FROZEN or numpy.prod(own) == 0):
                assert name not in group, (kind, name)
                continue
            values = group[name]
            want = expected(kind, tensor, int(numpy.prod(own)))
            assert values.shape == own and values.dtype == want.dtype, (kind, name, values)
            assert (values[...].ravel() == want).all(), (kind, name)
    assert len(view.keys()) == len(TENSORS) + len(KINDS) - 1
