// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a regular expression of a tokenizer file: refused with a message, or matches that go forward.
#include "data/tokenizers/regex.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    constexpr std::string_view text = "Hello  w\u00f6rld\n, 12\t\u4e16\u754c don't \U0001F600! a\u0301bc 3.5\r\n";
    const Regex regex(fuzz::text_of(data, size), "tokenizer.json");
    RegexMatches matches(regex, text);
    std::size_t begin = 0, end = 0, before = 0;
    while (matches.next(begin, end)) {
      if (begin < before || end < begin || end > text.size()) __builtin_trap();
      before = end;
    }
  });
}
