// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a tiktoken file.
#include <string>

#include "known_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  const std::string_view bytes = fuzz::text_of(data, size);
  for (const char* name : {"qwen.tiktoken", "o200k_base.tiktoken"}) {
    fuzz::refuse_or_survive([&] { fuzz::use(load_tokenizer({{name, std::string(bytes)}}), bytes); });
  }
  return 0;
}
