#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small state dicts as torch.save writes them, good and bad.

usage: python make_torch_files.py [OUTDIR]      (default: torch-files beside this file)

Element i of a tensor is i / 4 - 2: exact in every type, so that a test can say what it must read.
"""
import collections
import json
import os
import sys

import torch


def values(*shape, dtype=torch.float32):
    count = int(torch.tensor(shape).prod()) if shape else 1
    return (torch.arange(count, dtype=torch.float64) / 4 - 2).reshape(shape).to(dtype)


class Runs:
    """Asks to run a command when it is unpickled, as malicious files do."""

    def __reduce__(self):
        return os.system, ("echo this must never be run",)


def main(out):
    os.makedirs(out, exist_ok=True)

    def save(name, state, **how):
        torch.save(state, os.path.join(out, name), **how)

    whole = values(6, 4)
    good = collections.OrderedDict(
        [("f32", values(3, 5)), ("f16", values(7, dtype=torch.float16)), ("bf16", values(2, 2, 3, dtype=torch.bfloat16)),
         ("f64", values(4, dtype=torch.float64)), ("i64", torch.arange(3)), ("part", whole[2:4]), ("whole", whole),
         ("scalar", values())])
    good._metadata = collections.OrderedDict([("", {"version": 1})])
    save("good.bin", good)
    save("plain_dict.bin", {"w": torch.nn.Parameter(values(2, 3))})
    save("protocol4.bin", {"w": values(2, 3)}, pickle_protocol=4)
    save("malicious.bin", {"w": values(2), "x": Runs()})
    save("transposed.bin", {"w": values(3, 5).t()})
    save("checkpoint.bin", {"epoch": 3, "w": values(2)})
    save("older.bin", {"w": values(2)}, _use_new_zipfile_serialization=False)
    save("pytorch_model-00001-of-00002.bin", {"a": values(2, 3)})
    save("pytorch_model-00002-of-00002.bin", {"b": values(4, dtype=torch.float16), "c": values(5)})
    index = {"metadata": {"total_size": 52}, "weight_map": {
        "a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin",
        "c": "pytorch_model-00002-of-00002.bin"}}
    with open(os.path.join(out, "pytorch_model.bin.index.json"), "w") as f:
        json.dump(index, f, indent=1, sort_keys=True)
        f.write("\n")
    print("torch", torch.__version__)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch-files"))
