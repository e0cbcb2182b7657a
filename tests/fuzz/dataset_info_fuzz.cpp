// SPDX-License-Identifier: Apache-2.0
/// Any bytes as dataset_info.json, looked up under a few names: refused with a message, or a description.
#include <string>

#include "data/dataset_info.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  const std::string_view text = fuzz::text_of(data, size);
  for (const char* name : {"d", "alpaca_en_demo", ""}) {
    fuzz::refuse_or_survive([&] {
      const bool named = names_dataset(text, name);
      const auto description = find_dataset(text, name, "dataset_info.json");
      if (!named) __builtin_trap();
      (void)describe(description);
    });
  }
  return 0;
}
