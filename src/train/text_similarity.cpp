// SPDX-License-Identifier: Apache-2.0
#include "train/text_similarity.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace dstrain {

namespace {

using Characters = std::vector<std::string_view>;

/// The code points of a UTF-8 text; a byte that belongs to none stands alone.
Characters characters_of(std::string_view text) {
  Characters out;
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    std::size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    length = std::min(length, text.size());
    out.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

using Counts = std::map<std::string, std::int64_t, std::less<>>;

/// How often each run of `n` characters occurs. Code points of UTF-8 run together without ambiguity.
Counts count_ngrams(const Characters& characters, std::size_t n) {
  Counts counts;
  for (std::size_t i = 0; i + n <= characters.size(); ++i) {
    std::string gram;
    for (std::size_t k = 0; k < n; ++k) gram += characters[i + k];
    ++counts[gram];
  }
  return counts;
}

struct Precision {
  std::int64_t matches = 0;
  std::int64_t all = 1;
};

Precision precision_of(const Characters& prediction, const Characters& reference, std::size_t n) {
  const Counts expected = count_ngrams(reference, n);
  Precision out{0, 0};
  for (const auto& [gram, count] : count_ngrams(prediction, n)) {
    out.all += count;
    if (const auto at = expected.find(gram); at != expected.end()) out.matches += std::min(count, at->second);
  }
  out.all = std::max<std::int64_t>(out.all, 1);
  return out;
}

}  // namespace

double bleu4(std::string_view prediction, std::string_view reference) {
  const Characters said = characters_of(prediction), expected = characters_of(reference);
  double log_sum = 0.0;
  double without_match = 1.0;
  for (std::size_t n = 1; n <= 4; ++n) {
    const auto [matches, all] = precision_of(said, expected, n);
    if (n == 1 && matches == 0) return 0.0;
    const auto count = static_cast<double>(all);
    if (matches == 0) without_match *= 2.0;
    log_sum += 0.25 * std::log(matches > 0 ? static_cast<double>(matches) / count : 1.0 / (without_match * count));
  }
  const auto length = static_cast<double>(said.size());
  const double brevity =
      said.size() > expected.size() ? 1.0 : std::exp(1.0 - static_cast<double>(expected.size()) / length);
  return brevity * std::exp(log_sum);
}

}  // namespace dstrain
