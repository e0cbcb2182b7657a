// SPDX-License-Identifier: Apache-2.0
#include "io/tensor_info.hpp"

namespace dstrain {

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace dstrain
