// SPDX-License-Identifier: Apache-2.0
#include "model/layout.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t grid = 256;  // elements: whole cache lines in every dtype, and a block of 8-bit states
constexpr std::int64_t most_chunks = 1024;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

}  // namespace

std::int32_t ModelLayout::find(const std::string& name) const noexcept {
  const auto at = std::find_if(tensors.begin(), tensors.end(), [&](const TensorLayout& t) { return t.name == name; });
  return at == tensors.end() ? -1 : at->index;
}

void append_tensor(ModelLayout& layout, int unit, std::string name, std::vector<std::int64_t> shape, bool adjacent,
                   PartKind part) {
  DSTRAIN_CHECK(unit >= 0, "tensor '{}' is given unit {}", name, unit);
  if (unit >= layout.unit_count()) layout.units.resize(static_cast<std::size_t>(unit) + 1);
  UnitLayout& owner = layout.units[static_cast<std::size_t>(unit)];
  PartLayout& buffer = owner.parts[static_cast<std::size_t>(part)];

  TensorLayout tensor;
  tensor.count = 1;
  for (const std::int64_t extent : shape) {
    DSTRAIN_CHECK(extent > 0, "tensor '{}' has an extent of {}", name, extent);
    tensor.count *= extent;
  }
  tensor.name = std::move(name);
  tensor.shape = std::move(shape);
  tensor.index = static_cast<std::int32_t>(layout.tensors.size());
  tensor.unit = unit;
  tensor.part = part;
  place_tensor(buffer, tensor, adjacent);
  layout.parameters += tensor.count;
  owner.tensors.push_back(tensor.index);
  layout.tensors.push_back(std::move(tensor));
}

void place_tensor(PartLayout& buffer, TensorLayout& tensor, bool adjacent) {
  tensor.offset = adjacent ? buffer.count : round_up(buffer.count, grid);
  tensor.fused = adjacent;
  buffer.count = tensor.offset + tensor.count;
}

void finish_layout(ModelLayout& layout) {
  const int last = layout.unit_count() - 1;
  for (int u = 0; u <= last; ++u) {
    UnitLayout& unit = layout.units[static_cast<std::size_t>(u)];
    unit.name = u == 0 ? "embedding" : u == last ? "head" : fmt::format("block {}", u - 1);
    for (PartLayout& part : unit.parts) {
      if (part.count == 0) continue;
      part.chunk = round_up((part.count + most_chunks - 1) / most_chunks, grid);
      part.chunks = (part.count + part.chunk - 1) / part.chunk;
    }
  }
}

}  // namespace dstrain
