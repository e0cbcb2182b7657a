// SPDX-License-Identifier: Apache-2.0
/// One move-only owner for C handles (MPI_Comm, hid_t, cudaStream_t, ...).
#pragma once

#include <utility>

namespace dstrain {

/// Traits: `using Type = ...; static Type null(); static void destroy(Type) noexcept;` where destroy never waits for
/// another rank: collective endings are explicit close() calls of the owner, which call release() first.
template <typename Traits>
class Handle {
 public:
  using Type = typename Traits::Type;

  Handle() noexcept : value_(Traits::null()) {}
  explicit Handle(Type value) noexcept : value_(value) {}
  Handle(Handle&& other) noexcept : value_(other.release()) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { reset(); }

  [[nodiscard]] Type get() const noexcept { return value_; }
  [[nodiscard]] explicit operator bool() const noexcept { return value_ != Traits::null(); }
  [[nodiscard]] Type release() noexcept { return std::exchange(value_, Traits::null()); }
  void reset(Type value = Traits::null()) noexcept {
    if (value_ != Traits::null()) Traits::destroy(value_);
    value_ = value;
  }

 private:
  Type value_;
};

}  // namespace dstrain
