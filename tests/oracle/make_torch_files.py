#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small state dicts as torch.save writes them, good and bad, and a tiny model in two files of them.

usage: python make_torch_files.py [OUTDIR]      (default: torch-files beside this file)

Element i of a tensor is i / 4 - 2: exact in every type, so that a test can say what it must read.
"""
import collections
import json
import os
import struct
import sys
import zipfile

import torch
from safetensors.torch import load_file


def values(*shape, dtype=torch.float32):
    count = int(torch.tensor(shape).prod()) if shape else 1
    return (torch.arange(count, dtype=torch.float64) / 4 - 2).reshape(shape).to(dtype)


class Runs:
    """Asks to run a command when it is unpickled, as malicious files do."""

    def __reduce__(self):
        return os.system, ("echo this must never be run",)


def zip64(source, target):
    """The same members with zip64 records throughout, as archives of more than 4 GB have them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            with new.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(old.read(name))
    with open(target, "rb") as f:
        data = f.read()
    end = data.rindex(b"PK\x05\x06")
    count, = struct.unpack("<H", data[end + 10:end + 12])
    size, offset = struct.unpack("<II", data[end + 12:end + 20])
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    tail = data[end:end + 8] + struct.pack("<HHIIH", 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    with open(target, "wb") as f:
        f.write(data[:end] + record + locator + tail)


def bloom(out):
    """tests/oracle/tiny-families/bloom as Bloom's own files are: no prefix, the tied head beside the table, two files."""
    os.makedirs(out, exist_ok=True)
    here = os.path.dirname(os.path.abspath(__file__))
    state = {k.removeprefix("transformer."): v for k, v in
             load_file(os.path.join(here, "tiny-families", "bloom", "model.safetensors")).items()}
    names = sorted(state)
    parts = [{n: state[n].bfloat16() for n in names[: len(names) // 2]}, {n: state[n].half() for n in names[len(names) // 2:]}]
    parts[1]["lm_head.weight"] = parts[1]["word_embeddings.weight"]
    weight_map = {}
    for i, part in enumerate(parts):
        file = f"pytorch_model-{i + 1:05d}-of-00002.bin"
        torch.save(part, os.path.join(out, file))
        weight_map |= {n: file for n in part}
    with open(os.path.join(out, "pytorch_model.bin.index.json"), "w") as f:
        json.dump({"metadata": {}, "weight_map": weight_map}, f, indent=1, sort_keys=True)
        f.write("\n")


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
    zip64(os.path.join(out, "plain_dict.bin"), os.path.join(out, "zip64.bin"))
    bloom(os.path.join(out, "bloom"))
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
