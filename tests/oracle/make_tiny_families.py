#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of every family in unusual shapes, with transformers' logits, loss and gradients.

usage: python make_tiny_families.py [OUTDIR [NAME ...]]      (default: tiny-families beside this file, all of them)

Writes OUTDIR/<name>/{config.json, model.safetensors, reference.safetensors}. fp32, eager attention, CPU, no dropout. Head
counts that are no power of two, windows shorter than the text, text longer than the positions a scaling started from,
biases, norms and ties the other way round. Families without a class in transformers (ChatGLM, Baichuan, InternLM2) are
another family's class, its tensors fused and renamed as theirs.
"""
import json
import math
import os
import sys

import torch
import transformers
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

LENGTHS = [19, 9]  # the rows of the batch, padded on the right
BASE = dict(vocab_size=29, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=3, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
            attention_dropout=0.0, initializer_range=0.02)
ROPE = dict(rope_theta=10000.0)


def sized(model_type, **more):
    return dict(BASE, model_type=model_type, **more)


def small(model_type, **more):
    return sized(model_type, **dict(dict(hidden_size=16, intermediate_size=12, num_attention_heads=4, num_key_value_heads=2), **more))


GPT2 = dict(model_type="gpt2", vocab_size=29, n_embd=24, n_layer=2, n_head=3, n_positions=32, attn_pdrop=0.0, embd_pdrop=0.0,
            resid_pdrop=0.0, bos_token_id=1, eos_token_id=2, initializer_range=0.02)
BLOOM = dict(model_type="bloom", vocab_size=29, hidden_size=24, n_layer=2, n_head=6, attention_dropout=0.0, hidden_dropout=0.0,
             bos_token_id=1, eos_token_id=2, pad_token_id=3, initializer_range=0.02)
LONG = dict(rope_type="longrope", short_factor=[1.0, 1.1], long_factor=[1.5, 4.0], original_max_position_embeddings=16)

MODELS = {
    "llama-linear": sized("llama", **ROPE, max_position_embeddings=8, rope_scaling=dict(rope_type="linear", factor=3.0)),
    "llama-dynamic": sized("llama", **ROPE, max_position_embeddings=8, rope_scaling=dict(rope_type="dynamic", factor=2.0)),
    "llama-llama3": sized("llama", **ROPE, head_dim=12, rope_scaling=dict(
        rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8)),
    "llama-yarn-mscale": sized("llama", **ROPE, head_dim=12, rope_scaling=dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=16, mscale=0.7, mscale_all_dim=1.3, beta_fast=20.0)),
    "llama-longrope-short": sized("llama", **ROPE, rope_scaling=dict(LONG, original_max_position_embeddings=32)),
    "llama-gelu": sized("llama", **ROPE, hidden_act="gelu", tie_word_embeddings=True),
    "mistral-window": sized("mistral", **ROPE, sliding_window=4, head_dim=8, tie_word_embeddings=True),
    "qwen3-biases-window": sized("qwen3", **ROPE, head_dim=6, attention_bias=True, tie_word_embeddings=False,
                                 use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "gemma-untied": sized("gemma", **ROPE, head_dim=10, tie_word_embeddings=False, attention_bias=True),
    "gemma2": sized("gemma2", **ROPE, head_dim=8, sliding_window=5, query_pre_attn_scalar=20, attn_logit_softcapping=2.0,
                    final_logit_softcapping=3.0, rms_norm_eps=1e-5),
    "gemma2-no-caps": sized("gemma2", **ROPE, head_dim=8, sliding_window=3, query_pre_attn_scalar=8,
                            attn_logit_softcapping=None, final_logit_softcapping=None),
    "glm": sized("glm", **ROPE, head_dim=8, attention_bias=False, tie_word_embeddings=True),
    "glm4": sized("glm4", **ROPE, head_dim=12, attention_bias=True, partial_rotary_factor=0.5),
    "phi3-longrope": sized("phi3", **ROPE, rope_scaling=LONG, original_max_position_embeddings=16, sliding_window=6),
    "phi3-partial": sized("phi3", **ROPE, head_dim=8, partial_rotary_factor=0.75, num_attention_heads=3),
    "granite": sized("granite", **ROPE, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.3,
                     logits_scaling=2.5, attention_bias=True, mlp_bias=True),
    "starcoder2": sized("starcoder2", **ROPE, sliding_window=7, hidden_act="gelu_pytorch_tanh", use_bias=True,
                        residual_dropout=0.0, embedding_dropout=0.0),
    "stablelm": sized("stablelm", **ROPE, head_dim=8, partial_rotary_factor=0.5, num_attention_heads=3, use_qkv_bias=True,
                      hidden_dropout=0.0),
    "gpt2": dict(GPT2, n_inner=20, scale_attn_by_inverse_layer_idx=True, activation_function="gelu",
                 tie_word_embeddings=False),
    "gpt2-unscaled": dict(GPT2, scale_attn_weights=False, activation_function="relu"),
    # Smaller ones, each with several options away from their defaults.
    "llama-yarn-options": small("llama", **ROPE, head_dim=12, rope_scaling=dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=16, attention_factor=1.3, beta_fast=4.0, beta_slow=0.25,
        truncate=False)),
    "llama-5-heads": small("llama", **ROPE, head_dim=6, num_attention_heads=5, hidden_size=20, num_key_value_heads=1, mlp_bias=True,
                           rms_norm_eps=1e-2, hidden_act="relu"),
    "mistral-linear": small("mistral", num_attention_heads=5, hidden_size=20, num_key_value_heads=5, head_dim=4, sliding_window=6, hidden_act="gelu",
                            rope_parameters=dict(rope_type="linear", rope_theta=5000.0, factor=2.0), max_position_embeddings=8),
    "qwen2-late-window": small("qwen2", **ROPE, hidden_size=14, num_attention_heads=7, num_key_value_heads=1, num_hidden_layers=3,
                               use_sliding_window=True, sliding_window=5, max_window_layers=2, tie_word_embeddings=True,
                               rope_scaling=dict(rope_type="yarn", factor=8.0, original_max_position_embeddings=8)),
    "qwen2-dynamic": small("qwen2", **ROPE, max_position_embeddings=8, rope_scaling=dict(rope_type="dynamic", factor=3.0),
                           use_sliding_window=False, sliding_window=3, max_window_layers=0, tie_word_embeddings=False),
    "qwen3-tied": small("qwen3", **ROPE, head_dim=10, hidden_size=18, num_attention_heads=3, num_key_value_heads=3, tie_word_embeddings=True,
                        rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                          original_max_position_embeddings=8)),
    "gemma-relu": small("gemma", **ROPE, head_dim=6, num_attention_heads=5, hidden_size=20, num_key_value_heads=1, hidden_act="relu",
                        rms_norm_eps=1e-3),
    "gemma2-3-layers": small("gemma2", **ROPE, head_dim=6, num_attention_heads=5, hidden_size=20, num_key_value_heads=5, num_hidden_layers=3,
                             sliding_window=4, query_pre_attn_scalar=3, attn_logit_softcapping=1.0, final_logit_softcapping=None,
                             hidden_activation="silu", tie_word_embeddings=False, attention_bias=True),
    "phi3-partial-long": small("phi3", **ROPE, hidden_size=24, num_attention_heads=3, num_key_value_heads=1, partial_rotary_factor=0.5,
                               rope_scaling=LONG, original_max_position_embeddings=16, tie_word_embeddings=True),
    "phi3-partial-short": small("phi3", **ROPE, hidden_size=24, num_attention_heads=3, num_key_value_heads=1, partial_rotary_factor=0.5,
                                rope_scaling=dict(LONG, original_max_position_embeddings=32), original_max_position_embeddings=32),
    "glm-whole-heads": small("glm", **ROPE, head_dim=4, num_attention_heads=5, hidden_size=20, num_key_value_heads=1, attention_bias=True,
                             partial_rotary_factor=1.0, rms_norm_eps=1e-4),
    "granite-tied": small("granite", **ROPE, embedding_multiplier=2.0, residual_multiplier=0.7, attention_multiplier=0.2,
                          logits_scaling=0.5, tie_word_embeddings=True, max_position_embeddings=8,
                          rope_scaling=dict(rope_type="dynamic", factor=2.0)),
    "starcoder2-no-bias": small("starcoder2", **ROPE, use_bias=False, tie_word_embeddings=False, sliding_window=None,
                                residual_dropout=0.0, embedding_dropout=0.0, norm_epsilon=1e-3),
    "stablelm-tied": small("stablelm", **ROPE, partial_rotary_factor=1.0, tie_word_embeddings=True, use_qkv_bias=False,
                           hidden_dropout=0.0, hidden_act="gelu", layer_norm_eps=1e-3),
    "gpt2-upcast": dict(GPT2, n_embd=20, n_head=5, reorder_and_upcast_attn=True, activation_function="gelu_pytorch_tanh",
                        scale_attn_by_inverse_layer_idx=True, scale_attn_weights=False, layer_norm_epsilon=1e-3),
    "bloom-5-heads": dict(BLOOM, hidden_size=20, n_head=5, layer_norm_epsilon=1e-3, tie_word_embeddings=False),
    "bloom": dict(BLOOM),
    "bloom-post-layernorm": dict(BLOOM, apply_residual_connection_post_layernorm=True, tie_word_embeddings=False),
}
MODELS["phi3-partial"].pop("head_dim")
MODELS["stablelm"].pop("head_dim")


def randomise(model):
    """Every weight away from its initial value, so that a test sees it."""
    with torch.no_grad():
        for key, p in model.named_parameters():
            norm = any(word in key for word in ("norm", "ln_")) and key.endswith("weight")
            p.normal_(1.0 if norm and "gemma" not in type(model).__name__.lower() else 0.0, 0.25 if p.dim() > 1 else 0.1)


def batch(vocab):
    width = max(LENGTHS)
    ids = torch.randint(3, vocab, (len(LENGTHS), width))
    mask = torch.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
    ids = ids * mask
    labels = torch.where(mask.bool(), ids, -100)
    labels[:, :3] = -100
    return dict(input_ids=ids, attention_mask=mask, labels=labels)


def mean_loss(logits, labels):
    return F.cross_entropy(logits[:, :-1].float().reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=-100)


def write(out, name, config, inputs, logits, loss, parameters):
    """parameters: name -> (value, gradient)"""
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1, sort_keys=True)
        f.write("\n")
    save_file({k: v.detach().clone().contiguous() for k, (v, _) in parameters.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    reference = dict(inputs, logits=logits.detach().float().contiguous(), loss=loss.detach().reshape(1))
    reference |= {f"grad.{k}": g.detach().clone().contiguous() for k, (_, g) in parameters.items()}
    save_file(reference, os.path.join(folder, "reference.safetensors"),
              metadata={"format": "pt", "torch": torch.__version__, "transformers": transformers.__version__})
    print(name, f"loss {loss.item():.6f}", sum(v.numel() for v, _ in parameters.values()), "parameters")


def build(config):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), attn_implementation="eager").float().train()
    randomise(model)
    return model


def own_class(out, name, config):
    torch.manual_seed(1)
    model = build(config)
    inputs = batch(config["vocab_size"])
    result = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
    loss = mean_loss(result.logits, inputs["labels"])
    loss.backward()
    write(out, name, config, inputs, result.logits, loss, {k: (p, p.grad) for k, p in model.named_parameters()})


def fused(parts, layer, kinds):
    """Value and gradient of rows of several modules as one tensor."""
    tensors = [parts[layer + kind] for kind in kinds]
    return torch.cat([v for v, _ in tensors]), torch.cat([g for _, g in tensors])


def chatglm(out, name, rope_ratio, qkv_bias):
    """GLM's class, its q, k, v fused: the same mathematics (base of the frequencies times rope_ratio)."""
    torch.manual_seed(2)
    glm = sized("glm", head_dim=8, attention_bias=qkv_bias, rope_theta=10000.0 * rope_ratio, partial_rotary_factor=0.5,
                rms_norm_eps=1e-5)
    model = build(glm)
    inputs = batch(glm["vocab_size"])
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False).logits
    loss = mean_loss(logits, inputs["labels"])
    loss.backward()
    p = {k: (v, v.grad) for k, v in model.named_parameters()}
    q = {"transformer.embedding.word_embeddings.weight": p["model.embed_tokens.weight"],
         "transformer.encoder.final_layernorm.weight": p["model.norm.weight"], "transformer.output_layer.weight": p["lm_head.weight"]}
    for n in range(glm["num_hidden_layers"]):
        a, b = f"model.layers.{n}.", f"transformer.encoder.layers.{n}."
        for kind in ["weight"] + ["bias"] * qkv_bias:
            q[b + f"self_attention.query_key_value.{kind}"] = fused(p, a, [f"self_attn.{x}_proj.{kind}" for x in "qkv"])
        q[b + "self_attention.dense.weight"] = p[a + "self_attn.o_proj.weight"]
        q[b + "mlp.dense_h_to_4h.weight"] = p[a + "mlp.gate_up_proj.weight"]
        q[b + "mlp.dense_4h_to_h.weight"] = p[a + "mlp.down_proj.weight"]
        for norm in ["input_layernorm.weight", "post_attention_layernorm.weight"]:
            q[b + norm] = p[a + norm]
    config = dict(model_type="chatglm", num_layers=2, padded_vocab_size=29, vocab_size=29, hidden_size=24, ffn_hidden_size=20,
                  kv_channels=8, num_attention_heads=6, seq_length=64, layernorm_epsilon=1e-5, rmsnorm=True, post_layer_norm=True,
                  add_bias_linear=False, add_qkv_bias=qkv_bias, multi_query_attention=True, multi_query_group_num=3,
                  rope_ratio=rope_ratio, hidden_dropout=0.0, attention_dropout=0.0, eos_token_id=2, pad_token_id=0)
    write(out, name, config, inputs, logits, loss, q)


class OwnChatGLM:
    """ChatGLM2's published mathematics with the options that no class of transformers has."""

    def __init__(self, config):
        self.c, hidden, width = config, config["hidden_size"], config["kv_channels"]
        heads = config["num_attention_heads"]
        groups = config["multi_query_group_num"] if config["multi_query_attention"] else heads
        self.heads, self.groups, self.width = heads, groups, width
        linear = config["add_bias_linear"]
        self.p = {}
        self.add("transformer.embedding.word_embeddings.weight", config["padded_vocab_size"], hidden)
        for n in range(config["num_layers"]):
            b = f"transformer.encoder.layers.{n}."
            self.norm(b + "input_layernorm", hidden)
            self.linear(b + "self_attention.query_key_value", (heads + 2 * groups) * width, hidden, linear or config["add_qkv_bias"])
            self.linear(b + "self_attention.dense", hidden, heads * width, linear)
            self.norm(b + "post_attention_layernorm", hidden)
            self.linear(b + "mlp.dense_h_to_4h", 2 * config["ffn_hidden_size"], hidden, linear)
            self.linear(b + "mlp.dense_4h_to_h", hidden, config["ffn_hidden_size"], linear)
        if config["post_layer_norm"]:
            self.norm("transformer.encoder.final_layernorm", hidden)
        self.add("transformer.output_layer.weight", config["padded_vocab_size"], hidden)

    def add(self, name, *shape, mean=0.0):
        self.p[name] = torch.empty(*shape).normal_(mean, 0.25 if len(shape) > 1 else 0.1).requires_grad_()

    def norm(self, name, width):
        self.add(name + ".weight", width, mean=1.0)
        if not self.c["rmsnorm"]:
            self.add(name + ".bias", width)

    def linear(self, name, rows, columns, bias):
        self.add(name + ".weight", rows, columns)
        if bias:
            self.add(name + ".bias", rows)

    def apply_norm(self, name, x):
        weight, eps = self.p[name + ".weight"], self.c["layernorm_epsilon"]
        if self.c["rmsnorm"]:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight
        return F.layer_norm(x, weight.shape, weight, self.p[name + ".bias"], eps)

    def apply(self, name, x):
        return F.linear(x, self.p[name + ".weight"], self.p.get(name + ".bias"))

    def rotate(self, x):
        """Pairs of neighbours in the first half of each head; x [B, T, heads, width]."""
        turned = self.width // 2
        base = 10000.0 * self.c["rope_ratio"]
        angle = torch.outer(torch.arange(x.shape[1]).float(), 1.0 / base ** (torch.arange(0, turned, 2).float() / turned))
        cos, sin = angle.cos()[None, :, None], angle.sin()[None, :, None]
        a, b = x[..., 0:turned:2], x[..., 1:turned:2]
        return torch.cat([torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2), x[..., turned:]], -1)

    def attention(self, name, x, mask):
        B, T, _ = x.shape
        d, heads, groups = self.width, self.heads, self.groups
        mixed = self.apply(name + "query_key_value", x)
        if self.c["multi_query_attention"]:
            q, k, v = (part.view(B, T, -1, d) for part in mixed.split([heads * d, groups * d, groups * d], -1))
        else:
            q, k, v = mixed.view(B, T, heads, 3 * d).chunk(3, -1)
        q, k = self.rotate(q), self.rotate(k)
        k, v = (z.repeat_interleave(heads // groups, 2) for z in (k, v))
        score = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(d)
        visible = torch.ones(T, T, dtype=torch.bool).tril()[None, None] & mask[:, None, None].bool()
        score = score.masked_fill(~visible, torch.finfo(torch.float32).min)
        y = torch.einsum("bhqk,bkhd->bqhd", score.softmax(-1), v).reshape(B, T, heads * d)
        return self.apply(name + "dense", y)

    def logits(self, ids, mask):
        x = self.p["transformer.embedding.word_embeddings.weight"][ids]
        behind = self.c["apply_residual_connection_post_layernorm"]
        for n in range(self.c["num_layers"]):
            b = f"transformer.encoder.layers.{n}."
            normed = self.apply_norm(b + "input_layernorm", x)
            x = (normed if behind else x) + self.attention(b + "self_attention.", normed, mask)
            normed = self.apply_norm(b + "post_attention_layernorm", x)
            gate, up = self.apply(b + "mlp.dense_h_to_4h", normed).chunk(2, -1)
            x = (normed if behind else x) + self.apply(b + "mlp.dense_4h_to_h", F.silu(gate) * up)
        if self.c["post_layer_norm"]:
            x = self.apply_norm("transformer.encoder.final_layernorm", x)
        return self.apply("transformer.output_layer", x)


def own_chatglm(out, name, **options):
    torch.manual_seed(5)
    config = dict(dict(
        model_type="chatglm", num_layers=2, padded_vocab_size=29, vocab_size=29, hidden_size=16, ffn_hidden_size=12, kv_channels=8,
        num_attention_heads=3, seq_length=64, layernorm_epsilon=1e-5, rmsnorm=True, post_layer_norm=True, add_bias_linear=False,
        add_qkv_bias=True, multi_query_attention=True, multi_query_group_num=1, rope_ratio=1, hidden_dropout=0.0, attention_dropout=0.0,
        apply_residual_connection_post_layernorm=False, eos_token_id=2, pad_token_id=0), **options)
    model = OwnChatGLM(config)
    inputs = batch(29)
    logits = model.logits(inputs["input_ids"], inputs["attention_mask"])
    loss = mean_loss(logits, inputs["labels"])
    loss.backward()
    write(out, name, config, inputs, logits, loss, {k: (p, p.grad) for k, p in model.p.items()})


def internlm2(out, name):
    """Llama's class, its q, k, v in groups: the queries of a key head, the key, the value."""
    torch.manual_seed(3)
    llama = sized("llama", head_dim=4, rope_theta=50000.0, attention_bias=True, rms_norm_eps=1e-5)
    model = build(llama)
    inputs = batch(llama["vocab_size"])
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False).logits
    loss = mean_loss(logits, inputs["labels"])
    loss.backward()
    p = {k: (v, v.grad) for k, v in model.named_parameters()}
    groups, d = llama["num_key_value_heads"], 4

    def grouped(values):
        return torch.cat([v.reshape(groups, -1, d, *v.shape[1:]) for v in values], dim=1).reshape(-1, *values[0].shape[1:])

    q = {"model.tok_embeddings.weight": p["model.embed_tokens.weight"], "model.norm.weight": p["model.norm.weight"],
         "output.weight": p["lm_head.weight"]}
    for n in range(llama["num_hidden_layers"]):
        a, b = f"model.layers.{n}.", f"model.layers.{n}."
        for kind in ["weight", "bias"]:
            parts = [p[a + f"self_attn.{x}_proj.{kind}"] for x in "qkv"]
            q[b + f"attention.wqkv.{kind}"] = grouped([v for v, _ in parts]), grouped([g for _, g in parts])
            q[b + f"attention.wo.{kind}"] = p[a + f"self_attn.o_proj.{kind}"]
        for theirs, ours in [("w1", "gate"), ("w3", "up"), ("w2", "down")]:
            q[b + f"feed_forward.{theirs}.weight"] = p[a + f"mlp.{ours}_proj.weight"]
        q[b + "attention_norm.weight"] = p[a + "input_layernorm.weight"]
        q[b + "ffn_norm.weight"] = p[a + "post_attention_layernorm.weight"]
    config = dict(llama, model_type="internlm2", bias=True)
    config.pop("attention_bias")
    write(out, name, config, inputs, logits, loss, q)


def slopes(heads):
    whole = 2 ** math.floor(math.log2(heads))
    base = 2 ** (-(2 ** -(math.log2(whole) - 3)))
    finer = 2 ** (-(2 ** -(math.log2(2 * whole) - 3)))
    return torch.tensor([base ** (i + 1) for i in range(whole)] + [finer ** (2 * i + 1) for i in range(heads - whole)])


def baichuan(out, name, alibi, first_generation=False, heads=6, width=24):
    """Llama's class with q, k, v fused; linear biases in the place of rotations; rows of the head of length one."""
    torch.manual_seed(4)
    llama = sized("llama", hidden_size=width, num_attention_heads=heads, num_key_value_heads=heads, rope_theta=10000.0,
                  rms_norm_eps=1e-6)
    model = build(llama)
    inputs = batch(llama["vocab_size"])
    mask = inputs["attention_mask"]
    T = mask.shape[1]
    position = torch.arange(T)
    visible = (position[None, :] <= position[:, None])[None, None] & mask[:, None, None, :].bool()
    bias = torch.where(visible, 0.0, torch.finfo(torch.float32).min).expand(-1, heads, T, T)
    if alibi:
        bias = bias + slopes(heads)[None, :, None, None] * (position[None, :] - position[:, None]).clamp(max=0)[None, None]

        def no_rotation(x, position_ids):
            shape = 1, position_ids.shape[1], width // heads
            return torch.ones(shape), torch.zeros(shape)
        model.model.rotary_emb.forward = no_rotation
    hidden = model.model(input_ids=inputs["input_ids"], attention_mask=bias, position_ids=position[None], use_cache=False)[0]
    head = model.lm_head.weight
    logits = F.linear(hidden, head if first_generation else F.normalize(head))
    loss = mean_loss(logits, inputs["labels"])
    loss.backward()
    p = {k: (v, v.grad) for k, v in model.named_parameters()}
    q = {k: v for k, v in p.items() if not any(f"self_attn.{x}_proj" in k for x in "qkv")}
    for n in range(llama["num_hidden_layers"]):
        a = f"model.layers.{n}."
        q[a + "self_attn.W_pack.weight"] = fused(p, a, [f"self_attn.{x}_proj.weight" for x in "qkv"])
    config = dict(model_type="baichuan", architectures=["BaiChuanForCausalLM" if first_generation else "BaichuanForCausalLM"],
                  vocab_size=29, hidden_size=width, intermediate_size=20, num_hidden_layers=2, num_attention_heads=heads, hidden_act="silu",
                  rms_norm_eps=1e-6, initializer_range=0.02, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                  tie_word_embeddings=False, model_max_length=64)
    if not alibi:
        config["max_position_embeddings"] = 64
    write(out, name, config, inputs, logits, loss, q)


OTHERS = {
    "chatglm": lambda out, name: chatglm(out, name, rope_ratio=50, qkv_bias=True),
    "chatglm-no-bias": lambda out, name: chatglm(out, name, rope_ratio=1, qkv_bias=False),
    "internlm2": internlm2,
    "baichuan-alibi-6-heads": lambda out, name: baichuan(out, name, alibi=True),
    "chatglm-own": lambda out, name: own_chatglm(out, name, rope_ratio=16),
    "chatglm-layer-norms": lambda out, name: own_chatglm(
        out, name, rmsnorm=False, add_bias_linear=True, apply_residual_connection_post_layernorm=True, num_attention_heads=6,
        multi_query_group_num=2, kv_channels=4, layernorm_epsilon=1e-3),
    "chatglm-every-head": lambda out, name: own_chatglm(out, name, multi_query_attention=False, post_layer_norm=False, add_qkv_bias=False),
    "baichuan-alibi-5-heads": lambda out, name: baichuan(out, name, alibi=True, heads=5, width=20),
    "baichuan-rotary": lambda out, name: baichuan(out, name, alibi=False),
    "baichuan-first-generation": lambda out, name: baichuan(out, name, alibi=False, first_generation=True),
}

if __name__ == "__main__":
    target = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny-families")
    wanted = sys.argv[2:] or list(MODELS) + list(OTHERS)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for model_name in wanted:
        if model_name in MODELS:
            own_class(target, model_name, MODELS[model_name])
        else:
            OTHERS[model_name](target, model_name)
