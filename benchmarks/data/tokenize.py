#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of tokenizing on one core beside Hugging Face tokenizers, as a Markdown table.

    tokenize.py --program build/ci/benchmarks/data/benchmark_tokenize --tokenizers DIR [--repeats N] TEXT...

DIR holds one folder per tokenizer (tokenizer.json). Each line of a TEXT is a document. The other program is the Rust
library in one thread, by encode_batch_fast (no offsets) and by encode in a loop; the better of the two counts.
Documents, token counts and the order of the runs are the same; the token counts must agree.
"""
import argparse, json, os, pathlib, subprocess, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers


def timed(function, repeats):
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - start)
    return best, result


def peer(path, documents, repeats):
    tokenizer = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))

    def batch():
        return sum(len(e.ids) for e in tokenizer.encode_batch_fast(documents, add_special_tokens=False))

    def loop():
        return sum(len(tokenizer.encode(d, add_special_tokens=False).ids) for d in documents)

    return min(timed(batch, repeats), timed(loop, repeats))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--tokenizers", required=True, type=pathlib.Path)
    parser.add_argument("--names", default="gpt2,llama2,llama3,mistral-v1,qwen2")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("texts", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    print(f"tokenizers {tokenizers.__version__}, one thread each, best of {args.repeats}\n")
    print("| text | tokenizer | tokens | Hugging Face MB/s | dstrain MB/s | ratio |")
    print("|---|---|---|---|---|---|")
    for text in args.texts:
        documents = text.read_bytes().decode("utf-8", "replace").split("\n")
        if documents[-1] == "":
            documents.pop()
        megabytes = sum(len(d.encode()) for d in documents) * 1e-6
        for name in args.names.split(","):
            folder = args.tokenizers / name
            seconds, tokens = peer(folder, documents, args.repeats)
            output = subprocess.run([args.program, folder, text, str(args.repeats)], check=True, capture_output=True)
            ours = json.loads(output.stdout)
            note = "" if ours["tokens"] == tokens else f" (not equal: {ours['tokens']})"
            theirs = megabytes / seconds
            print(f"| {text.name} | {name} | {tokens}{note} | {theirs:.2f} | {ours['best_mb_s']:.2f} | "
                  f"{ours['best_mb_s'] / theirs:.1f} |", flush=True)


if __name__ == "__main__":
    main()
