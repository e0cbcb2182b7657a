// SPDX-License-Identifier: Apache-2.0
/// How one attention of packed segments becomes calls of cuDNN: arithmetic on sizes, the same on every machine, so that
/// a plan made without a GPU holds what a step on one takes. Private to kernels/cuda.
///
/// cuDNN's graphs have fixed sizes (batch, rows of the longest segment) and cost 0.5 to 1.4 s of compilation each, so
/// few are made: a segment belongs to the smallest power of two that holds it, segments of one size go eight at a time
/// and then one at a time. Nothing of a graph depends on T. Forward takes all heads in one call and next to no
/// workspace. The deterministic backward pass of Hopper keeps the gradient of every score, 2 batch heads rows^2 bytes:
/// it runs over as many key heads at a time as fit into `wanted_bytes`.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "kernels/ops/attention.hpp"

namespace dstrain::cudnn {

/// What one graph of cuDNN is made for. Strides in elements.
struct Call {
  bool backward = false;
  bool deterministic = true;  ///< of the backward pass; forward always is
  DType dtype = DType::bf16;
  std::int64_t batch = 0;  ///< segments
  std::int64_t rows = 0;   ///< of the longest one that fits
  std::int64_t heads = 0;  ///< query heads of this call
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t q_stride = 0;
  std::int64_t kv_stride = 0;
  std::int64_t out_stride = 0;
  std::int64_t q_head = 0;  ///< from one query head to the next
  std::int64_t kv_head = 0;
  std::int64_t window = 0;  ///< 0: none
  friend auto operator<=>(const Call&, const Call&) = default;
};

inline constexpr std::int64_t smallest_rows = 256;
inline constexpr std::int64_t batches[] = {8, 1};
/// Of a backward call: what is aimed at, and what is refused even for one key head.
inline constexpr std::int64_t wanted_bytes = std::int64_t{320} << 20;
inline constexpr std::int64_t most_bytes = std::int64_t{1} << 30;

/// Why cuDNN does not take attentions of this shape, whatever their segments; empty: it may.
std::string_view why_not(const AttentionShape& s);
/// Why it does not take these segments: they are not each causal over itself.
std::string_view why_not_segments(const AttentionShape& s);

/// The rows of a graph that holds a segment of this length.
constexpr std::int64_t rows_for(std::int64_t length) noexcept {
  std::int64_t rows = smallest_rows;
  while (rows < length) rows *= 2;
  return rows;
}

/// An upper bound of the workspace of a call on Hopper and Blackwell (docs/gpu.md says how it was found).
std::int64_t workspace_bytes(const Call& call);

/// The graph of a batch. Empty where a backward pass would need more than `most_bytes`.
std::optional<Call> call_of(const AttentionShape& s, DType dtype, bool backward, std::int64_t batch, std::int64_t rows);

/// Every graph that segments of s.T rows together, each of up to s.max_seqlen, may ask for, the longest first.
std::vector<Call> calls_for(const AttentionShape& s, DType dtype, bool backward);

/// Integers that tell one segment's place, rounded up to 16 bytes each: starts in q, k, out and statistics, length.
inline constexpr std::int64_t integers_per_segment = 20;
/// Pieces of the workspace, each a multiple of 256 bytes.
struct Pieces {
  std::int64_t integers = 0;
  std::int64_t statistics = 0;  ///< the log-sum-exp in cuDNN's order
  std::int64_t plans = 0;       ///< the largest workspace of a graph
  [[nodiscard]] constexpr std::int64_t total() const noexcept { return integers + statistics + plans; }
};
/// Zeros where cuDNN is not asked for or takes no such shape.
Pieces pieces_of(const AttentionShape& s);

/// The small problem by which cuDNN is checked at start: rows, their segments, bytes of both results.
inline constexpr std::int64_t trial_rows = 160;
inline constexpr std::int32_t trial_cu[] = {0, 37, 38, 102, 105, 114, 116, 121, 132, 138, 142, 149};
std::int64_t trial_operand_bytes(const AttentionShape& s);
/// With the pieces of a call of so many rows, which those of a smaller s.T do not hold.
std::int64_t trial_bytes(const AttentionShape& s);

/// A batch of segments of one size, as places in `Batches::order`.
struct Batch {
  std::int64_t rows;
  std::int64_t first;
  std::int64_t count;
};
/// The segments that have queries, sorted into batches. Its memory is kept from call to call.
class Batches {
 public:
  /// The longest first; segments of one size keep their order.
  void sort(const AttentionShape& s);
  [[nodiscard]] const std::vector<Batch>& list() const noexcept { return list_; }
  [[nodiscard]] std::int64_t segment(std::int64_t place) const { return order_[static_cast<std::size_t>(place)]; }

 private:
  std::vector<Batch> list_;
  std::vector<std::int64_t> order_;
};

}  // namespace dstrain::cudnn
