// SPDX-License-Identifier: Apache-2.0
/// Which unit computes when, and where its activations lie. The mathematics is in block.cpp and head.cpp.
#include "model/decoder.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "kernels/ops/adapter.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/adapters/adapter_plan.hpp"
#include "model/batch_checks.hpp"
#include "model/block.hpp"
#include "model/embedding.hpp"
#include "model/head.hpp"

namespace dstrain {

struct Decoder::Impl {
  Impl(const ModelSpec& model, const ModelLayout& layout_in, const Arena& arena_in,
       std::shared_ptr<const DecoderBuffers> buffers_in, Device device)
      : spec(model),
        layout(layout_in),
        sizes(spec),
        parts(spec),
        buffers(std::move(buffers_in)),
        options(buffers->options),
        arena(arena_in),
        exec{Stream(device, nullptr), arena[buffers->workspace].data, arena[buffers->workspace].count},
        rope(spec, arena[buffers->rope_cos].as<float>(), arena[buffers->rope_sin].as<float>(), options.max_position),
        embedding(spec, layout),
        head(spec, layout),
        adapters(make_adapter_pass(buffers->adapters, arena, options.dtype, options.seed)),
        lowest(first_trainable_unit(layout)) {
    for (std::int64_t l = 0; l < sizes.layers; ++l) blocks.emplace_back(spec, layout, l);
    rope.use(exec, 0);
  }

  [[nodiscard]] Data data(BufferId id) const { return {arena[id].data, arena[id].dtype}; }
  /// Element 0 of `slot` of a buffer that holds `width` per token.
  [[nodiscard]] Data slot(BufferId id, std::int64_t index, std::int64_t width) const {
    return data(id).at(index * options.max_tokens * width);
  }

  [[nodiscard]] BlockActivations activations(std::int64_t layer) const {
    const std::int64_t in = keeps && buffers->input_slots > 1 ? layer : 0;
    const std::int64_t at = keeps && buffers->slots > 1 ? layer : 0;
    BlockActivations a{};
    a.input_TD = slot(buffers->block_inputs, in, sizes.D);
    // Without a backward pass the residual stream is one buffer, summed in place.
    a.middle_TD = keeps ? slot(buffers->middle, at, sizes.D) : a.input_TD;
    a.qkv = slot(buffers->qkv, at, sizes.qkv_width());
    a.attention_TQ = slot(buffers->attention, at, sizes.Q);
    a.gate_up = slot(buffers->gate_up, at, sizes.wide);
    a.lse_NT = keeps ? slot(buffers->lse, at, sizes.heads).as<float>() : nullptr;
    a.kept_input = slot(buffers->kept_input, at, parts.norm_kept).as<float>();
    a.kept_middle = slot(buffers->kept_middle, at, parts.norm_kept).as<float>();
    if (parts.head_norms) {
      if (keeps) a.heads = slot(buffers->heads, at, sizes.Q + sizes.KV);
      a.rstd_heads = slot(buffers->rstd_heads, at, sizes.heads + sizes.kv_heads).as<float>();
    }
    if (parts.added_norms) {
      const std::int64_t second = keeps ? 2 * at + 1 : 0;  // what is not kept may be overwritten
      a.attention_added_TD = slot(buffers->added, 2 * at, sizes.D);
      a.feed_forward_added_TD = slot(buffers->added, second, sizes.D);
      a.kept_attention_added = slot(buffers->kept_added, 2 * at, parts.norm_kept).as<float>();
      a.kept_feed_forward_added = slot(buffers->kept_added, second, parts.norm_kept).as<float>();
    }
    return a;
  }

  [[nodiscard]] BlockScratch scratch() const {
    return {data(buffers->normed), data(buffers->delta), data(buffers->hidden), data(buffers->dattention),
            data(buffers->dqkv)};
  }

  [[nodiscard]] HeadBuffers head_buffers() const {
    // The last residual sum may take the place of what is added to it.
    const bool narrow = options.dtype != DType::f32;
    return {data(buffers->normed),
            data(buffers->delta),
            data(buffers->kept_final).as<float>(),
            data(buffers->logits).as<float>(),
            narrow ? data(buffers->dlogits) : data(buffers->logits),
            data(buffers->nll).as<float>(),
            keeps || !options.predictions ? nullptr : data(buffers->predicted).as<std::int32_t>(),
            data(buffers->head_rows).as<float>()};
  }

  [[nodiscard]] EmbeddingBuffers embedding_buffers() const {
    // Nothing is normed yet: the blocks' row is free.
    return {keeps ? data(buffers->looked_up) : Data{}, data(buffers->normed),
            data(buffers->kept_embedding).as<float>()};
  }

  [[nodiscard]] BlockRows rows_of(const MicroBatch& batch) const {
    return {batch.padded_tokens,
            batch.tokens,
            static_cast<std::int64_t>(batch.cu_seqlens.size()) - 1,
            batch.cu_seqlens.data(),
            batch.max_seqlen,
            for_kernels(buffers->positions, batch.position_ids).data(),
            dropout_of(batch),
            batch.key_lens.empty() ? nullptr : batch.key_lens.data()};
  }

  [[nodiscard]] EmbeddingRows embedding_rows(const MicroBatch& batch) const {
    return {batch.padded_tokens, batch.tokens, for_kernels(buffers->ids, batch.input_ids).data(),
            for_kernels(buffers->positions, batch.position_ids).data(), dropout_of(batch)};
  }

  /// A row of the batch where kernels read it: on a GPU the copy that upload() made.
  template <typename T>
  [[nodiscard]] std::span<const T> for_kernels(BufferId id, std::span<const T> row) const {
    return id.valid() ? std::span<const T>(arena[id].as<const T>(), row.size()) : row;
  }

  /// Brings the batch's rows to the GPU; the batch stays as it is until the pass is over.
  void upload(const MicroBatch& batch) const {
    const auto copy = [&](BufferId id, const auto& row) {
      if (id.valid()) copy_bytes(exec.stream, arena[id].data, row.data(), static_cast<std::int64_t>(row.size_bytes()));
    };
    copy(buffers->ids, batch.input_ids);
    copy(buffers->positions, batch.position_ids);
    copy(buffers->targets, batch.targets);
    copy(buffers->weights, batch.weights);
  }

  /// The batch as the head's kernels read it.
  [[nodiscard]] MicroBatch head_rows(MicroBatch batch) const {
    batch.targets = for_kernels(buffers->targets, batch.targets);
    batch.weights = for_kernels(buffers->weights, batch.weights);
    return batch;
  }

  /// Probability 1 stands for "those of the model", 0 for none.
  [[nodiscard]] DropoutKey dropout_of(const MicroBatch& batch) const {
    return {.probability = drops ? 1.0F : 0.0F, .seed = options.seed, .sample = batch.sample};
  }

  /// @param for_backward  every layer's activations are kept, and what training drops is dropped
  void begin(const MicroBatch& batch, bool for_backward) {
    keeps = for_backward;
    drops = for_backward && options.dropout;
    adapters.training = for_backward;
    adapters.sample = batch.sample;
    if (batch.tokens == 0) return;
    if (!batch.key_lens.empty() && exec.stream.on_device())
      throw ConfigError("padding that counts has no GPU path yet", "ignore_pad_token_for_loss", "use device: cpu");
    check_batch(batch, {keeps ? options.max_tokens : forward_tokens(options), rope.positions(), sizes.V});
    upload(batch);
    rope.use(exec, batch.padded_len);
  }

  UnitWeights acquire(ParameterStore& store, int unit) {
    UnitWeights weights = store.acquire(unit, exec.stream);
    weights.adapters = &adapters;
    return weights;
  }
  /// Fetches ahead what backward will read; it ends at the first unit with anything to train.
  void prefetch_below(ParameterStore& store, int unit) const {
    if (unit - 1 >= std::max(lowest, 1)) store.prefetch(unit - 1, exec.stream);
  }

  void embed(ParameterStore& store, const MicroBatch& batch);
  void add_noise(const MicroBatch& batch) const;
  void run_blocks(ParameterStore& store, const MicroBatch& batch);
  HeadWeights acquire_head(ParameterStore& store);
  void release_head(ParameterStore& store);
  void normalise(const HeadWeights& weights, const MicroBatch& batch);
  ForwardResult head_loss(ParameterStore& store, const MicroBatch& batch, bool for_backward, float loss_scale);
  MicroBatch scaled(const MicroBatch& batch, float loss_scale) const;
  void block_backward(ParameterStore& store, const MicroBatch& batch, std::int64_t layer);

  ModelSpec spec;
  const ModelLayout& layout;
  DecoderSizes sizes;
  DecoderParts parts;
  bool drops = false;
  std::shared_ptr<const DecoderBuffers> buffers;
  DecoderOptions options;
  const Arena& arena;
  Exec exec;
  RopeTables rope;
  std::vector<Block> blocks;
  Embedding embedding;
  Head head;
  AdapterPass adapters;
  int lowest;         ///< first unit with anything to train
  bool keeps = true;  ///< the pass at work keeps its activations for a backward pass
};

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

ForwardResult Decoder::Impl::head_loss(ParameterStore& store, const MicroBatch& batch, bool for_backward,
                                       float loss_scale) {
  HeadWeights weights = acquire_head(store);
  if (for_backward) {
    prefetch_below(store, head.unit());  // backward starts with the last block
    weights.norm_gradient = store.gradient(head.unit(), exec.stream);
    weights.matrix_gradient = head.tied() ? store.gradient(0, exec.stream) : weights.norm_gradient;
    if (head.tied() && batch.tokens > 0) embedding.share_gradient(exec, weights.matrix_gradient);
  }
  ForwardResult result;
  if (batch.tokens > 0) {
    const HeadBuffers b = head_buffers();
    normalise(weights, batch);
    head.loss(exec, weights, for_backward ? scaled(head_rows(batch), loss_scale) : head_rows(batch), b, for_backward,
              options.token_loss);
    if (for_backward) head.backward(exec, weights, batch.padded_tokens, data(buffers->dx), b);
    exec.stream.synchronize();  // the losses are read below
    for (std::int64_t t = 0; t < batch.tokens; ++t) {
      const auto i = static_cast<std::size_t>(t);
      if (batch.targets[i] < 0) continue;
      const double nll = b.nll_T[t];
      result.loss += static_cast<double>(batch.weights[i]) * nll;
      result.nll_sum += nll;
      ++result.targets;
    }
  }
  if (for_backward) store.gradient_ready(head.unit(), exec.stream);
  release_head(store);
  return result;
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

Decoder::Decoder(const ModelSpec& spec, const ModelLayout& layout, const DecoderOptions& options, const Arena& arena,
                 std::shared_ptr<const DecoderBuffers> buffers, Device device) {
  DSTRAIN_CHECK(buffers != nullptr && buffers->options.dtype == options.dtype &&
                    buffers->options.train == options.train &&
                    buffers->options.gradient_checkpointing == options.gradient_checkpointing &&
                    buffers->options.max_tokens == options.max_tokens &&
                    forward_tokens(buffers->options) == forward_tokens(options) &&
                    buffers->options.predictions == options.predictions,
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
}

ForwardResult Decoder::forward(ParameterStore& store, const MicroBatch& batch, bool for_backward, float loss_scale) {
  DSTRAIN_CHECK(!for_backward || impl_->options.train, "this decoder was planned without a backward pass");
  impl_->begin(batch, for_backward);
  impl_->embed(store, batch);
  impl_->run_blocks(store, batch);
  return impl_->head_loss(store, batch, for_backward, loss_scale);
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
