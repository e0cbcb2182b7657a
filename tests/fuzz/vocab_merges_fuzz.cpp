// SPDX-License-Identifier: Apache-2.0
/// Any bytes as vocab.json, merges.txt and tokenizer_config.json, with "====" between.
#include <string>

#include "known_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    std::string_view rest = fuzz::text_of(data, size);
    TokenizerFiles files;
    files["vocab.json"] = std::string(fuzz::next_file(rest));
    files["merges.txt"] = std::string(fuzz::next_file(rest));
    if (!rest.empty()) files["tokenizer_config.json"] = std::string(rest);
    fuzz::use(load_tokenizer(files), fuzz::text_of(data, size));
  });
}
