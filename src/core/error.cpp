// SPDX-License-Identifier: Apache-2.0
#include "core/error.hpp"

namespace dstrain::detail {

void check_failed(const char* condition, const std::string& message, std::source_location at) {
  throw Error(fmt::format("{} (check `{}` failed)", message, condition),
              fmt::format("{}:{}", at.file_name(), at.line()));
}

}  // namespace dstrain::detail
