// SPDX-License-Identifier: Apache-2.0
/// plan_decoder: what a forward and backward pass hold, before anything is allocated.
#include "model/decoder_buffers.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "kernels/ops/attention.hpp"
#include "kernels/ops/head_norm.hpp"
#include "model/adapters/adapter_plan.hpp"
#include "model/families/family.hpp"
#include "model/norm.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t logits_bytes = 64 << 20;
constexpr std::int64_t fewest_chunk_rows = 256;  // fewer rows would leave the head's products to memory bandwidth
constexpr std::int64_t row_step = 64;

/// About 64 MiB of f32 logits. Depends on the vocabulary alone, so that the head's sums fall into the same chunks
/// everywhere.
std::int64_t rows_of_logits(std::int64_t vocab_size) {
  return std::max(fewest_chunk_rows, logits_bytes / 4 / vocab_size / row_step * row_step);
}

void add_linear(std::vector<Product>& products, LinearShape linear, DType dtype, DType output, std::int64_t T,
                bool train, bool weight_gradients) {
  products.push_back({linear.forward(T), dtype, output, false});
  if (!train) return;
  products.push_back({linear.input_gradient(T), dtype, dtype, false});
  if (!weight_gradients) return;
  for (const bool accumulate : {false, true})
    products.push_back({linear.weight_gradient(T), dtype, DType::f32, accumulate});
}

AttentionShape attention_shape(const DecoderSizes& s, std::int64_t T, AttentionKernels kernels) {
  AttentionShape a{};
  a.T = T;
  a.segments = 1;
  a.max_seqlen = static_cast<std::int32_t>(T);
  a.heads = s.heads;
  a.kv_heads = s.kv_heads;
  a.head_dim = s.head_dim;
  a.q_stride = a.kv_stride = s.qkv_width();
  a.out_stride = s.Q;
  a.q_group_stride = a.kv_head_stride = s.group_stride;
  a.scale = 1.0F;
  a.kernels = kernels;
  return a;
}

/// Activations of the blocks: once per layer where backward reads them as forward left them.
void plan_activations(MemoryPlan& plan, DecoderBuffers& b, const DecoderSizes& s, const DecoderParts& parts) {
  const DecoderOptions& o = b.options;
  const std::int64_t T = o.max_tokens;
  const std::uint32_t both = o.train ? phase_forward | phase_backward : std::uint32_t{phase_forward};
  // A pass without backward keeps one layer's activations, of more tokens perhaps.
  const auto add = [&](const char* name, std::int64_t slots, std::int64_t width, DType dtype) {
    const std::int64_t rows = std::max(slots * T, forward_tokens(o));
    return plan.add(fmt::format("activations/{}", name), rows * width, dtype, both);
  };
  b.input_slots = o.train ? s.layers : 1;
  b.slots = o.train && !o.gradient_checkpointing ? s.layers : 1;
  b.block_inputs = add("block_inputs", b.input_slots, s.D, o.dtype);
  // Without a backward pass the residual stream is one buffer, summed in place.
  b.middle = o.train ? plan.add("activations/middle", b.slots * T * s.D, o.dtype, both) : b.block_inputs;
  b.kept_input = add("norm_input", b.slots, parts.norm_kept, DType::f32);
  b.kept_middle = add("norm_middle", b.slots, parts.norm_kept, DType::f32);
  b.qkv = add("qkv", b.slots, s.qkv_width(), o.dtype);
  b.attention = add("attention", b.slots, s.Q, o.dtype);
  const std::int64_t heads = o.train && parts.head_norms ? b.slots * T * (s.Q + s.KV) : 0;
  b.heads = plan.add("activations/heads", heads, o.dtype, both);
  b.rstd_heads = add("rstd_heads", b.slots, parts.head_norms ? s.heads + s.kv_heads : 0, DType::f32);
  b.added = add("added", b.slots, parts.added_norms ? 2 * s.D : 0, o.dtype);
  b.kept_added = add("norm_added", b.slots, parts.added_norms ? 2 * parts.norm_kept : 0, DType::f32);
  b.looked_up = plan.add("activations/looked_up", parts.embedding_norm && o.train ? T * s.D : 0, o.dtype, both);
  b.kept_embedding = add("norm_embedding", 1, parts.embedding_norm ? parts.norm_kept : 0, DType::f32);
  b.lse = plan.add("activations/lse", o.train ? b.slots * T * s.heads : 0, DType::f32, both);
  b.gate_up = add("gate_up", b.slots, s.wide, o.dtype);
  b.normed = add("normed", 1, s.D, o.dtype);
  b.delta = add("delta", 1, s.D, o.dtype);
  b.hidden = add("hidden", 1, s.F, o.dtype);
}

/// The head lives in the forward phase only, also its gradient; its chunk and backward's own buffers share bytes.
void plan_head_and_backward(MemoryPlan& plan, DecoderBuffers& b, const DecoderSizes& s, const DecoderParts& parts) {
  const DecoderOptions& o = b.options;
  const std::int64_t T = o.max_tokens;
  const std::int64_t Tf = forward_tokens(o);
  const std::int64_t rows = std::min(s.chunk_rows, Tf);
  b.logits = plan.add("activations/logits_chunk", rows * s.V, DType::f32, phase_forward);
  b.dlogits = plan.add("activations/dlogits_chunk",
                       o.train && o.dtype != DType::f32 ? std::min(s.chunk_rows, T) * s.V : 0, o.dtype, phase_forward);
  b.kept_final = plan.add("activations/norm_final", Tf * parts.norm_kept, DType::f32, phase_forward);
  b.head_rows = plan.add("activations/head_rows", parts.normalised_head ? s.V : 0, DType::f32, phase_forward);
  // Host code reads and writes these.
  b.nll = plan.add("activations/nll", Tf, DType::f32, phase_always, plan.host_visible());
  b.loss_sums = plan.add("activations/loss_sums", 3, DType::f64, phase_always, plan.host_visible());
  b.predicted =
      plan.add("activations/predicted", o.predictions ? Tf : 0, DType::i32, phase_always, plan.host_visible());
  b.scaled_weights =
      plan.add("activations/scaled_weights", o.train && o.dtype == DType::f16 ? T : 0, DType::f32, phase_forward);
  b.dx = plan.add("gradients/residual", o.train ? T * s.D : 0, o.dtype, phase_forward | phase_backward);
  b.dattention = plan.add("gradients/attention", o.train ? T * s.Q : 0, o.dtype, phase_backward);
  b.dqkv = plan.add("gradients/qkv", o.train ? T * s.qkv_width() : 0, o.dtype, phase_backward);
}

/// Learned positions end; the others go on.
void check_positions(const ModelSpec& spec, std::int64_t positions) {
  if (spec.positions != PositionKind::learned || positions <= spec.max_position_embeddings) return;
  throw ConfigError(
      fmt::format("rows of {} tokens, and the model has learned {} positions", positions, spec.max_position_embeddings),
      "cutoff_len", fmt::format("set cutoff_len to {} or less", spec.max_position_embeddings));
}

}  // namespace

DecoderSizes::DecoderSizes(const ModelSpec& spec) noexcept
    : layers(spec.num_hidden_layers),
      D(spec.hidden_size),
      Q(spec.num_attention_heads * spec.head_dim),
      KV(spec.num_key_value_heads * spec.head_dim),
      F(spec.intermediate_size),
      V(spec.vocab_size),
      heads(spec.num_attention_heads),
      kv_heads(spec.num_key_value_heads),
      head_dim(spec.head_dim),
      chunk_rows(rows_of_logits(spec.vocab_size)),
      wide(spec.gated ? 2 * spec.intermediate_size : spec.intermediate_size),
      group_stride(spec.qkv_in_groups ? (heads / kv_heads + 2) * head_dim : 0),
      transposed(spec.transposed_weights) {}

DecoderParts::DecoderParts(const ModelSpec& spec) noexcept
    : rotary(spec.positions == PositionKind::rotary),
      embedding_norm(spec.family->names.embedding_norm != nullptr),
      head_norms(spec.family->names.q_norm != nullptr),
      added_norms(spec.family->names.attention_norm != nullptr),
      normalised_head(spec.normalised_head),
      norm_kept(Norm::kept_per_row(spec)) {}

std::vector<Product> decoder_products(const DecoderSizes& s, DType dtype, std::int64_t T, bool train,
                                      bool weight_gradients) {
  std::vector<Product> products;
  for (const LinearShape linear : {s.qkv(), s.o(), s.gate_up(), s.down()})
    add_linear(products, linear, dtype, dtype, T, train, weight_gradients);
  for (const std::int64_t rows : {std::min(s.chunk_rows, T), T % s.chunk_rows}) {
    if (rows > 0) add_linear(products, s.head(), dtype, DType::f32, rows, train, weight_gradients);
  }
  return products;
}

std::int64_t decoder_workspace_bytes(const ModelSpec& spec, const ModelLayout& layout, const DecoderOptions& options,
                                     DeviceKind device) {
  const DecoderSizes sizes(spec);
  const bool weight_gradients = trains_matrices(layout);
  std::int64_t bytes = 0;
  // Every class: a smaller one may be tiled otherwise and need more.
  for (std::int64_t T = token_class(1); T <= forward_tokens(options); T = token_class(T + 1)) {
    const bool train = options.train && T <= options.max_tokens;
    for (const auto& list : {decoder_products(sizes, options.dtype, T, train, weight_gradients),
                             adapter_products(spec, layout, options.dtype, T, train)}) {
      for (const Product& p : list) bytes = std::max(bytes, ops::matmul_workspace_bytes(p.shape, p.a_b, p.c, device));
    }
    bytes = std::max(
        bytes, ops::attention_workspace_bytes(attention_shape(sizes, T, options.attention), options.threads, device));
    bytes = std::max(bytes, Norm::workspace_bytes(spec, T, device));
    bytes = std::max(bytes, ops::head_norm_workspace_bytes({.T = T, .head_dim = sizes.head_dim}, device));
  }
  return bytes;
}

std::shared_ptr<const DecoderBuffers> plan_decoder(MemoryPlan& plan, const ModelSpec& spec,
                                                   const DecoderOptions& options) {
  return plan_decoder(plan, spec, make_layout(spec), options);
}

std::shared_ptr<const DecoderBuffers> plan_decoder(MemoryPlan& plan, const ModelSpec& spec, const ModelLayout& layout,
                                                   const DecoderOptions& options) {
  if (options.dtype != DType::f32 && options.dtype != DType::bf16 && options.dtype != DType::f16) {
    throw ConfigError(fmt::format("activations cannot be kept in {}", name_of(options.dtype)), {},
                      "use f32, bf16 or f16");
  }
  DSTRAIN_CHECK(options.max_tokens > 0 && options.max_tokens == token_class(options.max_tokens),
                "max_tokens is {}, which is no token class", options.max_tokens);
  DSTRAIN_CHECK(forward_tokens(options) == token_class(forward_tokens(options)),
                "max_forward_tokens is {}, which is no token class", options.max_forward_tokens);
  const DecoderSizes sizes(spec);
  auto buffers = std::make_shared<DecoderBuffers>();
  buffers->options = options;
  if (buffers->options.max_position <= 0) buffers->options.max_position = forward_tokens(options);
  check_positions(spec, buffers->options.max_position);
  const std::int64_t table = buffers->options.max_position * (spec.rope.rotary_dim / 2);
  buffers->rope_cos = plan.add("activations/rope_cos", table, DType::f32);
  buffers->rope_sin = plan.add("activations/rope_sin", table, DType::f32);
  const DecoderParts parts(spec);
  if (plan.target() == DeviceKind::cuda) {
    const std::int64_t T = forward_tokens(options);
    buffers->ids = plan.add("activations/input_ids", T, DType::i32);
    buffers->positions = plan.add("activations/position_ids", T, DType::i32);
    buffers->targets = plan.add("activations/targets", T, DType::i32);
    buffers->weights = plan.add("activations/weights", T, DType::f32);
  }
  plan_activations(plan, *buffers, sizes, parts);
  plan_head_and_backward(plan, *buffers, sizes, parts);
  const std::uint32_t phases = options.train ? phase_forward | phase_backward : std::uint32_t{phase_forward};
  buffers->workspace =
      plan.add("workspace/kernels", decoder_workspace_bytes(spec, layout, options, plan.target()), DType::u8, phases);
  buffers->adapters = plan_adapters(plan, spec, layout, options, phases);
  return buffers;
}

}  // namespace dstrain
