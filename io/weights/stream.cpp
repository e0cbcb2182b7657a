// SPDX-License-Identifier: Apache-2.0
#include "io/weights/stream.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <future>
#include <optional>
#include <vector>

#include "core/error.hpp"
#include "io/agreement.hpp"
#include "io/files/digest.hpp"

namespace dstrain {
namespace {

/// Longer messages gain nothing.
constexpr std::int64_t max_piece_count = 16 * 1024 * 1024;

/// One message, or one part of a slice that stays on rank 0.
struct Piece {
  std::size_t slice;
  std::int64_t offset;  ///< in the slice
  std::int64_t count;
};

/// Element `offset` of a slice's memory.
void* place_in(const WeightSlice& slice, std::int64_t offset) {
  return static_cast<char*>(slice.data) + offset * static_cast<std::int64_t>(size_of(slice.dtype));
}

/// Rounds `count` floats to a type of two bytes at the start of their own memory: what is written never passes what is
/// still to be read.
template <typename T>
void narrow_in_place(void* values, std::int64_t count) {
  auto* bytes = static_cast<char*>(values);
  for (std::int64_t i = 0; i < count; ++i) {
    float value = 0.0F;
    std::memcpy(&value, bytes + 4 * i, 4);
    const T rounded(value);
    std::memcpy(bytes + 2 * i, &rounded, 2);
  }
}

void narrow_in_place(void* values, std::int64_t count, DType dtype) {
  dtype == DType::bf16 ? narrow_in_place<bfloat16>(values, count) : narrow_in_place<float16>(values, count);
}

/// Values of two bytes that stand in the upper half of `values` become floats from its start on, by the same argument.
template <typename T>
void widen_from_upper_half(float* values, std::int64_t count) {
  auto* bytes = reinterpret_cast<char*>(values);
  for (std::int64_t i = 0; i < count; ++i) {
    T rounded;
    std::memcpy(&rounded, bytes + 2 * (count + i), 2);
    const auto value = static_cast<float>(rounded);
    std::memcpy(bytes + 4 * i, &value, 4);
  }
}

void widen_from_upper_half(float* values, std::int64_t count, DType dtype) {
  dtype == DType::bf16 ? widen_from_upper_half<bfloat16>(values, count) : widen_from_upper_half<float16>(values, count);
}

/// Walks the slices piece by piece, in list order: the same sequence on every rank.
class PieceWalk {
 public:
  PieceWalk(std::span<const WeightSlice> slices, std::int64_t piece_count)
      : slices_(slices), piece_count_(piece_count) {}

  std::optional<Piece> next() {
    while (slice_ < slices_.size() && offset_ >= slices_[slice_].count) {
      ++slice_;
      offset_ = 0;
    }
    if (slice_ == slices_.size()) return std::nullopt;
    const Piece piece{slice_, offset_, std::min(piece_count_, slices_[slice_].count - offset_)};
    offset_ += piece.count;
    return piece;
  }

 private:
  std::span<const WeightSlice> slices_;
  std::int64_t piece_count_;
  std::size_t slice_ = 0;
  std::int64_t offset_ = 0;
};

void check_slices(const Communicator& comm, std::span<const TensorInfo> tensors, std::span<const WeightSlice> slices) {
  for (const auto& slice : slices) {
    DSTRAIN_CHECK(slice.tensor >= 0 && static_cast<std::size_t>(slice.tensor) < tensors.size(),
                  "a slice of tensor {}, there are {}", slice.tensor, tensors.size());
    const auto& tensor = tensors[static_cast<std::size_t>(slice.tensor)];
    if (slice.begin < 0 || slice.count < 0 || slice.begin > tensor.count() - slice.count) {
      throw ShapeError(fmt::format("a slice of {} elements from {} does not lie in \"{}\", which has {}", slice.count,
                                   slice.begin, tensor.name, tensor.count()));
    }
    DSTRAIN_CHECK(slice.owner >= every_rank && slice.owner < comm.size(), "a slice of \"{}\" belongs to rank {} of {}",
                  tensor.name, slice.owner, comm.size());
    const bool mine = slice.owner == every_rank || slice.owner == comm.rank();
    DSTRAIN_CHECK(slice.dtype == DType::f32 || slice.dtype == DType::bf16 || slice.dtype == DType::f16,
                  "weights are kept in {}", name_of(slice.dtype));
    DSTRAIN_CHECK(!mine || slice.data != nullptr || slice.count == 0, "a slice of \"{}\" has no memory", tensor.name);
  }
}

/// Refuses lists that differ between ranks (they would end in a hang) and returns the piece size, which rank 0 decides.
std::int64_t agree(Communicator& comm, std::span<const WeightSlice> slices, std::int64_t piece_count) {
  Digest digest;
  for (const auto& slice : slices) {
    const std::array<std::int64_t, 5> row{slice.tensor, slice.begin, slice.count, slice.owner,
                                          static_cast<std::int64_t>(slice.dtype)};
    digest.add(row.data(), sizeof row);
  }
  check_same_on_all_ranks(comm, "lists of weight slices", digest);
  comm.broadcast(View(&piece_count, 1, DType::i64), 0, Stream{}, "weights: piece size");
  return piece_count;
}

void check_tiling(std::span<const TensorInfo> tensors, std::span<const WeightSlice> slices) {
  std::vector<std::int64_t> end(tensors.size(), 0);
  for (const auto& slice : slices) {
    auto& at = end[static_cast<std::size_t>(slice.tensor)];
    if (slice.begin != at) {
      throw ShapeError(fmt::format("the slices of \"{}\" do not tile it: one begins at {}, the one before ends at {}",
                                   tensors[static_cast<std::size_t>(slice.tensor)].name, slice.begin, at));
    }
    at += slice.count;
  }
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    if (end[t] != tensors[t].count()) {
      throw ShapeError(
          fmt::format("the slices of \"{}\" end at {} of {} elements", tensors[t].name, end[t], tensors[t].count()));
    }
  }
}

/// Rank 0's side of stream_weights: a thread reads piece i + 1 while piece i is being sent.
void read_and_send(Communicator& comm, const WeightSource& source, std::span<const std::int32_t> source_index,
                   std::span<const WeightSlice> slices, std::span<float> scratch, std::int64_t piece_count) {
  PieceWalk walk(slices, piece_count);
  std::size_t pieces = 0;
  const auto scratch_of = [&](std::size_t number) {
    return scratch.data() + (number % 2) * static_cast<std::size_t>(piece_count);
  };
  const auto target = [&](const Piece& piece, std::size_t number) -> void* {
    const auto& slice = slices[piece.slice];
    const bool stays = slice.owner == every_rank || slice.owner == 0;
    return stays ? place_in(slice, piece.offset) : scratch_of(number);
  };
  const auto read = [&](const Piece& piece, std::size_t number) {
    const auto& slice = slices[piece.slice];
    const bool narrow = slice.dtype != DType::f32;
    void* to = target(piece, number);
    auto* values = narrow ? scratch_of(number) : static_cast<float*>(to);
    source.read(source_index[static_cast<std::size_t>(slice.tensor)], slice.begin + piece.offset, piece.count, values);
    if (!narrow) return;
    narrow_in_place(values, piece.count, slice.dtype);
    if (to != values) std::memcpy(to, values, static_cast<std::size_t>(piece.count) * size_of(slice.dtype));
  };

  auto piece = walk.next();
  if (piece) read(*piece, 0);
  while (piece) {
    const auto next = walk.next();
    std::future<void> reading;  // its destructor waits: an exception below never leaves the thread behind
    if (next) reading = std::async(std::launch::async, read, *next, pieces + 1);
    const auto owner = slices[piece->slice].owner;
    const View values(target(*piece, pieces), piece->count, slices[piece->slice].dtype);
    if (owner == every_rank) comm.broadcast(values, 0, Stream{}, "weights: broadcast");
    if (owner > 0) comm.send(values, owner, "weights: send");
    if (next) reading.get();
    piece = next;
    ++pieces;
  }
}

void receive(Communicator& comm, std::span<const WeightSlice> slices, std::int64_t piece_count) {
  PieceWalk walk(slices, piece_count);
  while (const auto piece = walk.next()) {
    const auto& slice = slices[piece->slice];
    if (slice.owner != every_rank && slice.owner != comm.rank()) continue;
    const View values(place_in(slice, piece->offset), piece->count, slice.dtype);
    if (slice.owner == every_rank) {
      comm.broadcast(values, 0, Stream{}, "weights: broadcast");
    } else {
      comm.recv(values, 0, "weights: receive");
    }
  }
}

}  // namespace

void stream_weights(Communicator& comm, const WeightSource* source, std::span<const TensorInfo> tensors,
                    std::span<const WeightSlice> slices, std::span<float> scratch) {
  const bool reader = comm.rank() == 0;
  std::vector<std::int32_t> source_index;
  on_all_ranks(comm, "check the weights", [&] {
    check_slices(comm, tensors, slices);
    if (!reader) return;
    DSTRAIN_CHECK(source != nullptr, "rank 0 has no weights to read");
    DSTRAIN_CHECK(scratch.size() >= 2, "streaming weights needs a scratch buffer");
    source_index = match_tensors(*source, tensors);
  });
  const auto piece_count =
      agree(comm, slices, std::min(static_cast<std::int64_t>(scratch.size() / 2), max_piece_count));
  if (reader) {
    read_and_send(comm, *source, source_index, slices, scratch, piece_count);
  } else {
    receive(comm, slices, piece_count);
  }
}

void collect_weights(Communicator& comm, WeightSink* sink, std::span<const TensorInfo> tensors,
                     std::span<const WeightSlice> slices, std::span<float> scratch) {
  const bool writer = comm.rank() == 0;
  on_all_ranks(comm, "check the slices to collect", [&] {
    check_slices(comm, tensors, slices);
    check_tiling(tensors, slices);
    if (!writer) return;
    DSTRAIN_CHECK(sink != nullptr, "rank 0 has nowhere to write the weights");
    DSTRAIN_CHECK(!scratch.empty(), "collecting weights needs a scratch buffer");
  });
  const auto piece_count = agree(comm, slices, std::min(static_cast<std::int64_t>(scratch.size()), max_piece_count));
  PieceWalk walk(slices, piece_count);
  while (const auto piece = walk.next()) {
    const auto& slice = slices[piece->slice];
    const bool here = slice.owner == every_rank || slice.owner == 0;
    const bool narrow = slice.dtype != DType::f32;
    if (writer) {
      // Narrow values arrive in the upper half of the room that their floats take.
      void* arrived = reinterpret_cast<char*>(scratch.data()) + (narrow ? 2 * piece->count : 0);
      float* values = here && !narrow ? static_cast<float*>(place_in(slice, piece->offset)) : scratch.data();
      if (!here) comm.recv(View(arrived, piece->count, slice.dtype), slice.owner, "weights: collect");
      if (here && narrow)
        std::memcpy(arrived, place_in(slice, piece->offset), static_cast<std::size_t>(piece->count) * 2);
      if (narrow) widen_from_upper_half(values, piece->count, slice.dtype);
      sink->write(slice.tensor, slice.begin + piece->offset, piece->count, values);
    } else if (slice.owner == comm.rank()) {
      comm.send(ConstView(place_in(slice, piece->offset), piece->count, slice.dtype), 0, "weights: hand in");
    }
  }
  on_all_ranks(comm, "write the weights", [&] {
    if (writer) sink->commit();
  });
}

}  // namespace dstrain
