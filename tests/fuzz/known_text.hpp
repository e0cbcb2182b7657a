// SPDX-License-Identifier: Apache-2.0
/// What the tokenizer fuzzers do with a tokenizer that loaded.
#pragma once

#include "data/tokenizer.hpp"
#include "fuzz.hpp"

namespace dstrain::fuzz {

/// Encodes a text with something of everything, and a part of the input itself; decodes what came out.
inline void use(const Tokenizer& tokenizer, std::string_view input) {
  constexpr std::string_view text =
      "Hello  wörld\n, 12\t世界 ▁<unk> don't e\u0301 \xF0\x9F\x98\x80 \xFF! <s>a</s>  <mask> ";
  const auto ids = tokenizer.encode(text, true);
  (void)tokenizer.decode(ids);
  (void)tokenizer.decode(ids, true);
  (void)tokenizer.decode(tokenizer.encode(input.substr(0, 512)));
}

}  // namespace dstrain::fuzz
