// SPDX-License-Identifier: Apache-2.0
#include "core/memory_plan.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t page = 4096;
constexpr std::int64_t cache_line = 64;
constexpr std::int64_t page_aligned_from = 64 * 1024;
constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max() / 4;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t step) noexcept {
  return (value + step - 1) / step * step;
}

/// Buffers already placed in one arena, in order of offset.
class Shelf {
 public:
  explicit Shelf(const std::vector<PlannedBuffer>& buffers) : buffers_(buffers) {}

  /// The lowest aligned place whose bytes no placed buffer with a common phase uses.
  [[nodiscard]] std::int64_t first_fit(const PlannedBuffer& wanted) const {
    const std::int64_t alignment = wanted.bytes() >= page_aligned_from ? page : cache_line;
    std::int64_t place = 0;
    for (const std::size_t i : placed_) {
      const PlannedBuffer& other = buffers_[i];
      if ((other.phases & wanted.phases) == 0) continue;
      if (other.offset >= place + wanted.bytes()) break;  // sorted: everything later starts behind the gap too
      place = std::max(place, round_up(other.offset + other.bytes(), alignment));
    }
    return place;
  }

  void insert(std::size_t index) {
    const auto at = std::upper_bound(placed_.begin(), placed_.end(), buffers_[index].offset,
                                     [&](std::int64_t offset, std::size_t i) { return offset < buffers_[i].offset; });
    placed_.insert(at, index);
  }

 private:
  const std::vector<PlannedBuffer>& buffers_;
  std::vector<std::size_t> placed_;
};

}  // namespace

BufferId MemoryPlan::add(std::string name, std::int64_t count, DType dtype, std::uint32_t phases, MemoryKind kind) {
  DSTRAIN_CHECK(!finalized_, "the plan is final; \"{}\" came too late", name);
  DSTRAIN_CHECK(count >= 0 && count <= largest / static_cast<std::int64_t>(size_of(dtype)),
                "buffer \"{}\" has an impossible size of {} elements", name, count);
  DSTRAIN_CHECK(phases != 0, "buffer \"{}\" lives in no phase", name);
  // `registered` is the communicator's to give: of the GPU too, where it computes there.
  if (target_ == DeviceKind::cuda && kind == MemoryKind::host) kind = MemoryKind::device;
  buffers_.push_back({std::move(name), count, dtype, kind, phases, 0});
  return {static_cast<std::int32_t>(buffers_.size() - 1)};
}

void MemoryPlan::finalize() {
  DSTRAIN_CHECK(!finalized_, "the plan is final already");
  // Largest first (ties: order of entry) leaves the small ones to fill the gaps; sizes and order are all that decides,
  // so that equal plans get equal places on every rank.
  std::vector<std::size_t> order(buffers_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return buffers_[a].bytes() > buffers_[b].bytes(); });
  std::vector<Shelf> shelves(memory_kinds, Shelf(buffers_));
  for (const std::size_t i : order) {
    PlannedBuffer& buffer = buffers_[i];
    if (buffer.count == 0) continue;  // offset 0, no bytes, in nobody's way
    const auto kind = static_cast<std::size_t>(buffer.kind);
    buffer.offset = shelves[kind].first_fit(buffer);
    shelves[kind].insert(i);
    const std::int64_t end = buffer.offset + buffer.bytes();
    DSTRAIN_CHECK(end <= largest, "the plan's buffers do not fit any address space (at \"{}\")", buffer.name);
    arena_bytes_[kind] = std::max(arena_bytes_[kind], round_up(end, page));
  }
  finalized_ = true;
}

std::int64_t MemoryPlan::arena_bytes(MemoryKind kind) const noexcept { return arena_bytes_[static_cast<int>(kind)]; }

}  // namespace dstrain
