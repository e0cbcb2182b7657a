#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random options of every family, each model computed by transformers and handed to `dstrain compare`.

usage: python compare_random_models.py DSTRAIN [COUNT [SEED [FAMILY ...]]]       (200 models, seed 0, all families)

Prints each config that dstrain refuses or computes otherwise, and a line of totals; 1 where there was one of the second kind.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

import torch

from make_tiny_families import own_chatglm, own_class


def rope_of(r, dim):
    kind = r.choice(["default", "default", "linear", "dynamic", "llama3", "yarn"])
    theta = r.choice([10000.0, 500000.0, 37.5])
    if kind == "default":
        return dict(rope_theta=theta, max_position_embeddings=r.choice([8, 64]))
    original = r.choice([8, 16, 32])
    factor = r.choice([2.0, 4.0, 8.0])
    scaling = dict(rope_type=kind, factor=factor)
    positions = original
    if kind == "dynamic" and dim <= 2:
        return dict(rope_theta=theta, max_position_embeddings=64)
    if kind in ("llama3", "yarn"):
        scaling["original_max_position_embeddings"] = original
        positions = int(original * factor)
    if kind == "llama3":
        scaling |= dict(low_freq_factor=r.choice([1.0, 0.5]), high_freq_factor=r.choice([4.0, 2.0]))
    if kind == "yarn":
        scaling |= r.choice([{}, dict(beta_fast=r.choice([8.0, 16.0]), beta_slow=r.choice([0.5, 2.0]))])
        scaling |= r.choice([{}, dict(attention_factor=1.2), dict(mscale=0.8, mscale_all_dim=1.4)])
    return dict(rope_theta=theta, max_position_embeddings=positions, rope_scaling=scaling)


def heads_of(r):
    kv = r.choice([1, 2, 3])  # few enough that rounding stays below 1e-5 in transformers' own f32
    return dict(num_attention_heads=kv * r.choice([1, 2, 3, 5][: 5 - kv]), num_key_value_heads=kv)


def sizes(r, model_type, head_dim=None):
    heads = heads_of(r)
    dim = head_dim or r.choice([2, 4, 6, 8])
    config = dict(model_type=model_type, vocab_size=r.choice([29, 37]), intermediate_size=r.choice([12, 20, 31]),
                  num_hidden_layers=r.choice([1, 2, 3]), bos_token_id=1, eos_token_id=2, pad_token_id=0, attention_dropout=0.0,
                  initializer_range=0.02, rms_norm_eps=r.choice([1e-6, 1e-5, 1e-2]), tie_word_embeddings=r.random() < 0.5, **heads)
    config["hidden_size"] = heads["num_attention_heads"] * dim if head_dim is None else heads["num_attention_heads"] * r.choice([2, 3, 4])
    if head_dim:
        config["head_dim"] = head_dim
    return config | rope_of(r, dim)


def act(r):
    return r.choice(["silu", "silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])


def llama(r):
    return sizes(r, "llama", r.choice([None, 4, 6, 10])) | dict(attention_bias=r.random() < 0.5, mlp_bias=r.random() < 0.5, hidden_act=act(r))


def mistral(r):
    return sizes(r, "mistral", r.choice([None, 6])) | dict(sliding_window=r.choice([None, 1, 3, 7, 100]), hidden_act=act(r))


def qwen2(r):
    return sizes(r, "qwen2") | dict(use_sliding_window=r.random() < 0.6, sliding_window=r.choice([2, 5]), max_window_layers=r.choice([0, 1, 2]))


def qwen3(r):
    return sizes(r, "qwen3", r.choice([4, 6, 10])) | dict(
        attention_bias=r.random() < 0.5, use_sliding_window=r.random() < 0.5, sliding_window=r.choice([2, 5]),
        max_window_layers=r.choice([0, 1, 2]))


def gemma(r):
    return sizes(r, "gemma", r.choice([4, 6, 10])) | dict(attention_bias=r.random() < 0.5, hidden_act=r.choice(["gelu", "gelu_pytorch_tanh", "relu"]))


def gemma2(r):
    return sizes(r, "gemma2", r.choice([4, 6, 10])) | dict(
        sliding_window=r.choice([2, 5, 50]), query_pre_attn_scalar=r.choice([4, 20, 256]), attn_logit_softcapping=r.choice([None, 0.5, 50.0]),
        final_logit_softcapping=r.choice([None, 1.0, 30.0]), attention_bias=r.random() < 0.3)


def glm(r):
    part = r.choice([0.5, 1.0])
    return sizes(r, r.choice(["glm", "glm4"]), r.choice([4, 8])) | dict(attention_bias=r.random() < 0.5, partial_rotary_factor=part)


def phi3(r):
    config = sizes(r, "phi3") | dict(sliding_window=r.choice([None, 3]), resid_pdrop=0.0, embd_pdrop=0.0, hidden_act=act(r))
    if config.get("rope_scaling", {}).get("rope_type") != "linear":  # the other kinds are not Phi-3's
        config.pop("rope_scaling", None)
    if r.random() < 0.5:
        dim = config["hidden_size"] // config["num_attention_heads"]
        pairs = range(dim // 2)
        original = r.choice([8, 16, 32])
        config |= dict(max_position_embeddings=64, original_max_position_embeddings=original, rope_scaling=dict(
            rope_type="longrope", short_factor=[1.0 + 0.1 * i for i in pairs], long_factor=[1.5 + i for i in pairs]))
    return config


def granite(r):
    return sizes(r, "granite") | dict(attention_bias=r.random() < 0.5, mlp_bias=r.random() < 0.5, embedding_multiplier=r.choice([1.0, 3.0]),
                                      residual_multiplier=r.choice([1.0, 0.4]), attention_multiplier=r.choice([0.5, 0.2]),
                                      logits_scaling=r.choice([1.0, 4.0]))


def starcoder2(r):
    return sizes(r, "starcoder2") | dict(use_bias=r.random() < 0.6, sliding_window=r.choice([None, 3]), hidden_act=act(r), residual_dropout=0.0,
                                         embedding_dropout=0.0, norm_epsilon=r.choice([1e-5, 1e-2]))


def stablelm(r):
    config = sizes(r, "stablelm") | dict(use_qkv_bias=r.random() < 0.5, hidden_dropout=0.0, hidden_act=act(r))
    dim = config["hidden_size"] // config["num_attention_heads"]
    return config | dict(partial_rotary_factor=r.choice([1.0, 2 / dim] if dim > 2 else [1.0]), rope_scaling=None)


def gpt2(r):
    heads = r.choice([1, 3, 5])
    return dict(model_type="gpt2", vocab_size=29, n_embd=heads * r.choice([4, 6]), n_layer=r.choice([1, 2, 3]), n_head=heads, n_positions=32,
                n_inner=r.choice([None, 17]), activation_function=act(r), layer_norm_epsilon=r.choice([1e-5, 1e-2]),
                scale_attn_weights=r.random() < 0.6, scale_attn_by_inverse_layer_idx=r.random() < 0.5, reorder_and_upcast_attn=r.random() < 0.5,
                tie_word_embeddings=r.random() < 0.6, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=1, eos_token_id=2)


def bloom(r):
    heads = r.choice([1, 3, 5, 6, 8, 12])
    return dict(model_type="bloom", vocab_size=29, hidden_size=heads * r.choice([2, 4]), n_layer=r.choice([1, 2]), n_head=heads,
                apply_residual_connection_post_layernorm=r.random() < 0.5, layer_norm_epsilon=r.choice([1e-5, 1e-2]),
                tie_word_embeddings=r.random() < 0.6, attention_dropout=0.0, hidden_dropout=0.0, bos_token_id=1, eos_token_id=2, pad_token_id=3)


def chatglm(r):
    heads = r.choice([1, 2, 4, 6])
    return dict(num_attention_heads=heads, multi_query_attention=r.random() < 0.7, multi_query_group_num=r.choice([g for g in (1, 2, 3) if heads % g == 0]),
                kv_channels=r.choice([4, 8, 12]), hidden_size=r.choice([12, 16]), rmsnorm=r.random() < 0.6, post_layer_norm=r.random() < 0.7,
                add_bias_linear=r.random() < 0.4, add_qkv_bias=r.random() < 0.6, rope_ratio=r.choice([1, 50, 500]),
                apply_residual_connection_post_layernorm=r.random() < 0.4, num_layers=r.choice([1, 2, 3]))


FAMILIES = [llama, mistral, qwen2, qwen3, gemma, gemma2, glm, phi3, granite, starcoder2, stablelm, gpt2, bloom, chatglm]


def main(dstrain, count, seed, names):
    chosen = [f for f in FAMILIES if not names or f.__name__ in names]
    totals = dict(agree=0, refused=0, differ=0, invalid=0)
    for i in range(count):
        r = random.Random(f"{seed} {i}")
        family = chosen[i % len(chosen)]
        config = family(r)
        with tempfile.TemporaryDirectory() as out:
            sys.stdout = open(os.devnull, "w")
            try:
                own_chatglm(out, "m", **config) if family is chatglm else own_class(out, "m", config)
            except Exception as error:  # transformers itself refuses the combination
                sys.stdout = sys.__stdout__
                totals["invalid"] += 1
                print("invalid:", family.__name__, str(error.__cause__ or error)[:160])
                continue
            finally:
                sys.stdout = sys.__stdout__
            folder = os.path.join(out, "m")
            for more in ([], ["--gradient_checkpointing", "false"]):
                result = subprocess.run([dstrain, "compare", folder, os.path.join(folder, "reference.safetensors"), *more],
                                        capture_output=True, text=True)
                if result.returncode != 0:
                    break
            kind = {0: "agree", 2: "refused"}.get(result.returncode, "differ")
            totals[kind] += 1
            if kind != "agree":
                lines = [line for line in (result.stdout + result.stderr).splitlines() if "differ" in line or "error" in line or "not in" in line]
                print(kind + ":", json.dumps(config, sort_keys=True), *lines[:8], sep="\n    ")
    print(totals)
    return 1 if totals["differ"] else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200, sys.argv[3] if len(sys.argv) > 3 else "0", sys.argv[4:]))
