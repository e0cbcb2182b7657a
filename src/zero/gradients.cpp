// SPDX-License-Identifier: Apache-2.0
#include "zero/gradients.hpp"

#include <algorithm>

namespace dstrain {

GradientGaps::GradientGaps(const ModelLayout& layout, const ZeroMemory& memory) : gaps_(layout.units.size()) {
  for (std::size_t u = 0; u < layout.units.size(); ++u) {
    const std::int64_t padded = memory.unit(static_cast<int>(u)).trainable().slices.padded;
    std::int64_t covered = 0;
    const auto gap_until = [&](std::int64_t end) {
      if (end > covered) gaps_[u].push_back({covered, end - covered});
    };
    for (const std::int32_t index : layout.units[u].tensors) {
      const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
      if (tensor.part != PartKind::trainable) continue;
      gap_until(tensor.offset);
      covered = tensor.offset + tensor.count;
    }
    gap_until(padded);
  }
}

void GradientGaps::zero(int unit, float* flat, const Stream& stream) const {
  for (const PartRange& gap : gaps_[static_cast<std::size_t>(unit)])
    zero_bytes(stream, flat + gap.begin, gap.count * static_cast<std::int64_t>(sizeof(float)));
}

void gather_gradients(const ZeroMemory& memory, Communicator& comm, const UnitGroup& group,
                      std::vector<AllGatherPart>& parts, const Stream& stream) {
  parts.clear();
  for (int u = group.first; u < group.last; ++u) {
    if (memory.unit(u).trainable().part.count > 0) parts.push_back({memory.gradient_shard(u), memory.full_gradient(u)});
  }
  if (!parts.empty()) comm.all_gather(parts, stream, "gradients to all");
}

}  // namespace dstrain
