// SPDX-License-Identifier: Apache-2.0
/// What a decoder holds, and where the activations of a pass lie. The passes are in decoder_passes.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/error.hpp"
#include "model/adapters/adapter_plan.hpp"
#include "model/batch_checks.hpp"
#include "model/block.hpp"
#include "model/decoder.hpp"
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
            batch.key_lens.empty() ? nullptr : batch.key_lens.data(),
            options.attention};
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
  void head_loss(ParameterStore& store, const MicroBatch& batch, bool for_backward, float loss_scale, double* sums);
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

}  // namespace dstrain
