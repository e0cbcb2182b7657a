// SPDX-License-Identifier: Apache-2.0
#include "model/head.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "kernels/ops/argmax.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/row_norm.hpp"
#include "model/families/family.hpp"

namespace dstrain {

Head::Head(const ModelSpec& spec, const ModelLayout& layout)
    : sizes_(spec),
      normalised_(spec.normalised_head),
      scale_(static_cast<float>(spec.logit_scale)),
      softcap_(static_cast<float>(spec.logit_softcap)),
      unit_(layout.unit_count() - 1) {
  if (spec.final_norm) norm_ = Norm(spec, layout, unit_, spec.family->names.final_norm);
  matrix_ = spec.tie_word_embeddings ? make_linear(layout, 0, sizes_.head(), spec.family->names.embedding)
                                     : make_linear(layout, unit_, sizes_.head(), spec.family->names.head);
  // The embedding's part of a shared gradient would lose its component along each row too.
  DSTRAIN_CHECK(!normalised_ || !tied(), "a head with rows of length one cannot be the embedding too");
}

void Head::normalise(const Exec& exec, const HeadWeights& w, std::int64_t T, ConstData residual, ConstData delta,
                     const HeadBuffers& b) const {
  if (norm_.exists()) {
    norm_.forward(exec, w.norm, b.normed_TD, b.sum_TD, b.kept, residual, delta, T);
  } else {
    ops::convert(exec, b.normed_TD, residual, T * sizes_.D);
    ops::add(exec, b.normed_TD, delta, T * sizes_.D);
  }
  if (normalised_) ops::inverse_row_norms(exec, b.row_norms_V, w.matrix.of(*matrix_.weight), sizes_.V, sizes_.D);
}

void Head::logits(const Exec& exec, const HeadWeights& w, std::int64_t row, std::int64_t rows,
                  const HeadBuffers& b) const {
  const Data logits{b.logits, DType::f32};
  matrix_.forward(exec, logits, b.normed_TD.at(row * sizes_.D), rows, w.matrix, row);
  if (normalised_) ops::scale_columns(exec, logits, b.row_norms_V, rows, sizes_.V);
  if (scale_ != 1.0F) ops::scale(exec, logits, scale_, rows * sizes_.V);
  if (softcap_ > 0.0F) ops::softcap(exec, b.logits, softcap_, rows * sizes_.V);
}

/// From the gradient of the logits before their cap to that of the product.
void Head::logits_gradient(const Exec& exec, Data dlogits, std::int64_t rows, const HeadBuffers& b) const {
  if (scale_ != 1.0F) ops::scale(exec, dlogits, scale_, rows * sizes_.V);
  if (normalised_) ops::scale_columns(exec, dlogits, b.row_norms_V, rows, sizes_.V);
}

void Head::loss(const Exec& exec, const HeadWeights& w, const MicroBatch& batch, const HeadBuffers& b,
                bool with_gradient, const TokenLoss& token_loss) const {
  const std::int64_t T = batch.padded_tokens;
  UnitGradient gradient = w.matrix_gradient;
  for (std::int64_t row = 0; row < T; row += sizes_.chunk_rows) {
    const std::int64_t rows = std::min(sizes_.chunk_rows, T - row);
    logits(exec, w, row, rows, b);
    if (b.predicted_T != nullptr) {
      ops::argmax(exec, b.predicted_T + row, b.logits, batch.targets.data() + row, rows, sizes_.V, sizes_.V);
    }
    ops::cross_entropy(exec, with_gradient ? b.dlogits : Data{}, b.nll_T + row, b.logits, batch.targets.data() + row,
                       batch.weights.data() + row, rows, sizes_.V, sizes_.V, softcap_, token_loss);
    if (!with_gradient) continue;
    logits_gradient(exec, b.dlogits, rows, b);
    const Data normed = b.normed_TD.at(row * sizes_.D);
    matrix_.weight_gradient(exec, w.matrix, gradient, b.dlogits, normed, rows, row);
    gradient.accumulate = true;  // later chunks add to the first
    matrix_.input_gradient(exec, normed, b.dlogits, rows, w.matrix, row);
  }
  if (with_gradient && normalised_ && matrix_.weight->part == PartKind::trainable) {
    ops::remove_row_component(exec, gradient.of(*matrix_.weight), w.matrix.of(*matrix_.weight), b.row_norms_V, sizes_.V,
                              sizes_.D);
  }
}

void Head::backward(const Exec& exec, const HeadWeights& w, std::int64_t T, Data dx_TD, const HeadBuffers& b) const {
  if (norm_.exists()) {
    norm_.backward(exec, w.norm, w.norm_gradient, dx_TD, b.normed_TD, b.sum_TD, b.kept, T, false);
  } else {
    ops::convert(exec, dx_TD, b.normed_TD, T * sizes_.D);
  }
}

}  // namespace dstrain
