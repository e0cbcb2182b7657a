// SPDX-License-Identifier: Apache-2.0
/// Between which values of a dynamic_map 8 bits change.
#pragma once

#include <array>

namespace dstrain::cpu {

/// middle[i]: the least float that is nearer to map[i + 1] than to map[i]. Local, pure.
const std::array<float, 255>& middles_of(bool is_signed);

}  // namespace dstrain::cpu
