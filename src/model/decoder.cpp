// SPDX-License-Identifier: Apache-2.0
/// The decoder's calls. What they are made of is in decoder_passes.cpp.
#include "model/decoder.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/decoder_impl.hpp"

namespace dstrain {

Decoder::Decoder(const ModelSpec& spec, const ModelLayout& layout, const DecoderOptions& options, const Arena& arena,
                 std::shared_ptr<const DecoderBuffers> buffers, Device device) {
  DSTRAIN_CHECK(
      buffers != nullptr && buffers->options.dtype == options.dtype && buffers->options.train == options.train &&
          buffers->options.gradient_checkpointing == options.gradient_checkpointing &&
          buffers->options.max_tokens == options.max_tokens &&
          forward_tokens(buffers->options) == forward_tokens(options) &&
          buffers->options.predictions == options.predictions && buffers->options.attention == options.attention,
      "the decoder's plan was made for other options");
  DSTRAIN_CHECK(max_threads() <= options.threads, "{} threads are at work, the plan is for {}", max_threads(),
                options.threads);
  impl_ = std::make_unique<Impl>(spec, layout, arena, std::move(buffers), device);
}

Decoder::~Decoder() = default;

void Decoder::prepare(std::int64_t padded_tokens, bool for_backward) {
  const Impl& m = *impl_;
  const bool train = for_backward && m.options.train;
  for (const auto& list : {decoder_products(m.sizes, m.options.dtype, padded_tokens, train, trains_matrices(m.layout)),
                           adapter_products(m.spec, m.layout, m.options.dtype, padded_tokens, train)}) {
    for (const Product& p : list) ops::matmul_prepare(p.shape, p.a_b, p.c, p.accumulate, m.exec.stream.device().kind);
  }
  if (m.options.attention == AttentionKernels::own) return;
  BlockRows rows{.T = padded_tokens, .max_seqlen = static_cast<std::int32_t>(padded_tokens)};
  rows.attention = m.options.attention;
  rows.dropout.probability = train && m.options.dropout ? 1.0F : 0.0F;  // the blocks know theirs
  for (const Block& block : m.blocks)
    ops::attention_prepare(m.exec, block.attention_shape(rows), m.options.dtype, train);
}

ForwardResult Decoder::forward(ParameterStore& store, const MicroBatch& batch, bool for_backward, float loss_scale) {
  auto* sums = impl_->arena[impl_->buffers->loss_sums].as<double>();
  queue_forward(store, batch, for_backward, loss_scale, sums);
  impl_->exec.stream.synchronize();  // the sums are read here, nll() and predicted() by the caller
  return {sums[0], sums[1], static_cast<std::int64_t>(sums[2])};
}

void Decoder::queue_forward(ParameterStore& store, const MicroBatch& batch, bool for_backward, float loss_scale,
                            double* sums) {
  DSTRAIN_CHECK(!for_backward || impl_->options.train, "this decoder was planned without a backward pass");
  impl_->begin(batch, for_backward);
  impl_->embed(store, batch);
  impl_->run_blocks(store, batch);
  impl_->head_loss(store, batch, for_backward, loss_scale, sums);
}

void Decoder::backward(ParameterStore& store, const MicroBatch& batch) {
  Impl& m = *impl_;
  DSTRAIN_CHECK(m.options.train, "this decoder was planned without a backward pass");
  const std::int64_t last = std::max(m.lowest - 1, 0);  // no gradient is asked for below
  for (std::int64_t layer = m.sizes.layers - 1; layer >= last; --layer) m.block_backward(store, batch, layer);
  if (m.lowest > 0) return;
  // The look-up needs no weights on the way back, a norm behind it does. A tied matrix already holds the head's part:
  // the store says "add".
  const bool weighs = m.embedding.needs_weights();
  const UnitWeights weights = weighs ? m.acquire(store, 0) : UnitWeights{};
  const UnitGradient gradient = store.gradient(0, m.exec.stream);
  if (batch.tokens > 0)
    m.embedding.backward(m.exec, weights, gradient, m.embedding_rows(batch), m.data(m.buffers->dx),
                         m.embedding_buffers());
  store.gradient_ready(0, m.exec.stream);
  if (weighs) store.release(0, m.exec.stream);
}

const float* Decoder::nll() const noexcept { return impl_->arena[impl_->buffers->nll].as<float>(); }

const std::int32_t* Decoder::predicted() const noexcept {
  return impl_->options.predictions ? impl_->arena[impl_->buffers->predicted].as<std::int32_t>() : nullptr;
}

void Decoder::logits(ParameterStore& store, const MicroBatch& batch, std::int64_t begin, std::int64_t count,
                     float* logits) {
  Impl& m = *impl_;
  DSTRAIN_CHECK(begin >= 0 && count >= 0 && begin + count <= batch.padded_tokens, "rows [{}, {}) of {}", begin,
                begin + count, batch.padded_tokens);
  m.begin(batch, false);
  m.embed(store, batch);
  m.run_blocks(store, batch);
  const HeadWeights weights = m.acquire_head(store);
  if (batch.tokens > 0) m.normalise(weights, batch);
  const HeadBuffers b = m.head_buffers();
  for (std::int64_t row = 0; row < batch.padded_tokens; row += m.sizes.chunk_rows) {
    const std::int64_t rows = std::min(m.sizes.chunk_rows, batch.padded_tokens - row);
    const std::int64_t from = std::max(row, begin);
    const std::int64_t to = std::min(row + rows, begin + count);
    if (from >= to) continue;
    m.head.logits(m.exec, weights, row, rows, b);
    copy_bytes(m.exec.stream, logits + (from - begin) * m.sizes.V, b.logits + (from - row) * m.sizes.V,
               (to - from) * m.sizes.V * static_cast<std::int64_t>(sizeof(float)));
  }
  m.exec.stream.synchronize();
  m.release_head(store);
}

}  // namespace dstrain
