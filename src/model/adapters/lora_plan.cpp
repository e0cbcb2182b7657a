// SPDX-License-Identifier: Apache-2.0
/// Which adapters a layer has, and what they ask of the memory plan and of the matrix products.
#include <algorithm>

#include "model/adapters/lora.hpp"
#include "model/adapters/lora_parts.hpp"

namespace dstrain {

std::optional<LoraSite> find_site(const ModelLayout& layout, const TensorLayout& weight, bool lookup) {
  const auto tensor = [&](std::int32_t index) { return &layout.tensors[static_cast<std::size_t>(index)]; };
  LoraSite site;
  for (const AdapterLayout& adapter : layout.adapters) {
    if (adapter.weight != weight.index || adapter.lookup != lookup) {
      if (adapter.magnitude >= 0) site.column_at += adapter.out;
      ++site.number;
      continue;
    }
    site.weight = tensor(adapter.weight);
    site.a = tensor(adapter.a);
    site.b = tensor(adapter.b);
    if (adapter.magnitude >= 0) site.magnitude = tensor(adapter.magnitude);
    site.out = adapter.out;
    site.rank = adapter.rank;
    site.scale = adapter.scale;
    site.dropout = adapter.dropout;
    site.transposed = adapter.transposed;
    return site;
  }
  return std::nullopt;
}

LinearLora::LinearLora(const ModelLayout& layout, const TensorLayout& weight, std::int64_t in, std::int64_t out)
    : in_(in), out_(out) {
  std::int64_t column = 0;
  for (std::int32_t index = weight.index; column < out; ++index) {
    const TensorLayout& part = layout.tensors[static_cast<std::size_t>(index)];
    if (auto site = find_site(layout, part, false)) {
      site->first = column;
      site->rank_at = R_;
      R_ += site->rank;
      dora_ = dora_ || site->magnitude != nullptr;
      sites_.push_back(*site);
    }
    column += part.matrix_out();
  }
  adjacent_ = true;
  for (std::size_t i = 1; i < sites_.size(); ++i) {
    adjacent_ = adjacent_ && sites_[i].a->offset == sites_[i - 1].a->offset + sites_[i - 1].a->count;
  }
}

void LinearLora::measure(AdapterSizes& sizes, bool narrow) const {
  if (empty()) return;
  sizes.rows = std::max(sizes.rows, R_);
  for (const LoraSite& s : sites_) {
    const bool dropped = s.dropout > 0.0F;
    ++sizes.adapters;
    if (dropped) sizes.input = std::max(sizes.input, in_);
    if (dropped || narrow) sizes.update = std::max(sizes.update, in_);
    if (s.magnitude != nullptr || narrow) sizes.update = std::max(sizes.update, s.out);
    if (s.magnitude == nullptr) continue;
    sizes.scaled = std::max(sizes.scaled, out_);
    sizes.columns += s.out;
  }
}

void LinearLora::products(std::vector<AdapterProduct>& list, std::int64_t T, bool f32_output, bool train) const {
  for (const bool together : {true, false}) {
    if (empty() || (together && !adjacent_)) continue;
    for (std::size_t i = 0; i < (together ? 1 : sites_.size()); ++i) {
      const std::int64_t rank = together ? R_ : sites_[i].rank;
      list.push_back({down_shape(T, rank, in_, R_), false, false});
      if (!train) continue;
      list.push_back({through_shape(T, rank, in_, R_), false, false});
      for (const bool accumulate : {false, true})
        list.push_back({a_gradient_shape(T, rank, in_, R_), true, accumulate});
    }
  }
  for (const LoraSite& s : sites_) {
    list.push_back({up_shape(T, s.rank, s.out, R_, s.out), f32_output, false});
    list.push_back({up_shape(T, s.rank, s.out, R_, out_), true, true});  // f32 is added to in place
    if (!train) continue;
    list.push_back({row_gradient_shape(T, s.rank, s.out, R_, out_), false, false});
    for (const bool accumulate : {false, true})
      list.push_back({b_gradient_shape(T, s.rank, s.out, R_, out_), true, accumulate});
    if (s.magnitude == nullptr) continue;
    list.push_back({base_shape(T, in_, s), f32_output, false});
    list.push_back({base_input_shape(T, in_, s, out_), false, false});
  }
}

}  // namespace dstrain
