#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/unit/data/tokenizer_components.json: small tokenizers and what Hugging Face tokenizers makes of some texts.

    make_tokenizer_components.py OUTPUT

Each case is a tokenizer.json put together from a model (kept once) and components, with the ids of every text, with and
without special tokens, and the decoded ids with and without special tokens.
"""
import json, pathlib, sys, tempfile

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "the quick brown fox jumps over the lazy dog and the other dogs",
    "It isn't the world's 12 345 words, it's 67.8% of them: don't we'll they've!",
    "naïve café résumé Ünïcode Straße, ﬁn ½ ＡＢＣ １２３",
    "世界 你好,世界。こんにちは カタカナ ー 한국어",
    "привет мир, Привет Мир",
    "def f(x):\n\treturn x+1  # 42",
] * 4
TEXTS = [
    "", " ", "  ", "\n", "hello", " hello", "hello ", "  hello   world  ", "the quick brown fox", "The QUICK Brown",
    "isn't don't WE'LL they've 'tis", "12345 6 78.9 ١٢٣ ½ Ⅷ", "a1b22c333", "world's words, it's: (the) [dogs]!?", "$5+3=8 ~`^|<>",
    "naïve café e\u0301 résumé", "İstanbul ẞtraße ǅ", "ﬁn ＡＢＣ １２３ ①", "世界 你好,世界。", "こんにちは カタカナー ラーメン", "한국어 각",
    "привет Мир", "x\ty\r\nz\n\n\nw", "tab\there\u00a0nbsp\u2003em\u3000wide", "zero\u200bwidth\u200djoin\ufeffbom", "bell\x07nul-free\x7f",
    "😀 👨‍👩‍👧 🇩🇪 ❤️", "नमस्ते दुनिया", "ﷺ", "▁mark▁ ▁▁two", "<s> a </s>", "[CLS] the [SEP] dog", "the<mask>dog <mask> dog  <mask>  dog",
    "adog dog dogs dog-dog DOG", "a²b ①c ½d ×÷ª", "\u1100\u1161\u11a8 \ufffd \U000e0001", "a" * 110, "snake_case camelCase kebab-case", "http://a.b/c?d=e&f=g",
]


def train(model, trainer, pre=None):
    tokenizer = Tokenizer(model)
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(CORPUS, trainer)
    return json.loads(tokenizer.to_str())["model"]


def small_charsmap():
    """A charsmap of a few rules: sentencepiece's own are 240 KiB."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        rules = {"ﬁ": "fi", "Ａ": "A", "Ｂ": "B", "①": "1", "\t": " ", "\n": " ", "\u3000": " ", "\u200b": "", "e\u0301": "é", "½": "1/2", "ﷺ": "salla", "👨": "man "}
        lines = [" ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v) for k, v in rules.items()]
        (folder / "rules.tsv").write_text("\n".join(lines) + "\n")
        (folder / "text").write_text("\n".join(CORPUS))
        sentencepiece.SentencePieceTrainer.train(input=str(folder / "text"), model_prefix=str(folder / "m"), vocab_size=120,
                                                 normalization_rule_tsv=str(folder / "rules.tsv"), minloglevel=2, hard_vocab_limit=False,
                                                 character_coverage=1.0)
        from sentencepiece import sentencepiece_model_pb2 as pb
        proto = pb.ModelProto()
        proto.ParseFromString((folder / "m.model").read_bytes())
        import base64
        return base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()


def build_models():
    special = ["<unk>", "<s>", "</s>", "<mask>"]
    quiet = {"show_progress": False}
    byte = train(models.BPE(), trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **quiet),
                 pre_tokenizers.ByteLevel())
    meta = train(models.BPE(unk_token="<unk>"), trainers.BpeTrainer(vocab_size=250, special_tokens=special, **quiet), pre_tokenizers.Metaspace())
    fallback = json.loads(json.dumps(meta))
    fallback.update(byte_fallback=True, fuse_unk=True)
    for b in range(256):
        fallback["vocab"][f"<0x{b:02X}>"] = len(fallback["vocab"])
    partial = json.loads(json.dumps(meta))
    partial.update(byte_fallback=True)
    for b in [*range(0x80), 0xD0, *range(0xB0, 0xC0)]:
        partial["vocab"][f"<0x{b:02X}>"] = len(partial["vocab"])
    fused = json.loads(json.dumps(meta))
    fused.update(fuse_unk=True)
    dropped = json.loads(json.dumps(meta))
    dropped.update(unk_token=None)
    clip = train(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), trainers.BpeTrainer(vocab_size=220, special_tokens=special, end_of_word_suffix="</w>", **quiet),
                 pre_tokenizers.Whitespace())
    prefixed = train(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"),
                     trainers.BpeTrainer(vocab_size=220, special_tokens=special, continuing_subword_prefix="##", **quiet), pre_tokenizers.Whitespace())
    ignore = json.loads(json.dumps(byte))
    ignore.update(ignore_merges=True, merges=ignore["merges"][:60])
    unigram = train(models.Unigram(), trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", **quiet), pre_tokenizers.Metaspace())
    unigram_bytes = json.loads(json.dumps(unigram))
    unigram_bytes["byte_fallback"] = True
    unigram_bytes["vocab"] += [[f"<0x{b:02X}>", -20.0] for b in range(256)]
    piece = train(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=250, special_tokens=["[UNK]", "[CLS]", "[SEP]", "<mask>"], **quiet),
                  pre_tokenizers.BertPreTokenizer())
    level = train(models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=60, special_tokens=special, **quiet), pre_tokenizers.Whitespace())
    return {"byte": byte, "meta": meta, "fallback": fallback, "partial": partial, "fused": fused, "dropped": dropped, "clip": clip, "prefixed": prefixed,
            "ignore": ignore, "unigram": unigram, "unigram_bytes": unigram_bytes, "piece": piece, "level": level}


def cases():
    """name, model, and what the tokenizer is made of."""
    n, p, d, o = normalizers, pre_tokenizers, decoders, processors
    byte_level = dict(pre_tokenizer=p.ByteLevel(add_prefix_space=False), decoder=d.ByteLevel())
    yield "byte_level", "byte", byte_level
    yield "byte_level_prefix_space", "byte", dict(pre_tokenizer=p.ByteLevel(add_prefix_space=True), decoder=d.ByteLevel())
    yield "byte_level_no_regex", "byte", dict(pre_tokenizer=p.ByteLevel(add_prefix_space=False, use_regex=False), decoder=d.ByteLevel())
    yield "byte_level_normalizer", "byte", dict(normalizer=n.ByteLevel(), decoder=d.ByteLevel())
    yield "byte_level_before_split", "byte", dict(pre_tokenizer=p.Sequence([p.ByteLevel(add_prefix_space=False), p.Split("Ġ", "isolated")]), decoder=d.ByteLevel())
    yield "ignore_merges", "ignore", byte_level
    yield "ignore_merges_text", "ignore", dict(pre_tokenizer=p.Whitespace())
    for form in (n.NFC, n.NFD, n.NFKC, n.NFKD):
        yield form.__name__.lower(), "byte", dict(normalizer=form(), **byte_level)
    llama3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    patterns = {
        "llama3": llama3, "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+", "intersection": r"[\p{L}&&[^aeiou]]+", "nested_negated": r"[0-9[^\w\s]]+", "empty_matches": r"(?=[A-Zd])",
        "digits_from_right": r"(?=(\d{3})+(?!\d))", "boundary": r"\b", "line_starts": r"^.", "any": r"(?m:o.)", "dot": r".", "posix": r"[[:alpha:]]+|[[:^alpha:][:digit:]]", "long_names": r"\p{Letter}+|\p{^Number}",
        "repeated_interval": r"\p{N}{1,2}+|o{,1}n", "posix_punct": r"[[:punct:]]+|[\w]", "bare_word": r"\W+", "hex": r"\h+", "words": r"\w+|[^\w\s]+", "possessive": r"\p{L}++|\s*+", "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "deepseek": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+", "cjk": r"[一-龥\u3040-ゟ゠-ヿ]+",
    }
    for name, pattern in patterns.items():
        yield f"split_{name}", "byte", dict(pre_tokenizer=p.Sequence([p.Split(Regex(pattern), "isolated"), p.ByteLevel(add_prefix_space=False, use_regex=False)]), decoder=d.ByteLevel())
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield f"{behavior}{'_inverted' if invert else ''}", "meta", dict(pre_tokenizer=p.Split(Regex(r"[aeo ]"), behavior, invert=invert))
        yield f"{behavior}_empty_matches", "meta", dict(pre_tokenizer=p.Split(Regex(r"(?=o)| "), behavior))
        yield f"{behavior}_string", "meta", dict(pre_tokenizer=p.Split("the", behavior))
        yield f"punctuation_{behavior}", "meta", dict(pre_tokenizer=p.Punctuation(behavior))
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            yield f"metaspace_{scheme}_{split}", "meta", dict(pre_tokenizer=p.Metaspace(prepend_scheme=scheme, split=split), decoder=d.Metaspace(prepend_scheme=scheme))
        yield f"metaspace_{scheme}_after_split", "unigram", dict(pre_tokenizer=p.Sequence([p.WhitespaceSplit(), p.Metaspace(prepend_scheme=scheme)]), decoder=d.Metaspace(prepend_scheme=scheme))
    for name, step in {"digits": p.Digits(), "individual_digits": p.Digits(True), "whitespace": p.Whitespace(), "whitespace_split": p.WhitespaceSplit(), "bert_words": p.BertPreTokenizer(),
                       "scripts": p.UnicodeScripts(), "delimiter": p.CharDelimiterSplit("o"), "fixed_length": p.FixedLength(3)}.items():
        yield name, "meta", dict(pre_tokenizer=step)
        yield f"{name}_level", "level", dict(pre_tokenizer=step)
    llama = dict(normalizer=n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]), decoder=d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)]))
    for model in ("fallback", "partial", "fused", "dropped", "meta"):
        yield f"llama_{model}", model, llama
    yield "gemma", "fallback", dict(normalizer=n.Replace(" ", "▁"), pre_tokenizer=p.Split(" ", "merged_with_previous"), decoder=d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse()]))
    simple = {"lowercase": n.Lowercase(), "strip_accents": n.Sequence([n.NFD(), n.StripAccents()]), "strip_accents_alone": n.StripAccents(), "strip": n.Strip(), "strip_left": n.Strip(True, False), "strip_right": n.Strip(False, True),
              "nmt": n.Nmt(), "replace_regex": n.Replace(Regex(r"\s+"), " "), "bert": n.BertNormalizer(), "bert_cased": n.BertNormalizer(lowercase=False),
              "bert_accents": n.BertNormalizer(strip_accents=False), "bert_plain": n.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)}
    for name, step in simple.items():
        yield f"normalizer_{name}", "byte", dict(normalizer=step, **byte_level)
    yield "precompiled", "unigram", dict(normalizer=[{"type": "Precompiled", "precompiled_charsmap": "CHARSMAP"}], pre_tokenizer=p.Metaspace(), decoder=d.Metaspace())
    yield "t5", "unigram", dict(normalizer=[{"type": "Precompiled", "precompiled_charsmap": "CHARSMAP"}, n.Replace(Regex(" {2,}"), "▁")], pre_tokenizer=p.Metaspace(), decoder=d.Metaspace(),
                                post_processor=o.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 2)]))
    yield "unigram_whole", "unigram", dict(normalizer=n.Replace(" ", "▁"))
    yield "unigram_bytes", "unigram_bytes", dict(pre_tokenizer=p.Metaspace(), decoder=d.Sequence([d.ByteFallback(), d.Metaspace()]))
    yield "clip", "clip", dict(normalizer=n.Sequence([n.NFC(), n.Replace(Regex(r"\s+"), " "), n.Lowercase()]), pre_tokenizer=p.Whitespace(), decoder=d.BPEDecoder("</w>"), post_processor=o.RobertaProcessing(("</s>", 2), ("<s>", 1)))
    yield "prefixed", "prefixed", dict(pre_tokenizer=p.Whitespace(), decoder=d.WordPiece("##", cleanup=False))
    yield "bert", "piece", dict(normalizer=n.BertNormalizer(), pre_tokenizer=p.BertPreTokenizer(), decoder=d.WordPiece(), post_processor=o.BertProcessing(("[SEP]", 2), ("[CLS]", 1)))
    yield "bert_whitespace", "piece", dict(pre_tokenizer=p.WhitespaceSplit(), decoder=d.WordPiece(cleanup=False))
    yield "ctc", "level", dict(pre_tokenizer=p.Whitespace(), decoder=d.CTC("<unk>", "the", True))
    yield "strip_decoder", "meta", dict(pre_tokenizer=p.Whitespace(), decoder=d.Sequence([d.Strip("o", 2, 1), d.Fuse()]))
    yield "two_templates", "meta", dict(pre_tokenizer=p.Metaspace(), post_processor=o.Sequence([o.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]),
                                                                                                o.TemplateProcessing(single="$A", pair="<mask> <s> $A $B </s>", special_tokens=[("<mask>", 3), ("<s>", 1), ("</s>", 2)])]))
    yield "no_steps", "meta", {}
    yield "no_steps_level", "level", {}
    flags = {"plain": {}, "lstrip": {"lstrip": True}, "rstrip": {"rstrip": True}, "both": {"lstrip": True, "rstrip": True}, "single_word": {"single_word": True}}
    for name, flag in flags.items():
        for normalized in (False, True):
            yield f"added_{name}{'_normalized' if normalized else ''}", "meta", dict(
                normalizer=n.Lowercase(), pre_tokenizer=p.Metaspace(prepend_scheme="first"), decoder=d.Metaspace(prepend_scheme="first"),
                added=[AddedToken("<mask>", special=True, normalized=normalized, **flag), AddedToken("Dog", normalized=normalized, **flag), AddedToken("dog-d", normalized=normalized, **flag),
                       AddedToken("  ", normalized=normalized), AddedToken("カ", normalized=normalized, **flag)])
    yield "added_in_normalized_text", "fallback", dict(**llama, added=[AddedToken("the quick", normalized=True), AddedToken("dog", normalized=True, single_word=True), AddedToken("<s>", normalized=False, special=True)])


def describe(name, step):
    return json.loads(json.dumps(step if isinstance(step, dict) else json.loads(step.__getstate__())))


def main():
    built = build_models()
    charsmap = small_charsmap()
    out = {"tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__, "texts": TEXTS, "models": built, "cases": []}
    decoders_seen = set()
    for name, model, parts in cases():
        tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None}
        for key, value in parts.items():
            if key == "added":
                continue
            if isinstance(value, list):
                steps = [describe(key, v) for v in value]
                value = {"type": "Sequence", "normalizers": [dict(s, precompiled_charsmap=charsmap) if s["type"] == "Precompiled" else s for s in steps]}
            else:
                value = describe(key, value)
            tokenizer[key] = value
        whole = Tokenizer.from_str(json.dumps(dict(tokenizer, model=built[model])))
        specials = [t for t in ("<unk>", "<s>", "</s>", "[UNK]", "[CLS]", "[SEP]") if whole.token_to_id(t) is not None and "added" not in parts]
        whole.add_special_tokens(specials)
        for token in parts.get("added", []):
            (whole.add_special_tokens if token.special else whole.add_tokens)([token])
        tokenizer["added_tokens"] = json.loads(whole.to_str())["added_tokens"]
        ids, special, decoded, decoded_bare = [], [], [], []
        for text in TEXTS:
            row = [None] * 4
            try:  # a few texts make the library itself panic: those say nothing
                full = whole.encode(text).ids
                row = [whole.encode(text, add_special_tokens=False).ids, full, whole.decode(full, skip_special_tokens=False), whole.decode(full, skip_special_tokens=True)]
            except BaseException as error:
                print(name, repr(text), error)
            for column, value in zip((ids, special, decoded, decoded_bare), row):
                column.append(value)
        # The way back once per decoder and model: the file stays small.
        seen = (model, json.dumps(tokenizer["decoder"])) in decoders_seen
        decoders_seen.add((model, json.dumps(tokenizer["decoder"])))
        if seen:
            decoded = decoded_bare = None
        out["cases"].append({"name": name, "model": model, "tokenizer": tokenizer, "ids": ids, "ids_special": special if special != ids else None,
                             "decoded": decoded, "decoded_without_special": decoded_bare if decoded_bare != decoded else None})
    pathlib.Path(sys.argv[1]).write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(len(out["cases"]), "cases,", len(TEXTS), "texts")


if __name__ == "__main__":
    main()
