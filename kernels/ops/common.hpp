// SPDX-License-Identifier: Apache-2.0
/// What every operation takes: where it runs, its workspace, and untyped pointers with their dtype.
#pragma once

#include <cstdint>

#include "core/device.hpp"
#include "core/dtype.hpp"

namespace dstrain {

/// Where a kernel call runs. `workspace` comes from the MemoryPlan; each op says how much of it it needs
/// (`<op>_workspace_bytes`), calls on one stream share it.
struct Exec {
  Stream stream;
  void* workspace = nullptr;
  std::int64_t workspace_bytes = 0;
};

/// Elements that are written, with their storage type.
struct Data {
  void* data = nullptr;
  DType dtype = DType::f32;
  template <typename T>
  [[nodiscard]] T* as() const noexcept {
    return static_cast<T*>(data);
  }
  /// Pointer moved by `elements`.
  [[nodiscard]] Data at(std::int64_t elements) const noexcept {
    return {static_cast<char*>(data) + elements * static_cast<std::int64_t>(size_of(dtype)), dtype};
  }
};

/// Elements that are read.
struct ConstData {
  const void* data = nullptr;
  DType dtype = DType::f32;
  ConstData() = default;
  ConstData(const void* d, DType t) : data(d), dtype(t) {}
  ConstData(Data d) : data(d.data), dtype(d.dtype) {}  // NOLINT: what may be written may be read
  template <typename T>
  [[nodiscard]] const T* as() const noexcept {
    return static_cast<const T*>(data);
  }
  [[nodiscard]] ConstData at(std::int64_t elements) const noexcept {
    return {static_cast<const char*>(data) + elements * static_cast<std::int64_t>(size_of(dtype)), dtype};
  }
};

}  // namespace dstrain
