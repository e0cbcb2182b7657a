// SPDX-License-Identifier: Apache-2.0
/// The planned offsets as pointers of one rank. Private to src/zero.
#pragma once

#include <memory>
#include <vector>

#include "kernels/ops/common.hpp"
#include "zero/zero_buffers.hpp"

namespace dstrain {

/// Elements [begin, begin + count) of a part.
struct PartRange {
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

/// Which elements rank `rank` keeps the state of: everything at stage 0, its slice above. Local, pure.
PartRange kept_range(const ZeroBuffers& buffers, const PartPlace& part, int rank) noexcept;

/// The memory of one rank. Borrows the arena; pointers are those of the first element that the name speaks of.
class ZeroMemory {
 public:
  ZeroMemory(std::shared_ptr<const ZeroBuffers> buffers, const Arena& arena, int rank);

  [[nodiscard]] const ZeroBuffers& buffers() const noexcept { return *buffers_; }
  [[nodiscard]] const UnitPlace& unit(int unit) const { return buffers_->units[static_cast<std::size_t>(unit)]; }
  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int units() const noexcept { return static_cast<int>(buffers_->units.size()); }

  /// The gathered part (stages 0-2, and parts that stay whole).
  [[nodiscard]] View full_weights(int unit, int kind) const;
  /// This rank's slice of the part, padding included: in the full row, or in the row of slices (stage 3).
  [[nodiscard]] View weight_shard(int unit, int kind) const;
  /// Weights of kept_range(): what the optimizer writes beside the masters.
  [[nodiscard]] Data kept_weights(int unit, int kind) const;
  /// f32 masters of kept_range(); the weights themselves without master_copy; null for weights in a narrow dtype
  /// that have none: frozen ones, and all with pure_bf16.
  [[nodiscard]] float* master(int unit, int kind) const;

  /// The unit's full gradient row (local accumulation, stage 0).
  [[nodiscard]] View full_gradient(int unit) const;
  /// This rank's slice of the reduced gradient, padding included.
  [[nodiscard]] View gradient_shard(int unit) const;
  /// Reduced gradient of kept_range(); null when not training.
  [[nodiscard]] float* kept_gradient(int unit) const;

  /// The view of a planned buffer, an empty one where the scheme does not need it.
  [[nodiscard]] View view(BufferId id) const { return id.valid() ? arena_[id] : View(); }

  /// Zeroes weights, masters and optimizer states, so that gaps and padding hold zeros for ever.
  void zero_state(const Exec& exec) const;

 private:
  /// First element of a unit's trainable part in a row that is laid out as gradients are.
  [[nodiscard]] float* trainable_row(View row, int unit) const;
  [[nodiscard]] bool full_gradient_row() const noexcept;

  std::shared_ptr<const ZeroBuffers> buffers_;
  const Arena& arena_;
  int rank_;
  View weights_;
  View whole_;
  View master_;
  View gradient_;
};

}  // namespace dstrain
