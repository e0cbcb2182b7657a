// SPDX-License-Identifier: Apache-2.0
/// The names of what communicators do: for counting, recording and comparing calls.
#pragma once

#include <cstdint>

namespace dstrain {

enum class CommOp : std::uint8_t {
  reduce_scatter,
  all_gather,
  all_reduce,
  broadcast,
  barrier,
  send,
  recv,
  allocate,
  close
};
inline constexpr int comm_ops = 9;

/// "reduce_scatter", ...
constexpr const char* name_of(CommOp op) noexcept {
  switch (op) {
    case CommOp::reduce_scatter:
      return "reduce_scatter";
    case CommOp::all_gather:
      return "all_gather";
    case CommOp::all_reduce:
      return "all_reduce";
    case CommOp::broadcast:
      return "broadcast";
    case CommOp::barrier:
      return "barrier";
    case CommOp::send:
      return "send";
    case CommOp::recv:
      return "recv";
    case CommOp::allocate:
      return "allocate_registered";
    case CommOp::close:
      return "close";
  }
  return "?";
}

}  // namespace dstrain
