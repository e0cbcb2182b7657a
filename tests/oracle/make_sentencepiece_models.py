#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes small sentencepiece models and what the sentencepiece library makes of some texts.

    make_sentencepiece_models.py FOLDER

FOLDER/NAME.model and FOLDER/expected.json: per model the ids of every text and the text they decode to. `not_legacy` holds
the ids of LlamaTokenizer(legacy=False): the algorithm of transformers 4.52 (tokenize and _tokenize), written out here over
the library, because later versions have no such class.
"""
import base64, json, pathlib, re, sys, tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb

from make_tokenizer_components import CORPUS, TEXTS

RULES = {"ﬁ": "fi", "Ａ": "A", "Ｂ": "B", "①": "1", "\t": " ", "\n": " ", "\u3000": "  ", "\u200b": "", "e\u0301": "é", "½": "1/2", "ﷺ": "salla", "👨": "man "}
MODELS = {
    "unigram": dict(model_type="unigram", rules=True, user_defined_symbols=["<sep>", "dog", "▁the▁"], control_symbols=["<ctl>"], remove_extra_whitespaces=True),
    "unigram_bytes": dict(model_type="unigram", byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False, vocab_size=430),
    "bpe": dict(model_type="bpe", rules=True, user_defined_symbols=["<sep>", "dog", "o w"], remove_extra_whitespaces=True),
    "bpe_llama": dict(model_type="bpe", byte_fallback=True, remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True, vocab_size=430),
    "bpe_no_prefix": dict(model_type="bpe", byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols=["▁▁", "▁▁▁▁", "\n", "<start>"], vocab_size=430),
    "bpe_suffix": dict(model_type="bpe", treat_whitespace_as_suffix=True, remove_extra_whitespaces=True),
    "char": dict(model_type="char", remove_extra_whitespaces=True),
}
EXTRA = ["a dog<sep>dog  the the dog", " dog", "how wow o w o  w", "<ctl> <unk> <s>x</s>", "<0x41> <0x0A>", "\ufeffbom ▁x", "    indented\n        more", "<start>x<start>"]


def train(folder, name, options):
    options = dict(options)
    if options.pop("rules", False):
        lines = [" ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v) for k, v in RULES.items()]
        (folder / "rules.tsv").write_text("\n".join(lines) + "\n")
        options["normalization_rule_tsv"] = str(folder / "rules.tsv")
    else:
        options["normalization_rule_name"] = "identity"
    (folder / "text").write_text("\n".join(CORPUS))
    sentencepiece.SentencePieceTrainer.train(input=str(folder / "text"), model_prefix=str(folder / name), hard_vocab_limit=False, character_coverage=0.98,
                                             minloglevel=2, num_threads=1, **{"vocab_size": 170, **options})
    proto = pb.ModelProto()
    proto.ParseFromString((folder / f"{name}.model").read_bytes())
    proto.trainer_spec.ClearField("input")
    proto.trainer_spec.ClearField("model_prefix")
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    return proto.SerializeToString()


def not_legacy(model, text, special=("<s>", "</s>", "<unk>")):
    """LlamaTokenizer(legacy=False).tokenize, add_prefix_space=True, with the special tokens as added tokens."""
    proto = pb.ModelProto()
    proto.ParseFromString(model)
    proto.normalizer_spec.add_dummy_prefix = False
    sp = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    unk_length = len(sp.encode("<unk>", out_type=str))
    if not text:
        return []
    text = "▁" + text.replace("▁", " ")
    tokens = []
    for part in re.split("(" + "|".join(map(re.escape, special)) + ")", text):
        if part in special:
            tokens.append(part)
        elif part:
            tokens += sp.encode("<unk>" + part, out_type=str)[unk_length:] if part.startswith(("▁", " ")) else sp.encode(part, out_type=str)
    if len(tokens) > 1 and tokens[0] == "▁" and tokens[1] in special:
        tokens = tokens[1:]
    ids = []
    for token in tokens:
        ids.append(sp.piece_to_id(token))
    return ids


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    texts = TEXTS + EXTRA
    expected = {"sentencepiece": sentencepiece.__version__, "texts": texts, "models": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, options in MODELS.items():
            model = train(pathlib.Path(folder), name, options)
            (out / f"{name}.model").write_bytes(model)
            sp = sentencepiece.SentencePieceProcessor(model_proto=model)
            ids = [sp.encode(t) for t in texts]
            entry = {"ids": ids, "decoded": [sp.decode(i) for i in ids]}
            if name == "bpe_llama":
                entry["not_legacy"] = [not_legacy(model, t) for t in texts]
            expected["models"][name] = entry
            print(name, sp.get_piece_size(), len(model))
    (out / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
