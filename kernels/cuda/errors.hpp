// SPDX-License-Identifier: Apache-2.0
/// Errors out of files that nvcc compiles. It stops inside core/error.hpp (an assertion of its own, at default
/// arguments of inherited constructors) and inside fmt, so that these files throw and format by way of what stands
/// here.
#pragma once

#include <sstream>
#include <string>
#include <string_view>

namespace dstrain {

[[noreturn]] void fail_shape(const std::string& what);   ///< throws ShapeError
[[noreturn]] void fail_device(const std::string& what);  ///< throws CudaError
void warn_person(const std::string& what);               ///< log::warning

/// `form` with each "{}" replaced by the next argument.
template <typename... Arguments>
std::string text_of(std::string_view form, const Arguments&... arguments) {
  std::ostringstream out;
  const auto put = [&](const auto& argument) {
    const std::size_t at = form.find("{}");
    out << form.substr(0, at) << argument;
    form.remove_prefix(at == std::string_view::npos ? form.size() : at + 2);
  };
  (put(arguments), ...);
  out << form;
  return out.str();
}

}  // namespace dstrain
