// SPDX-License-Identifier: Apache-2.0
/// Weights on their way between rank 0, which has the files, and the ranks that own the slices.
/// No rank ever holds more than its own slices and the scratch buffer it was given.
#pragma once

#include <cstdint>
#include <span>

#include "comm/communicator.hpp"
#include "core/dtype.hpp"
#include "io/tensor_info.hpp"
#include "io/weights/weight_source.hpp"

namespace dstrain {

/// Owner of a slice that every rank holds.
inline constexpr std::int32_t every_rank = -1;

/// Scratch that keeps the network busy without being noticed: two pieces of 4 MiB.
inline constexpr std::int64_t default_stream_scratch_count = 2 * 1024 * 1024;

/// Elements [begin, begin + count) of tensor `tensor` (an index into the tensor list) belong to rank `owner`.
/// The list of slices is the same on all ranks but for `data`.
struct WeightSlice {
  std::int32_t tensor = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::int32_t owner = every_rank;
  void* data = nullptr;      ///< where this rank keeps them; only looked at where it is an owner
  DType dtype = DType::f32;  ///< of `data`: f32, or bf16 or f16 (rounded to nearest before they are sent)
};

/// Reads every slice from `source` on rank 0 and leaves it at its owners' `data`.
///
/// Collective. Rank 0 reads one piece while the one before is being sent. A wrong list, a missing tensor or one of
/// another shape is found before anything is sent: one error on all ranks, exit code 2. A file that fails later throws
/// on rank 0 (and ends the job in `main`).
/// @param source   on rank 0; not looked at elsewhere (may be null)
/// @param tensors  what `slices` point into: names to look up and the shapes they must have
/// @param scratch  on rank 0: holds the two pieces on their way; its size decides the piece. Elsewhere not looked at
void stream_weights(Communicator& comm, const WeightSource* source, std::span<const TensorInfo> tensors,
                    std::span<const WeightSlice> slices, std::span<float> scratch);

/// Hands every tensor to `sink` on rank 0, which writes it: the way back, for a consolidated model folder.
///
/// Collective. The slices of one tensor stand in ascending order and tile it. A slice of every_rank is taken from rank
/// 0. Ends with sink->commit(), agreed by all ranks. Errors as stream_weights; a list that does not tile is refused
/// before.
/// @param sink     on rank 0; not looked at elsewhere (may be null)
/// @param scratch  on rank 0: one piece
void collect_weights(Communicator& comm, WeightSink* sink, std::span<const TensorInfo> tensors,
                     std::span<const WeightSlice> slices, std::span<float> scratch);

}  // namespace dstrain
