// SPDX-License-Identifier: Apache-2.0
/// Rows of datasets that are read while they are used: mixed and shuffled with bounded memory, as datasets' streams
/// are.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "data/dataset_mix.hpp"
#include "data/dataset_reader.hpp"
#include "data/numpy_random.hpp"

namespace dstrain {

/// The generator that datasets 3's streams shuffle pass `pass` with.
NumpyGenerator stream_generator(std::uint64_t seed, std::int64_t pass);

/// One pass over datasets in mixed order. A dataset that has ended is seen at its last row, not one row later.
/// @tparam Cursor  has `bool next(Item&)`: false at the end, and the call after that begins again
template <typename Cursor, typename Item>
class MixedStream {
 public:
  MixedStream(std::vector<Cursor> cursors, MixStrategy strategy, std::span<const double> probabilities,
              NumpyGenerator generator)
      : cursors_(std::move(cursors)),
        strategy_(cursors_.size() > 1 ? strategy : MixStrategy::concat),
        order_(cursors_.size(), probabilities, generator),
        ahead_(cursors_.size()),
        ended_(cursors_.size(), false) {}

  bool next(Item& out) { return strategy_ == MixStrategy::concat ? next_in_line(out) : next_mixed(out); }

 private:
  bool next_in_line(Item& out) {
    while (at_ < cursors_.size() && !cursors_[at_].next(out)) ++at_;
    return at_ < cursors_.size();
  }

  [[nodiscard]] bool is_over() const {
    std::size_t ended = 0;
    for (const bool e : ended_) ended += e ? 1 : 0;
    return strategy_ == MixStrategy::interleave_under ? ended > 0 : ended == ended_.size();
  }

  bool next_mixed(Item& out) {
    while (!is_over()) {
      const std::size_t d = order_.next();
      if (strategy_ == MixStrategy::interleave_once && ended_[d]) continue;
      if (!ahead_[d]) read_ahead(d);
      if (!ahead_[d]) {  // an empty dataset
        ended_[d] = true;
        continue;
      }
      out = std::move(*ahead_[d]);
      read_ahead(d);
      if (!ahead_[d]) ended_[d] = true;
      return true;
    }
    return false;
  }

  void read_ahead(std::size_t d) {
    Item item;
    ahead_[d] = cursors_[d].next(item) ? std::optional<Item>(std::move(item)) : std::nullopt;
  }

  std::vector<Cursor> cursors_;
  MixStrategy strategy_;
  SourceOrder order_;
  std::vector<std::optional<Item>> ahead_;
  std::vector<bool> ended_;
  std::size_t at_ = 0;
};

/// A shuffle with a buffer: when it is full, every item that comes pushes a random one out; what is left at the end is
/// shuffled as a whole. Follows IterableDataset.shuffle of datasets 3.
template <typename Item>
class BufferShuffle {
 public:
  BufferShuffle(std::size_t buffer_size, NumpyGenerator generator) : buffer_size_(buffer_size), generator_(generator) {}

  /// Takes an item, and gives one where the buffer was full.
  std::optional<Item> push(Item item) {
    if (buffer_.size() < buffer_size_) {
      buffer_.push_back(std::move(item));
      return std::nullopt;
    }
    return std::exchange(buffer_[next_place()], std::move(item));
  }

  /// What is left, when no more comes.
  std::vector<Item> finish() {
    const auto order = generator_.permutation(static_cast<std::uint32_t>(buffer_.size()));
    std::vector<Item> out;
    out.reserve(buffer_.size());
    for (const auto place : order) out.push_back(std::move(buffer_[place]));
    buffer_.clear();
    return out;
  }

 private:
  /// Places are drawn a thousand at a time: what the last shuffle draws depends on it.
  std::size_t next_place() {
    constexpr std::size_t block = 1000;
    if (at_ == places_.size()) {
      places_.resize(block);
      for (auto& place : places_) place = static_cast<std::uint32_t>(generator_.below(buffer_size_));
      at_ = 0;
    }
    return places_[at_++];
  }

  std::size_t buffer_size_;
  NumpyGenerator generator_;
  std::vector<Item> buffer_;
  std::vector<std::uint32_t> places_;
  std::size_t at_ = 0;
};

}  // namespace dstrain
