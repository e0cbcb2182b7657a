// SPDX-License-Identifier: Apache-2.0
#include "model/embedding.hpp"

#include <string>

#include "core/error.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/families/family.hpp"
#include "model/linear.hpp"

namespace dstrain {

namespace {

DropoutKey with_probability(DropoutKey key, float probability) {
  key.probability = key.probability > 0.0F ? probability : 0.0F;
  return key;
}

}  // namespace

Embedding::Embedding(const ModelSpec& spec, const ModelLayout& layout)
    : D_(spec.hidden_size),
      V_(spec.vocab_size),
      position_rows_(spec.max_position_embeddings),
      scale_(static_cast<float>(spec.embedding_scale)),
      dropout_(static_cast<float>(spec.dropout.embedding)),
      table_(find_in_unit(layout, 0, std::string(spec.family->names.embedding) + ".weight")) {
  DSTRAIN_CHECK(table_ != nullptr, "the first unit has no embedding");
  const FamilyNames& names = spec.family->names;
  if (spec.positions == PositionKind::learned)
    positions_ = find_in_unit(layout, 0, std::string(names.positions) + ".weight");
  if (names.embedding_norm != nullptr) norm_ = Norm(spec, layout, 0, names.embedding_norm);
  table_lora_ = LookupLora(layout, *table_);
  if (positions_ != nullptr) positions_lora_ = LookupLora(layout, *positions_);
}

float Embedding::scale_in(DType dtype) const noexcept {
  if (dtype == DType::bf16) return static_cast<float>(bfloat16(scale_));
  if (dtype == DType::f16) return static_cast<float>(float16(scale_));
  return scale_;
}

void Embedding::forward(const Exec& exec, const UnitWeights& w, const EmbeddingRows& rows, Data y_TD,
                        const EmbeddingBuffers& b) const {
  const std::int64_t count = rows.T * D_;
  const Data rows_TD = norm_.exists() && b.looked_up_TD.data != nullptr ? b.looked_up_TD : y_TD;
  ops::embedding_forward(exec, rows_TD, w.of(*table_), rows.ids_T, rows.T, D_);
  table_lora_.forward(exec, rows_TD, rows.ids_T, rows.T, w);
  if (scale_ != 1.0F) ops::scale(exec, rows_TD, scale_in(rows_TD.dtype), count);
  if (positions_ != nullptr) {
    ops::embedding_forward(exec, b.scratch_TD, w.of(*positions_), rows.positions_T, rows.T, D_);
    positions_lora_.forward(exec, b.scratch_TD, rows.positions_T, rows.T, w);
    ops::add(exec, rows_TD, b.scratch_TD, count);
  }
  if (norm_.exists()) norm_.forward(exec, w, y_TD, {}, b.kept, rows_TD, {}, rows.T);
  ops::dropout(exec, y_TD, count, with_probability(rows.dropout, dropout_));
}

void Embedding::share_gradient(const Exec& exec, const UnitGradient& g) const {
  if (g.accumulate) return;
  norm_.clear_gradient(exec, g);
  table_lora_.clear_gradient(exec, g);
  positions_lora_.clear_gradient(exec, g);
  if (positions_ != nullptr && positions_->part == PartKind::trainable)
    ops::fill_zero(exec, {g.of(*positions_), DType::f32}, positions_->count);
}

void Embedding::backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const EmbeddingRows& rows,
                         Data dy_TD, const EmbeddingBuffers& b) const {
  const std::int64_t count = rows.T * D_;
  ops::dropout(exec, dy_TD, count, with_probability(rows.dropout, dropout_));
  if (norm_.exists()) norm_.backward(exec, w, g, dy_TD, dy_TD, b.looked_up_TD, b.kept, rows.T, false);
  if (positions_ != nullptr && positions_->part == PartKind::trainable) {
    ops::embedding_backward(exec, g.of(*positions_), dy_TD, rows.positions_T, rows.tokens, D_, position_rows_,
                            g.accumulate);
  }
  positions_lora_.backward(exec, w, g, dy_TD, rows.positions_T, rows.T, rows.tokens);
  if (scale_ != 1.0F) ops::scale(exec, dy_TD, scale_in(dy_TD.dtype), count);
  table_lora_.backward(exec, w, g, dy_TD, rows.ids_T, rows.T, rows.tokens);
  if (table_->part != PartKind::trainable) return;
  // A tied matrix already holds the head's part: the store says "add".
  ops::embedding_backward(exec, g.of(*table_), dy_TD, rows.ids_T, rows.tokens, D_, V_, g.accumulate);
}

}  // namespace dstrain
