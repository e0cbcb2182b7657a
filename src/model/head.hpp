// SPDX-License-Identifier: Apache-2.0
/// Final norm, vocabulary product and loss, by chunks of rows: all logits never exist at one time.
#pragma once

#include "kernels/ops/cross_entropy.hpp"
#include "model/decoder_buffers.hpp"
#include "model/linear.hpp"
#include "model/norm.hpp"

namespace dstrain {

/// Memory of one pass of the head.
struct HeadBuffers {
  Data normed_TD;  ///< final hidden state; its gradient where one is asked for
  Data sum_TD;     ///< last residual sum
  float* kept;     ///< of the norm
  float* logits;   ///< [chunk_rows, V]
  Data dlogits;    ///< [chunk_rows, V]; the logits themselves in f32
  float* nll_T;
  std::int32_t* predicted_T = nullptr;  ///< the likeliest tokens; null: not asked for
  float* row_norms_V = nullptr;         ///< 1 / length of the matrix's rows, where they count with length one
};

/// Weights and open gradients of the head: its own unit's and, where tied, the embedding's matrix.
struct HeadWeights {
  UnitWeights norm;
  UnitWeights matrix;
  UnitGradient norm_gradient;
  UnitGradient matrix_gradient;
};

class Head {
 public:
  Head(const ModelSpec& spec, const ModelLayout& layout);

  /// sum = residual + delta, normed = its norm; the lengths of the matrix's rows where they are asked for.
  void normalise(const Exec& exec, const HeadWeights& w, std::int64_t T, ConstData residual, ConstData delta,
                 const HeadBuffers& b) const;
  /// nll of every row, and the likeliest token where asked for. With `with_gradient` also the weight gradients, and
  /// normed_TD becomes d(loss)/d(normed).
  void loss(const Exec& exec, const HeadWeights& w, const MicroBatch& batch, const HeadBuffers& b, bool with_gradient,
            const TokenLoss& token_loss = {}) const;
  /// dx_TD = gradient of the last residual sum, from normed_TD after loss().
  void backward(const Exec& exec, const HeadWeights& w, std::int64_t T, Data dx_TD, const HeadBuffers& b) const;
  /// Logits of rows [row, row + rows) of normed_TD into b.logits.
  void logits(const Exec& exec, const HeadWeights& w, std::int64_t row, std::int64_t rows, const HeadBuffers& b) const;

  [[nodiscard]] bool tied() const noexcept { return matrix_.weight->unit == 0; }
  [[nodiscard]] int unit() const noexcept { return unit_; }
  [[nodiscard]] const Linear& matrix() const noexcept { return matrix_; }

 private:
  DecoderSizes sizes_;
  void logits_gradient(const Exec& exec, Data dlogits, std::int64_t rows, const HeadBuffers& b) const;

  bool normalised_;
  float scale_;
  float softcap_;
  int unit_;
  Norm norm_;  ///< may be none
  Linear matrix_;
};

}  // namespace dstrain
