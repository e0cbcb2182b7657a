// SPDX-License-Identifier: Apache-2.0
/// Memory of a device as host code sees it: copies of ranges, fetched and brought back. Where there is no device the
/// ranges themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/device.hpp"

namespace dstrain {

/// Host copies of ranges, for work outside of training steps (files, tools). Takes host memory beside the plan, as much
/// as the ranges have, for as long as it lives.
class HostMirror {
 public:
  explicit HostMirror(const Stream& stream) : stream_(stream) {}

  /// The range's host copy, its values fetched; the range itself on the CPU. Null stays null.
  template <typename T>
  [[nodiscard]] T* fetch(T* at, std::int64_t bytes) {
    return static_cast<T*>(copy_of(const_cast<std::remove_const_t<T>*>(at), bytes, true));
  }
  /// The same without the values: to be filled, then brought back by store().
  [[nodiscard]] void* fill(void* at, std::int64_t bytes) { return copy_of(at, bytes, false); }
  /// Brings every copy back to where it was taken from, waits, and forgets them.
  void store();

 private:
  void* copy_of(void* at, std::int64_t bytes, bool fetched);
  struct Range {
    void* at;
    std::int64_t bytes;
    std::unique_ptr<char[]> copy;
  };
  Stream stream_;
  std::vector<Range> ranges_;
};

}  // namespace dstrain
