// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a configuration file.
#include "config_files.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    fuzz::resolve({"cfg.yaml"}, {{"cfg.yaml", std::string(fuzz::text_of(data, size))}});
  });
}
