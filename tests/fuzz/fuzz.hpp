// SPDX-License-Identifier: Apache-2.0
/// What every fuzzer here shares: which outcomes are fine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error.hpp"

namespace dstrain::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Runs `body` over untrusted input. An error of ours with a message is a good outcome; any other exception (out of
/// range, no memory for a size that the input claims, a library's own) leaves the fuzzer and is a finding.
template <typename Body>
int refuse_or_survive(const Body& body) {
  try {
    body();
  } catch (const Error&) {
  }
  return 0;
}

/// The part of `data` up to the next line that is exactly "====", which moves `data` behind it: several files in one
/// input.
inline std::string_view next_file(std::string_view& data) {
  constexpr std::string_view between = "\n====\n";
  const auto at = data.find(between);
  const std::string_view file = data.substr(0, at);
  data = at == std::string_view::npos ? std::string_view() : data.substr(at + between.size());
  return file;
}

}  // namespace dstrain::fuzz
