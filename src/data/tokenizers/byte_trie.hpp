// SPDX-License-Identifier: Apache-2.0
/// A trie over bytes: which of many strings start at a place of a text.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>
#include <vector>

namespace dstrain {

/// All edges lie in one open-addressing table keyed by (node, byte): one probe per byte, whatever the fan-out.
class ByteTrie {
 public:
  /// Adds `key` (not empty); where it is known already its first value stays.
  void insert(std::string_view key, std::int32_t value) {
    std::uint32_t node = 0;
    for (const char c : key) node = child_or_new(node, static_cast<unsigned char>(c));
    if (values_[node] < 0) values_[node] = value;
    starts_[static_cast<unsigned char>(key.front())] = true;
  }

  /// Calls `found(end, value)` for each key that starts at `begin`, shortest first.
  template <typename Found>
  void each_prefix(std::string_view text, std::size_t begin, const Found& found) const {
    if (begin >= text.size() || !starts_[static_cast<unsigned char>(text[begin])]) return;
    std::uint32_t node = 0;
    for (std::size_t i = begin; i < text.size();) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node == 0) return;
      ++i;
      if (values_[node] >= 0) found(i, values_[node]);
    }
  }

  /// The longest key that starts at `begin`: its value, and its end in `end`; -1 where there is none.
  std::int32_t longest(std::string_view text, std::size_t begin, std::size_t& end) const {
    std::int32_t value = -1;
    each_prefix(text, begin, [&](std::size_t at, std::int32_t v) {
      end = at;
      value = v;
    });
    return value;
  }

  [[nodiscard]] bool empty() const noexcept { return values_.size() == 1; }

 private:
  struct Slot {
    std::uint64_t key = 0;  ///< (node << 8 | byte) + 1; 0: free
    std::uint32_t child = 0;
  };

  static std::uint64_t key_of(std::uint32_t node, unsigned char byte) noexcept {
    return ((static_cast<std::uint64_t>(node) << 8) | byte) + 1;
  }
  [[nodiscard]] std::size_t place(std::uint64_t key) const noexcept {
    std::size_t i = static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ULL) >> 24) & (slots_.size() - 1);
    while (slots_[i].key != 0 && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
    return i;
  }
  [[nodiscard]] std::uint32_t child(std::uint32_t node, unsigned char byte) const noexcept {
    return slots_[place(key_of(node, byte))].child;
  }
  std::uint32_t child_or_new(std::uint32_t node, unsigned char byte) {
    if (2 * values_.size() >= slots_.size()) grow();
    Slot& slot = slots_[place(key_of(node, byte))];
    if (slot.key == 0) {
      slot = {key_of(node, byte), static_cast<std::uint32_t>(values_.size())};
      values_.push_back(-1);
    }
    return slot.child;
  }
  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key != 0) slots_[place(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_{std::vector<Slot>(64)};
  std::vector<std::int32_t> values_{-1};  ///< per node; node 0 is the root
  std::vector<bool> starts_{std::vector<bool>(256, false)};
};

}  // namespace dstrain
