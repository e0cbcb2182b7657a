// SPDX-License-Identifier: Apache-2.0
/// Any bytes as tokenizer.json (and, behind "====", tokenizer_config.json): refused with a message, or a tokenizer that
/// encodes and decodes.
#include <string>

#include "data/tokenizer.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    std::string_view rest = fuzz::text_of(data, size);
    TokenizerFiles files;
    files["tokenizer.json"] = std::string(fuzz::next_file(rest));
    if (!rest.empty()) files["tokenizer_config.json"] = std::string(fuzz::next_file(rest));
    const Tokenizer tokenizer = load_tokenizer(files);
    const auto ids = tokenizer.encode("Hello  wörld\n, 12\t世界 ▁<unk> don't e\u0301 \xF0\x9F\x98\x80 \xFF!", true);
    (void)tokenizer.decode(ids);
    (void)tokenizer.decode(ids, true);
    (void)tokenizer.encode(fuzz::text_of(data, size < 512 ? size : 512));
  });
}
