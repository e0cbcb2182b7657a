// SPDX-License-Identifier: Apache-2.0
#include "model/head.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "kernels/ops/argmax.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "model/families/family.hpp"

namespace dstrain {

Head::Head(const ModelSpec& spec, const ModelLayout& layout)
    : sizes_(spec),
      eps_(static_cast<float>(spec.norm_eps)),
      norm_(find_in_unit(layout, layout.unit_count() - 1, std::string(spec.family->names.final_norm) + ".weight")) {
  DSTRAIN_CHECK(norm_ != nullptr, "the head has no norm");
  matrix_ = spec.tie_word_embeddings ? make_linear(layout, 0, sizes_.head(), spec.family->names.embedding)
                                     : make_linear(layout, norm_->unit, sizes_.head(), spec.family->names.head);
}

void Head::normalise(const Exec& exec, const HeadWeights& w, std::int64_t T, ConstData residual, ConstData delta,
                     const HeadBuffers& b) const {
  ops::rms_norm_forward(exec, b.normed_TD, b.sum_TD, b.rstd_T, residual, delta, w.norm.of(*norm_), eps_, {T, sizes_.D});
}

void Head::logits(const Exec& exec, const HeadWeights& w, std::int64_t row, std::int64_t rows,
                  const HeadBuffers& b) const {
  matrix_.forward(exec, Data{b.logits, DType::f32}, b.normed_TD.at(row * sizes_.D), rows, w.matrix);
}

void Head::loss(const Exec& exec, const HeadWeights& w, const MicroBatch& batch, const HeadBuffers& b,
                bool with_gradient) const {
  const std::int64_t T = batch.padded_tokens;
  UnitGradient gradient = w.matrix_gradient;
  for (std::int64_t row = 0; row < T; row += sizes_.chunk_rows) {
    const std::int64_t rows = std::min(sizes_.chunk_rows, T - row);
    logits(exec, w, row, rows, b);
    if (b.predicted_T != nullptr) {
      ops::argmax(exec, b.predicted_T + row, b.logits, batch.targets.data() + row, rows, sizes_.V, sizes_.V);
    }
    ops::cross_entropy(exec, with_gradient ? b.dlogits : Data{}, b.nll_T + row, b.logits, batch.targets.data() + row,
                       batch.weights.data() + row, rows, sizes_.V, sizes_.V);
    if (!with_gradient) continue;
    const Data normed = b.normed_TD.at(row * sizes_.D);
    matrix_.weight_gradient(exec, gradient, b.dlogits, normed, rows);
    gradient.accumulate = true;  // later chunks add to the first
    matrix_.input_gradient(exec, normed, b.dlogits, rows, w.matrix);
  }
}

void Head::backward(const Exec& exec, const HeadWeights& w, std::int64_t T, Data dx_TD, const HeadBuffers& b) const {
  float* dw = norm_->part == PartKind::trainable ? w.norm_gradient.of(*norm_) : nullptr;
  ops::rms_norm_backward(exec, dx_TD, dw, b.normed_TD, b.sum_TD, w.norm.of(*norm_), b.rstd_T, {T, sizes_.D}, false,
                         w.norm_gradient.accumulate);
}

}  // namespace dstrain
