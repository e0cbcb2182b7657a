#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What some data keys do elsewhere: add_tokens and add_special_tokens (transformers), group_by_length (transformers'
get_length_grouped_indices), data_split (DeepSpeed-Chat's get_raw_dataset_split_index and its blending, numpy).

usage: python make_data_keys.py [OUTFILE]      (default: data_keys.json beside this file)
"""
import json
import os
import sys
import tempfile

import numpy as np
import torch
import transformers
from transformers import PreTrainedTokenizerFast
from transformers.trainer_pt_utils import get_length_grouped_indices

HERE = os.path.dirname(os.path.abspath(__file__))

TOKENIZER = {
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": 0, "content": "<unk>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}],
    "normalizer": {"type": "Lowercase"}, "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
              "fuse_unk": True, "byte_fallback": False, "ignore_merges": False,
              "vocab": {"<unk>": 0, "a": 1, "b": 2, " ": 3, "ab": 4, "c": 5, "<": 6, ">": 7}, "merges": [["a", "b"]]},
}
PLAIN, SPECIAL = ["<New>", "ab", "b c", ""], ["<S>", "<New>", "c"]
TEXTS = ["a<new>b", "a<NEW>b", "<S>a<s>", "ab c abc", "AB C", "cab<S><S>", "c<New>C"]


def added_tokens():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        json.dump(TOKENIZER, open(path, "w"))
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=path, unk_token="<unk>")
        counts = [tokenizer.add_tokens(PLAIN, special_tokens=False), tokenizer.add_tokens(SPECIAL, special_tokens=True)]
        tokenizer.save_pretrained(folder)
        saved = json.load(open(path))["added_tokens"]
        encoded = [{"text": t, "ids": tokenizer(t, add_special_tokens=False)["input_ids"]} for t in TEXTS]
        return {"tokenizer": TOKENIZER, "add_tokens": PLAIN, "add_special_tokens": SPECIAL, "counts": counts,
                "len": len(tokenizer), "encoded": encoded, "saved": saved}


def shuffle_index(seed, size):
    rng = np.random.RandomState(seed=seed)
    index = np.arange(0, size, dtype=np.uint32)
    rng.shuffle(index)
    return index


def first_share(split, size, seed):
    shares = [float(s) for s in split.split(",")]
    shares = [s / sum(shares) for s in shares]
    ends = [0]
    for share in shares:
        ends.append(ends[-1] + int(round(share * float(size))))
    diff = ends[-1] - size
    ends = [ends[0]] + [e - diff for e in ends[1:]]
    return shuffle_index(seed, size)[ends[0]:ends[1]].tolist()


def blended(splits, sizes, seed):
    """data_path with `splits` below a whole first, then sft_only_data_path ("10,0,0")."""
    parts = [[[d, r] for r in first_share(s, n, seed)] for d, (s, n) in enumerate(zip(splits, sizes))]
    only = [d for d, s in enumerate(splits) if s == "10,0,0"]
    rows = sum((p for d, p in enumerate(parts) if d not in only), [])
    if len(splits) - len(only) > 1:
        rows = [rows[i] for i in shuffle_index(seed, len(rows))]
    if only:
        more = sum((parts[d] for d in only), [])
        if len(only) > 1:
            more = [more[i] for i in shuffle_index(seed, len(more))]
        rows = rows + more
        rows = [rows[i] for i in shuffle_index(seed, len(rows))]
    return rows


def lengths(count):
    return [(37 * i * i + 11 * i) % 23 + 1 for i in range(count)]


def grouped(count, batch, accumulation, seed):
    generator = torch.Generator()
    generator.manual_seed(seed)
    return get_length_grouped_indices(lengths(count), batch * accumulation, generator=generator)


if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "data_keys.json")
    result = {
        "versions": {"numpy": np.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "added_tokens": added_tokens(),
        "first_share": [{"split": s, "rows": n, "seed": seed, "taken": first_share(s, n, seed)}
                        for s, n, seed in [("2,4,4", 25, 1234), ("2,4,4", 3, 1234), ("1,1", 5, 7), ("10,0,0", 9, 1234), ("1,1,1", 2, 42), ("0.5,0.25,0.25", 10, 1234)]],
        "blended": [{"split": "|".join(splits), "rows": sizes, "seed": 1234, "taken": blended(splits, sizes, 1234)}
                    for splits, sizes in [(["2,4,4", "2,4,4"], [20, 11]), (["2,4,4", "10,0,0"], [20, 6]), (["2,4,4", "5,5", "10,0,0", "10,0,0"], [9, 8, 3, 4])]],
        "grouped": [{"rows": n, "batch": b, "accumulation": a, "seed": s, "order": grouped(n, b, a, s)}
                    for n, b, a, s in [(50, 2, 1, 42), (7, 4, 2, 43), (130, 1, 2, 44)]],
    }
    with open(out, "w") as f:
        json.dump(result, f)
        f.write("\n")
