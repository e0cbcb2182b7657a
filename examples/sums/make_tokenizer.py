#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes model/tokenizer.json: a byte-level BPE of 256 bytes and the few words that the sums dataset is made of.

usage: python make_tokenizer.py > model/tokenizer.json      (the result is committed; nothing else needs this script)
"""
import json

WORDS = ["Human", "Assistant", "What", "\u0120is", "\u0120+", "\u0120so"]

printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
letters, extra = {}, 0
for byte in range(256):
    letters[byte] = chr(byte) if byte in printable else chr(256 + extra)
    extra += byte not in printable

special = ["<unk>", "<s>", "</s>"]
vocab = {token: i for i, token in enumerate(special + [letters[b] for b in range(256)])}
merges = []
for word in WORDS:  # left to right: each merge adds one letter
    for end in range(2, len(word) + 1):
        if word[:end] not in vocab:
            vocab[word[:end]] = len(vocab)
            merges.append(f"{word[:end - 1]} {word[end - 1]}")

print(json.dumps({
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                     for i, t in enumerate(special)],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
              "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": merges},
}, ensure_ascii=False, indent=1))
