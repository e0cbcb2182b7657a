// SPDX-License-Identifier: Apache-2.0
/// plan_generator: the kept keys and values, and one pass.
#include "model/generator_buffers.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "kernels/ops/attention.hpp"
#include "model/adapters/adapter_plan.hpp"
#include "model/norm.hpp"

namespace dstrain {

namespace {

std::int64_t workspace_bytes(const ModelSpec& spec, const ModelLayout& layout, const GeneratorOptions& o,
                             DeviceKind device) {
  const DecoderSizes s(spec);
  std::int64_t bytes = 0;
  for (std::int64_t tokens = 1; tokens <= o.prompt_rows; tokens = generator_rows(tokens + 1)) {
    for (const auto& list :
         {decoder_products(s, o.dtype, tokens, false), adapter_products(spec, layout, o.dtype, tokens, false)}) {
      for (const Product& p : list) bytes = std::max(bytes, ops::matmul_workspace_bytes(p.shape, p.a_b, p.c, device));
    }
    AttentionShape a{};
    a.T = tokens;
    a.segments = 1;
    a.max_seqlen = static_cast<std::int32_t>(o.max_length);
    a.heads = s.heads;
    a.kv_heads = s.kv_heads;
    a.head_dim = s.head_dim;
    a.q_stride = s.qkv_width();
    a.kv_stride = 2 * s.KV;
    a.out_stride = s.Q;
    bytes = std::max(
        {bytes, ops::attention_workspace_bytes(a, o.threads, device), Norm::workspace_bytes(spec, tokens, device)});
  }
  return bytes;
}

void check(const ModelSpec& spec, const GeneratorOptions& o) {
  DSTRAIN_CHECK(o.dtype == DType::f32 || o.dtype == DType::bf16 || o.dtype == DType::f16, "generation in {}",
                name_of(o.dtype));
  DSTRAIN_CHECK(o.max_sequences >= 1 && o.max_sequences <= most_single_rows, "{} sequences at one time",
                o.max_sequences);
  DSTRAIN_CHECK(o.max_length >= 1 && o.max_length <= (std::int64_t{1} << 30), "max_length is {}", o.max_length);
  DSTRAIN_CHECK(o.prompt_rows >= most_single_rows && o.prompt_rows == token_class(o.prompt_rows),
                "prompt_rows is {}, which is no token class", o.prompt_rows);
  if (spec.positions == PositionKind::learned && o.max_length > spec.max_position_embeddings) {
    throw ConfigError(fmt::format("prompts and answers of {} tokens, and the model has learned {} positions",
                                  o.max_length, spec.max_position_embeddings),
                      {}, "ask for fewer new tokens or give a shorter prompt");
  }
}

}  // namespace

std::shared_ptr<const GeneratorBuffers> plan_generator(MemoryPlan& plan, const ModelSpec& spec,
                                                       const GeneratorOptions& options, std::uint32_t phases) {
  return plan_generator(plan, spec, make_layout(spec), options, phases);
}

std::shared_ptr<const GeneratorBuffers> plan_generator(MemoryPlan& plan, const ModelSpec& spec,
                                                       const ModelLayout& layout, const GeneratorOptions& options,
                                                       std::uint32_t phases) {
  check(spec, options);
  const DecoderSizes s(spec);
  const DecoderParts parts(spec);
  auto b = std::make_shared<GeneratorBuffers>();
  b->options = options;
  const std::int64_t T = options.prompt_rows;
  const auto add = [&](const char* name, std::int64_t count, DType dtype) {
    return plan.add(fmt::format("generation/{}", name), count, dtype, phases);
  };
  b->cache = add("cache", s.layers * options.max_sequences * options.max_length * 2 * s.KV, options.dtype);
  b->rope_cos = add("rope_cos", options.max_length * (spec.rope.rotary_dim / 2), DType::f32);
  b->rope_sin = add("rope_sin", options.max_length * (spec.rope.rotary_dim / 2), DType::f32);
  b->residual = add("residual", T * s.D, options.dtype);
  b->normed = add("normed", T * s.D, options.dtype);
  b->delta = add("delta", T * s.D, options.dtype);
  b->hidden = add("hidden", T * s.F, options.dtype);
  b->qkv = add("qkv", T * s.qkv_width(), options.dtype);
  b->attention = add("attention", T * s.Q, options.dtype);
  b->gate_up = add("gate_up", T * s.wide, options.dtype);
  b->kept = add("norms", T * parts.norm_kept, DType::f32);
  b->rstd_heads = add("rstd_heads", parts.head_norms ? T * (s.heads + s.kv_heads) : 0, DType::f32);
  b->added = add("added", parts.added_norms ? T * s.D : 0, options.dtype);
  b->head_rows = add("head_rows", parts.normalised_head ? s.V : 0, DType::f32);
  b->logits = plan.add("generation/logits", options.max_sequences * s.V, DType::f32, phases, plan.host_visible());
  // Host code writes them.
  b->ids = plan.add("generation/input_ids", T, DType::i32, phases, plan.host_visible());
  b->positions = plan.add("generation/position_ids", T, DType::i32, phases, plan.host_visible());
  b->workspace =
      plan.add("workspace/generation", workspace_bytes(spec, layout, options, plan.target()), DType::u8, phases);
  DecoderOptions pass;
  pass.dtype = options.dtype;
  pass.train = false;
  pass.max_tokens = T;
  b->adapters = plan_adapters(plan, spec, layout, pass, phases, "generation/adapters");
  return b;
}

}  // namespace dstrain
