// SPDX-License-Identifier: Apache-2.0
#include "zero/slices.hpp"

#include <algorithm>

namespace dstrain {

namespace {

/// Cuts every tensor of every unit to range_of(its part).
template <typename RangeOf>
std::vector<OwnedSlice> cut(const ModelLayout& layout, const ZeroBuffers& buffers, const RangeOf& range_of) {
  std::vector<OwnedSlice> slices;
  for (std::size_t u = 0; u < layout.units.size(); ++u) {
    for (const std::int32_t index : layout.units[u].tensors) {
      const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
      const PartRange range = range_of(buffers.units[u].weights[static_cast<int>(tensor.part)]);
      const std::int64_t begin = std::max(tensor.offset, range.begin);
      const std::int64_t end = std::min(tensor.offset + tensor.count, range.begin + range.count);
      if (begin < end) slices.push_back({.tensor = index, .begin = begin - tensor.offset, .count = end - begin});
    }
  }
  return slices;
}

}  // namespace

std::vector<OwnedSlice> kept_slices(const ModelLayout& layout, const ZeroBuffers& buffers, int rank) {
  return cut(layout, buffers, [&](const PartPlace& part) { return kept_range(buffers, part, rank); });
}

std::vector<OwnedSlice> shard_slices(const ModelLayout& layout, const ZeroBuffers& buffers, int rank) {
  return cut(layout, buffers, [&](const PartPlace& part) {
    const std::int64_t begin = part.slices.begin(rank);
    return PartRange{begin, part.slices.end(rank) - begin};
  });
}

std::vector<OwnedSlice> slices_in_memory(const ModelLayout& layout, const ZeroMemory& memory) {
  std::vector<OwnedSlice> slices = kept_slices(layout, memory.buffers(), memory.rank());
  for (OwnedSlice& slice : slices) {
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(slice.tensor)];
    const int kind = static_cast<int>(tensor.part);
    const PartRange kept = kept_range(memory.buffers(), memory.unit(tensor.unit).weights[kind], memory.rank());
    const std::int64_t at = tensor.offset + slice.begin - kept.begin;
    slice.weights = memory.kept_weights(tensor.unit, kind).at(at);
    const auto moved = [at](float* base) { return base == nullptr ? nullptr : base + at; };
    slice.master = moved(memory.master(tensor.unit, kind));
    if (tensor.part != PartKind::trainable) continue;
    slice.exp_avg = moved(memory.exp_avg(tensor.unit));
    slice.exp_avg_sq = moved(memory.exp_avg_sq(tensor.unit));
    slice.gradient = moved(memory.kept_gradient(tensor.unit));
  }
  return slices;
}

}  // namespace dstrain
