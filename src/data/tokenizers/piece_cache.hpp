// SPDX-License-Identifier: Apache-2.0
/// A small direct-mapped cache of encoded pieces: words repeat, merging them again costs most of the time.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace dstrain {

/// One per thread (so no locks), owned by the model that used it last. Bounded: 2 MiB.
class PieceCache {
 public:
  static constexpr std::size_t max_bytes = 30;
  static constexpr std::size_t max_ids = 8;

  static bool fits(std::string_view piece) noexcept { return !piece.empty() && piece.size() <= max_bytes; }

  /// A number that no model had before.
  static std::uint64_t next_identity() {
    static std::atomic<std::uint64_t> counter{0};
    return ++counter;
  }

  /// The calling thread's cache, emptied where another model (`identity`) filled it.
  static PieceCache& of_this_thread(std::uint64_t identity) {
    thread_local PieceCache cache;
    if (cache.identity_ != identity) {
      cache.entries_.assign(entry_count, Entry{});
      cache.identity_ = identity;
    }
    return cache;
  }

  /// Appends the ids of `piece` where they are known.
  bool append(std::string_view piece, std::vector<std::int32_t>& ids) const {
    const Entry& entry = entries_[slot(piece)];
    if (entry.bytes != piece.size() || std::memcmp(entry.text.data(), piece.data(), piece.size()) != 0) return false;
    ids.insert(ids.end(), entry.ids.begin(), entry.ids.begin() + entry.count);
    return true;
  }

  void store(std::string_view piece, std::span<const std::int32_t> ids) {
    if (ids.size() > max_ids) return;
    Entry& entry = entries_[slot(piece)];
    entry.bytes = static_cast<std::uint8_t>(piece.size());
    entry.count = static_cast<std::uint8_t>(ids.size());
    std::memcpy(entry.text.data(), piece.data(), piece.size());
    std::copy(ids.begin(), ids.end(), entry.ids.begin());
  }

 private:
  struct Entry {
    std::uint8_t bytes = 0;  ///< 0: empty
    std::uint8_t count = 0;
    std::array<char, max_bytes> text{};
    std::array<std::int32_t, max_ids> ids{};
  };
  static constexpr std::size_t entry_count = std::size_t{1} << 15;

  static std::size_t slot(std::string_view piece) noexcept {
    std::uint64_t h = 0xcbf29ce484222325ULL ^ piece.size();
    std::size_t i = 0;
    for (; i + 8 <= piece.size(); i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, piece.data() + i, 8);
      h = (h ^ word) * 0x9E3779B97F4A7C15ULL;
      h ^= h >> 29;
    }
    std::uint64_t tail = 0;
    std::memcpy(&tail, piece.data() + i, piece.size() - i);
    h = (h ^ tail) * 0x9E3779B97F4A7C15ULL;
    return static_cast<std::size_t>(h >> 40) & (entry_count - 1);
  }

  std::uint64_t identity_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace dstrain
