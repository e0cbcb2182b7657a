# SPDX-License-Identifier: Apache-2.0
"""The order in which datasets are resampled, mixed, split and shuffled: numpy and Hugging Face datasets.

usage: python make_dataset_order.py > dataset_order.json             datasets 3.6.0: newer ones shuffle streams otherwise
       python make_dataset_order.py once > dataset_order_once.json   datasets 4.5 or newer: older ones cannot do it
"""
import json
import sys

import datasets
import numpy as np
from datasets import Dataset, interleave_datasets

datasets.disable_progress_bars()


def numbers(lengths):
    """Datasets whose rows are numbered one dataset after the other."""
    out, at = [], 0
    for n in lengths:
        out.append(Dataset.from_dict({"i": list(range(at, at + n))}))
        at += n
    return out


def resample(seed, cases):
    """num_samples of several datasets in turn, by one global generator."""
    np.random.seed(seed)
    out = []
    for rows, count in cases:
        picked = np.random.permutation(rows)[:count]
        if len(picked) < count:
            picked = np.concatenate((picked, np.random.choice(rows, count - len(picked))), axis=0)
        out.append({"rows": rows, "count": count, "picked": picked.tolist()})
    return {"seed": seed, "datasets": out}


def interleave(lengths, strategy, probabilities, seed):
    mixed = interleave_datasets(numbers(lengths), probabilities=probabilities, seed=seed, stopping_strategy=strategy)
    return {"lengths": lengths, "strategy": strategy, "probabilities": probabilities, "seed": seed, "order": list(mixed["i"])}


def mix_stream(lengths, strategy, probabilities, seed):
    sources = [d.to_iterable_dataset() for d in numbers(lengths)]
    mixed = interleave_datasets(sources, probabilities=probabilities, seed=seed, stopping_strategy=strategy)
    return {"lengths": lengths, "strategy": strategy, "probabilities": probabilities, "seed": seed,
            "order": [row["i"] for row in mixed]}


def stream(rows, buffer_size, seed, epoch):
    shuffled = numbers([rows])[0].to_iterable_dataset().shuffle(buffer_size=buffer_size, seed=seed)
    shuffled.set_epoch(epoch)
    return {"rows": rows, "buffer_size": buffer_size, "seed": seed, "epoch": epoch,
            "order": [row["i"] for row in shuffled]}


def split(rows, test_size, seed):
    parts = numbers([rows])[0].train_test_split(test_size=test_size, seed=seed)
    return {"rows": rows, "val_size": test_size, "seed": seed, "train": list(parts["train"]["i"]),
            "validation": list(parts["test"]["i"])}


def generator(seed):
    rng = np.random.default_rng(seed)
    return {"seed": seed, "random": [float(x).hex() for x in rng.random(3)],
            "integers_10": rng.integers(0, 10, size=7).tolist(), "random_after": float(rng.random()).hex(),
            "integers_2_40": [int(x) for x in rng.integers(0, 2**40, size=3)],
            "integers_2_32": [int(x) for x in rng.integers(0, 2**32, size=3)],
            "integers_2_63": int(rng.integers(0, 1 << 63)), "permutation_17": rng.permutation(17).tolist()}


VERSIONS = {"numpy": np.__version__, "datasets": datasets.__version__}
if sys.argv[1:] == ["once"]:
    once = "all_exhausted_without_replacement"
    print(json.dumps({"versions": VERSIONS, "interleave": [
        interleave([3, 4, 3, 6], once, None, 1), interleave([5, 2, 9], once, [0.2, 0.5, 0.3], 42)]}))
    sys.exit()

print(json.dumps({
    "versions": VERSIONS,
    "generator": [generator(s) for s in (0, 42, 4294967295, 4294967296 + 5, (1 << 63) + 12345)],
    "resample": [resample(42, [(10, 4), (5, 12), (1, 3), (33, 33)]), resample(7, [(100, 3), (3, 100)])],
    "interleave": [
        interleave([3, 4, 5], "first_exhausted", None, 42),
        interleave([3, 4, 5], "all_exhausted", None, 42),
        interleave([7, 2, 4], "first_exhausted", [0.2, 0.5, 0.3], 42),
        interleave([7, 2, 4], "all_exhausted", [0.2, 0.5, 0.3], 1),
        interleave([900, 700], "first_exhausted", [0.7, 0.3], 3),
        interleave([40, 3], "all_exhausted", [0.97, 0.03], 9),
    ],
    "mix_stream": [
        mix_stream([3, 4, 5], "first_exhausted", None, 42),
        mix_stream([3, 4, 5], "all_exhausted", None, 42),
        mix_stream([7, 2, 4], "first_exhausted", [0.2, 0.5, 0.3], 42),
        mix_stream([7, 2, 4], "all_exhausted", [0.2, 0.5, 0.3], 1),
    ],
    "stream": [stream(20, 6, 42, 0), stream(20, 6, 42, 1), stream(20, 6, 42, 3), stream(5, 16384, 42, 0),
               stream(9, 1, 42, 0), stream(2500, 7, 11, 2)],
    "split": [split(10, 0.1, 42), split(91, 0.1, 42), split(100, 7, 42), split(11, 0.5, 3)],
}))
