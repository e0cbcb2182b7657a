// SPDX-License-Identifier: Apache-2.0
/// The first unit: look-up, and what some families do to it (a factor, learned positions, a norm, dropout).
#pragma once

#include <array>

#include "kernels/ops/dropout.hpp"
#include "model/adapters/lookup_lora.hpp"
#include "model/norm.hpp"

namespace dstrain {

/// The tokens of one call.
struct EmbeddingRows {
  std::int64_t T = 0;       ///< rows computed
  std::int64_t tokens = 0;  ///< rows that belong to a segment
  const std::int32_t* ids_T = nullptr;
  const std::int32_t* positions_T = nullptr;
  DropoutKey dropout = {};  ///< seed and sample; probability 0: nothing is dropped
};

/// Memory of one pass beside the rows themselves.
struct EmbeddingBuffers {
  Data looked_up_TD;  ///< before the norm, kept for backward; only where there is one (null: not kept)
  Data scratch_TD;    ///< overwritten
  float* kept;        ///< of the norm
};

class Embedding {
 public:
  Embedding(const ModelSpec& spec, const ModelLayout& layout);

  void forward(const Exec& exec, const UnitWeights& w, const EmbeddingRows& rows, Data y_TD,
               const EmbeddingBuffers& b) const;
  /// Turns dy_TD into the gradient of what was looked up and adds it up into the unit's gradient.
  /// @param w  only looked at where needs_weights()
  void backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const EmbeddingRows& rows, Data dy_TD,
                const EmbeddingBuffers& b) const;

  /// The head opened the unit's gradient for its matrix: where it writes, what lies beside the matrix starts at zero,
  /// because backward() will be told to add.
  void share_gradient(const Exec& exec, const UnitGradient& g) const;

  /// Backward reads weights (of the norm, of adapters).
  [[nodiscard]] bool needs_weights() const noexcept {
    return norm_.exists() || !table_lora_.empty() || !positions_lora_.empty();
  }
  /// For plans; empty where there are none.
  [[nodiscard]] std::array<const LookupLora*, 2> adapters() const noexcept { return {&table_lora_, &positions_lora_}; }

 private:
  /// The factor rounded to the storage type, as transformers' Gemma has it.
  [[nodiscard]] float scale_in(DType dtype) const noexcept;

  std::int64_t D_, V_, position_rows_;
  float scale_;
  float dropout_;
  const TensorLayout* table_;
  const TensorLayout* positions_ = nullptr;
  Norm norm_;
  LookupLora table_lora_, positions_lora_;
};

}  // namespace dstrain
