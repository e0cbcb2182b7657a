#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rouge.py FILE - ROUGE of generated_predictions.jsonl as LLaMA-Factory computes it.

Needs jieba's word segmentation: pip install jieba rouge-chinese. Prints predict_rouge-1, -2 and -l as JSON and, where
predict_results.json stands beside the file, puts them into it.
"""
import json
import pathlib
import sys


def scores(predict, label):
    import jieba
    from rouge_chinese import Rouge

    hypothesis, reference = " ".join(jieba.cut(predict)), " ".join(jieba.cut(label))
    if not hypothesis.split() or not reference.split():
        return {"rouge-1": 0.0, "rouge-2": 0.0, "rouge-l": 0.0}
    return {name: round(v["f"] * 100, 4) for name, v in Rouge().get_scores(hypothesis, reference)[0].items()}


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    path = pathlib.Path(sys.argv[1])
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not rows:
        sys.exit(f"error: {path} holds no prediction")
    every = [scores(row["predict"], row["label"]) for row in rows]
    mean = {f"predict_{name}": sum(s[name] for s in every) / len(every) for name in every[0]}
    print(json.dumps(mean, indent=4))
    results = path.with_name("predict_results.json")
    if results.exists():
        merged = {**json.loads(results.read_text()), **mean}
        results.write_text(json.dumps(merged, indent=4, sort_keys=True))


if __name__ == "__main__":
    main()
