// SPDX-License-Identifier: Apache-2.0
/// Non-owning typed ranges of memory: what collectives and kernels take.
#pragma once

#include <cstdint>
#include <span>

#include "core/dtype.hpp"

namespace dstrain {

/// `count` elements of `dtype` that may be written.
struct View {
  void* data = nullptr;
  std::int64_t count = 0;
  DType dtype = DType::f32;

  View() = default;
  View(void* d, std::int64_t n, DType t) : data(d), count(n), dtype(t) {}
  template <typename T>
  explicit View(std::span<T> s) : data(s.data()), count(static_cast<std::int64_t>(s.size())), dtype(dtype_of<T>) {}

  [[nodiscard]] std::int64_t bytes() const noexcept { return count * static_cast<std::int64_t>(size_of(dtype)); }
  /// Elements [begin, begin + n).
  [[nodiscard]] View slice(std::int64_t begin, std::int64_t n) const noexcept {
    return {static_cast<char*>(data) + begin * static_cast<std::int64_t>(size_of(dtype)), n, dtype};
  }
  template <typename T>
  [[nodiscard]] T* as() const noexcept {
    return static_cast<T*>(data);
  }
};

/// `count` elements of `dtype` that are only read.
struct ConstView {
  const void* data = nullptr;
  std::int64_t count = 0;
  DType dtype = DType::f32;

  ConstView() = default;
  ConstView(const void* d, std::int64_t n, DType t) : data(d), count(n), dtype(t) {}
  ConstView(View v) : data(v.data), count(v.count), dtype(v.dtype) {}  // NOLINT: a View is a ConstView
  template <typename T>
  explicit ConstView(std::span<T> s)
      : data(s.data()), count(static_cast<std::int64_t>(s.size())), dtype(dtype_of<std::remove_const_t<T>>) {}

  [[nodiscard]] std::int64_t bytes() const noexcept { return count * static_cast<std::int64_t>(size_of(dtype)); }
  [[nodiscard]] ConstView slice(std::int64_t begin, std::int64_t n) const noexcept {
    return {static_cast<const char*>(data) + begin * static_cast<std::int64_t>(size_of(dtype)), n, dtype};
  }
  template <typename T>
  [[nodiscard]] const T* as() const noexcept {
    return static_cast<const T*>(data);
  }
};

}  // namespace dstrain
