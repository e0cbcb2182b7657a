#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes bleu.json: sentence_bleu of nltk 3.9 over characters with SmoothingFunction().method3, for pairs of texts."""
import json
import pathlib
import random

from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

random.seed(7)
pairs = [
    ("the cat is on the mat", "the cat is on the mat"),
    ("the cat", "the cat is on the mat"),
    ("a cat sat upon a mat, it is said, for very long", "the cat is on the mat"),
    ("", "something"),
    ("something", ""),
    ("zzz", "abc"),
    ("a", "a"),
    ("ab", "ba"),
    ("abc", "xaybzc"),
    ("\u4f60\u597d\uff0c\u4e16\u754c", "\u4f60\u597d\u4e16\u754c\uff01"),
    ("caf\u00e9 \U0001f600 ok", "cafe \U0001f600 ok?"),
]
for _ in range(20):
    text = "".join(random.choice("abcde ") for _ in range(random.randint(1, 60)))
    other = "".join(c if random.random() < 0.7 else random.choice("abcde ") for c in text)[: random.randint(1, 60)]
    pairs.append((other, text))
cases = []
for prediction, reference in pairs:
    score = sentence_bleu([list(reference)], list(prediction), smoothing_function=SmoothingFunction().method3)
    cases.append({"prediction": prediction, "reference": reference, "bleu4": score})
pathlib.Path(__file__).with_name("bleu.json").write_text(json.dumps(cases, indent=1) + "\n")
