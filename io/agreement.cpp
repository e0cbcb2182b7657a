// SPDX-License-Identifier: Apache-2.0
#include "io/agreement.hpp"

#include <array>
#include <span>

#include "core/error.hpp"

namespace dstrain {

void check_same_on_all_ranks(Communicator& comm, std::string_view what, const Digest& digest) {
  // 60 bits: a non-negative number whose negative exists. max(x) = -max(-x) only where all x are equal.
  const auto value = static_cast<std::int64_t>(std::stoull(digest.hex().substr(0, 15), nullptr, 16));
  std::array<std::int64_t, 2> extremes{value, -value};
  comm.all_reduce(View(std::span<std::int64_t>(extremes)), ReduceOp::max, Stream{}, "io: compare lists");
  if (extremes[0] != -extremes[1]) throw ShapeError(fmt::format("the ranks have different {}", what));
}

}  // namespace dstrain
