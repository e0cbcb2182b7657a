// SPDX-License-Identifier: Apache-2.0
/// Which unit computes when, unit by unit forward and backward. The mathematics is in block.cpp and head.cpp.
#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "kernels/ops/adapter.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/decoder_impl.hpp"

namespace dstrain {

void Decoder::Impl::embed(ParameterStore& store, const MicroBatch& batch) {
  const UnitWeights weights = acquire(store, 0);
  store.prefetch(1, exec.stream);
  if (batch.tokens > 0) {
    embedding.forward(exec, weights, embedding_rows(batch), activations(0).input_TD, embedding_buffers());
    if (adapters.training && options.neftune_noise_alpha > 0) add_noise(batch);
  }
  store.release(0, exec.stream);
}

/// transformers' neftune_post_forward_hook: uniform in alpha / sqrt(padded length * hidden size).
void Decoder::Impl::add_noise(const MicroBatch& batch) const {
  const double elements = static_cast<double>(batch.padded_len) * static_cast<double>(sizes.D);
  const auto magnitude = static_cast<float>(options.neftune_noise_alpha / std::sqrt(elements));
  ops::add_uniform_noise(exec, activations(0).input_TD, batch.tokens * sizes.D, magnitude,
                         Rng(options.seed, RngSite::neftune, 0, batch.sample));
}

void Decoder::Impl::run_blocks(ParameterStore& store, const MicroBatch& batch) {
  const BlockRows rows = rows_of(batch);
  const BlockScratch s = scratch();
  for (std::int64_t layer = 0; layer < sizes.layers; ++layer) {
    const int unit = static_cast<int>(layer) + 1;
    const UnitWeights weights = acquire(store, unit);
    store.prefetch(unit + 1, exec.stream);
    if (unit + 1 == head.unit() && head.tied()) store.prefetch(0, exec.stream);
    if (batch.tokens > 0) {
      const Block& block = blocks[static_cast<std::size_t>(layer)];
      const BlockActivations a = activations(layer);
      const bool first = layer == 0;
      block.project(exec, weights, rows, rope, first ? a.input_TD : block.stream(activations(layer - 1), s),
                    first ? Data{} : s.delta_TD, a, s);
      block.attend(exec, rows, a);
      block.expand(exec, weights, rows, a, s);
      block.contract(exec, weights, rows, a, s);
    }
    store.release(unit, exec.stream);
  }
}

HeadWeights Decoder::Impl::acquire_head(ParameterStore& store) {
  HeadWeights weights;
  weights.norm = acquire(store, head.unit());
  weights.matrix = head.tied() ? acquire(store, 0) : weights.norm;
  return weights;
}

void Decoder::Impl::release_head(ParameterStore& store) {
  if (head.tied()) store.release(0, exec.stream);
  store.release(head.unit(), exec.stream);
}

void Decoder::Impl::normalise(const HeadWeights& weights, const MicroBatch& batch) {
  const Data stream = blocks.back().stream(activations(sizes.layers - 1), scratch());
  head.normalise(exec, weights, batch.padded_tokens, stream, data(buffers->delta), head_buffers());
}

/// The batch with weights times the loss scale: they are the gradient of the loss with respect to each nll.
MicroBatch Decoder::Impl::scaled(const MicroBatch& batch, float loss_scale) const {
  if (loss_scale == 1.0F) return batch;
  DSTRAIN_CHECK(options.dtype == DType::f16, "a loss scale of {} without f16", loss_scale);
  auto* weights = data(buffers->scaled_weights).as<float>();
  const auto count = static_cast<std::int64_t>(batch.weights.size());
  ops::convert(exec, Data{weights, DType::f32}, ConstData(batch.weights.data(), DType::f32), count);
  ops::scale(exec, Data{weights, DType::f32}, loss_scale, count);
  MicroBatch with_scale = batch;
  with_scale.weights = {weights, batch.weights.size()};
  return with_scale;
}

void Decoder::Impl::head_loss(ParameterStore& store, const MicroBatch& batch, bool for_backward, float loss_scale,
                              double* sums) {
  HeadWeights weights = acquire_head(store);
  if (for_backward) {
    prefetch_below(store, head.unit());  // backward starts with the last block
    weights.norm_gradient = store.gradient(head.unit(), exec.stream);
    weights.matrix_gradient = head.tied() ? store.gradient(0, exec.stream) : weights.norm_gradient;
    if (head.tied() && batch.tokens > 0) embedding.share_gradient(exec, weights.matrix_gradient);
  }
  if (batch.tokens > 0) {
    const HeadBuffers b = head_buffers();
    const MicroBatch rows = head_rows(batch);
    normalise(weights, batch);
    head.loss(exec, weights, for_backward ? scaled(rows, loss_scale) : rows, b, for_backward, options.token_loss);
    if (for_backward) head.backward(exec, weights, batch.padded_tokens, data(buffers->dx), b);
    ops::loss_sums(exec, sums, b.nll_T, rows.targets.data(), rows.weights.data(), batch.tokens);
  } else {
    std::fill_n(sums, 3, 0.0);
  }
  if (for_backward) store.gradient_ready(head.unit(), exec.stream);
  release_head(store);
}

void Decoder::Impl::block_backward(ParameterStore& store, const MicroBatch& batch, std::int64_t layer) {
  const int unit = static_cast<int>(layer) + 1;
  const UnitWeights weights = acquire(store, unit);
  prefetch_below(store, unit);
  const UnitGradient gradient = store.gradient(unit, exec.stream);
  if (batch.tokens > 0) {
    const Block& block = blocks[static_cast<std::size_t>(layer)];
    const BlockRows rows = rows_of(batch);
    const BlockActivations a = activations(layer);
    const BlockScratch s = scratch();
    if (options.gradient_checkpointing) {
      block.project(exec, weights, rows, rope, a.input_TD, {}, a, s);
      block.attend(exec, rows, a);
      block.expand(exec, weights, rows, a, s);
    }
    block.backward(exec, weights, gradient, rows, rope, data(buffers->dx), a, s, options.gradient_checkpointing);
  }
  store.gradient_ready(unit, exec.stream);
  store.release(unit, exec.stream);
}

}  // namespace dstrain
