// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a sentencepiece model, by itself and inside a class.
#include <string>

#include "known_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  const std::string_view bytes = fuzz::text_of(data, size);
  for (const char* config : {"", R"({"tokenizer_class": "LlamaTokenizer", "legacy": false, "add_bos_token": true})"}) {
    fuzz::refuse_or_survive([&] {
      TokenizerFiles files{{"tokenizer.model", std::string(bytes)}};
      if (*config != '\0') files["tokenizer_config.json"] = config;
      fuzz::use(load_tokenizer(files), bytes);
    });
  }
  return 0;
}
