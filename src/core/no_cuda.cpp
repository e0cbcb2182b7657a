// SPDX-License-Identifier: Apache-2.0
/// What a build without CUDA says of CUDA.
#include "core/device_runtime.hpp"

namespace dstrain {

std::string device_libraries() { return {}; }

}  // namespace dstrain
