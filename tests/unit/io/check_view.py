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

with h5py.File(f"{sys.argv[1]}/checkpoint.h5", "r") as view:
    assert view.attrs["step"] == 7 and view.attrs["format"] == 1
    assert view.attrs["trainer_state"] == '{"global_step": 7, "note": "schön"}'
    assert view.attrs["config"] == "c" * 100_000
    for kind, group in enumerate([view, view["exp_avg"], view["exp_avg_sq"]]):
        for tensor, (name, shape) in enumerate(TENSORS):
            size = int(numpy.prod(shape))
            if kind > 0 and (tensor == FROZEN or size == 0):
                assert name not in group, name
                continue
            values = group[name]
            assert values.shape == shape and values.dtype == numpy.float32, (name, values)
            expected = numpy.float32(0.25 * kind + 1000 * tensor) + numpy.arange(size, dtype=numpy.float32)
            assert (values[...].ravel() == expected).all(), name
    assert len(view.keys()) == len(TENSORS) + 2
