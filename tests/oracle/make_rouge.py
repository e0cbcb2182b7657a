#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes rouge.json: words of jieba 0.42 and F scores of rouge_chinese 1.0 for pairs of texts.

Texts without Chinese characters are cut by jieba; in the others every Chinese character is put between blanks first, so
that it is a word of its own.
"""
import json
import logging
import pathlib
import random
import re

import jieba
from rouge_chinese import Rouge

jieba.setLogLevel(logging.ERROR)
random.seed(11)
pairs = [
    ("the cat is on the mat", "the cat is on the mat"),
    ("The cat, it is said, sat on the mat.", "the cat is on the mat"),
    ("", "something"),
    ("something", "  \n"),
    ("zzz", "abc"),
    ("a b c a b c a b", "a b c"),
    ("Is it? Yes! It is... 3.5% of C++ and AT&T's c#.", "Is it? No. It is 3.5 % of C++ or AT&T, c# and f_o-o"),
    ("one\n\ntwo\n \nthree\r\nfour\t five\u3000six\u00a0seven", "one two\nthree four five six\n\n\nseven"),
    ("wait...... what ........ ok......", "wait ...... ok"),
    ("Really?  \n  yes ? ? \n", "Really?\nyes"),
    ("1,000.50% x.5 5.x .5 a.5.6%% -- #tag user_name@host.org +1-2", "1,000.5 x.5 a.5 --- #tag user-name host"),
    ("caf\u00e9 \u00fcber \U0001f600 ok \u4f60\u597d\uff0c\u4e16\u754c\u3002\u597d\uff01 abc", "cafe \u00fcber \U0001f600 ok? \u4f60\u597d\u4e16\u754c\uff01"),
    ("\u201cquote\u201d \u2018q\u2019 ......\u201d end", "quote q end"),
]
signs = "abAB01.%?!,-_+#& \n"
for _ in range(40):
    text = "".join(random.choice(signs) for _ in range(random.randint(1, 60)))
    other = "".join(c if random.random() < 0.8 else random.choice(signs) for c in text)
    pairs.append((other, text))


def cut(text):
    out = []
    for part in re.split("([\u4e00-\u9fd5])", text):
        out += [part] if re.fullmatch("[\u4e00-\u9fd5]", part) else list(jieba.cut(part))
    return out


cases = []
for prediction, reference in pairs:
    a, b = cut(prediction), cut(reference)
    if not " ".join(a).split() or not " ".join(b).split():
        scores = [0.0, 0.0, 0.0]
    else:
        found = Rouge().get_scores(" ".join(a), " ".join(b))[0]
        scores = [found[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l")]
    cases.append({"prediction": prediction, "reference": reference, "words": a, "rouge": scores})
pathlib.Path(__file__).with_name("rouge.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
