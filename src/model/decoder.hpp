// SPDX-License-Identifier: Apache-2.0
/// Forward and backward of a decoder-only transformer on packed tokens, written by hand, layer by layer.
#pragma once

#include <cstdint>
#include <memory>

#include "core/memory_plan.hpp"
#include "kernels/ops/attention_kernels.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "model/micro_batch.hpp"
#include "model/model_spec.hpp"
#include "model/parameter_store.hpp"

namespace dstrain {

struct DecoderOptions {
  DType dtype = DType::f32;             ///< of weights handed out by the store and of activations: f32, bf16 or f16
  bool train = true;                    ///< false: no room for a backward pass is planned
  bool gradient_checkpointing = true;   ///< keep only block inputs, recompute the rest in backward
  std::int64_t max_tokens = 0;          ///< largest T (a token class) that will be run
  std::int64_t max_forward_tokens = 0;  ///< largest T of a pass without backward, where that is more; 0: max_tokens
  bool predictions = false;             ///< passes without backward keep the likeliest token of every row
  std::int64_t max_position = 0;        ///< positions that the RoPE tables hold
  int threads = 1;
  std::uint64_t seed = 42;           ///< of dropout and noise
  bool dropout = true;               ///< false: none in training either, whatever config.json says
  double neftune_noise_alpha = 0.0;  ///< 0: no noise on embeddings in training
  TokenLoss token_loss = {};         ///< of passes with and without backward
  AttentionKernels attention = AttentionKernels::own;
};

/// Entries of the decoder in a MemoryPlan.
struct DecoderBuffers;

/// Enters everything the decoder needs. Pure arithmetic: `dstrain plan` calls it for any world size.
/// @param layout  of `spec`; without it the plain one: everything is trained, no adapters
std::shared_ptr<const DecoderBuffers> plan_decoder(MemoryPlan& plan, const ModelSpec& spec, const ModelLayout& layout,
                                                   const DecoderOptions& options);
std::shared_ptr<const DecoderBuffers> plan_decoder(MemoryPlan& plan, const ModelSpec& spec,
                                                   const DecoderOptions& options);

/// What a forward pass leaves behind.
struct ForwardResult {
  double loss = 0.0;     ///< sum_t weight[t] * nll[t], fixed order, f64
  double nll_sum = 0.0;  ///< sum over targets of nll (of DecoderOptions::token_loss, where that is another)
  std::int64_t targets = 0;
};

/// One model on one rank. Holds no weights; not thread-safe. No allocation after construction.
class Decoder {
 public:
  Decoder(const ModelSpec& spec, const ModelLayout& layout, const DecoderOptions& options, const Arena& arena,
          std::shared_ptr<const DecoderBuffers> buffers, Device device);
  ~Decoder();

  /// Makes the JIT kernels of this token class, so that no step pays for it. Local.
  /// @param for_backward  those of the backward pass too, where one was planned
  void prepare(std::int64_t padded_tokens, bool for_backward = true);

  /// Forward pass with the head and loss. With `for_backward` the head runs in one pass: its weight gradient goes to
  /// the store's gradient buffer and the gradient of the final hidden state is kept for backward(). A batch with tokens
  /// == 0 makes the same calls to the store and computes nothing (a rank without a slot in an uneven round). Without
  /// `for_backward` no layer's activations are kept and T may be max_forward_tokens. Collective where the store is.
  /// @param loss_scale  gradients are those of the loss times this number (f16); the loss is given without it
  ForwardResult forward(ParameterStore& store, const MicroBatch& batch, bool for_backward, float loss_scale = 1.0F);

  /// The same without waiting for the GPU: the numbers of ForwardResult come to `sums` as three doubles when the stream
  /// has come so far (on a CPU: before the call returns). What the batch's rows lie in is read until then.
  /// @param sums  memory that host and kernels reach; zeros for a batch without tokens
  void queue_forward(ParameterStore& store, const MicroBatch& batch, bool for_backward, float loss_scale, double* sums);

  /// Backward pass of the batch of the last forward(for_backward = true). Collective where the store is.
  void backward(ParameterStore& store, const MicroBatch& batch);

  /// nll of each token of the last forward pass [T], 0 where there is no target.
  [[nodiscard]] const float* nll() const noexcept;

  /// The likeliest token of each row with a target (else -1) of the last forward pass without backward [T]; null where
  /// `predictions` is off.
  [[nodiscard]] const std::int32_t* predicted() const noexcept;

  /// Logits (f32) of rows [begin, begin + count) of the batch, into logits[count, vocab_size]: runs a forward pass
  /// without loss. For compare and tests; generation has its own path (model/generator.hpp).
  void logits(ParameterStore& store, const MicroBatch& batch, std::int64_t begin, std::int64_t count, float* logits);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dstrain
