// SPDX-License-Identifier: Apache-2.0
#include "data/row_stream.hpp"

namespace dstrain {

NumpyGenerator stream_generator(std::uint64_t seed, std::int64_t pass) {
  if (pass == 0) return NumpyGenerator(seed);
  constexpr std::uint64_t range = std::uint64_t{1} << 63;
  const std::uint64_t drawn = NumpyGenerator(seed).below(range);
  const auto back = static_cast<std::uint64_t>(pass);
  return NumpyGenerator(drawn >= back ? drawn - back : range + drawn - back);
}

}  // namespace dstrain
