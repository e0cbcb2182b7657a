// SPDX-License-Identifier: Apache-2.0
#include "train/text_similarity.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "train/text_words.hpp"

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

using Words = std::vector<std::string>;

/// Words as numbers that are equal where the words are.
std::vector<std::int32_t> numbered(const Words& words, std::map<std::string, std::int32_t, std::less<>>& known) {
  std::vector<std::int32_t> out;
  for (const auto& word : words) {
    out.push_back(known.emplace(word, static_cast<std::int32_t>(known.size())).first->second);
  }
  return out;
}

double f_score(std::size_t common, std::size_t predicted, std::size_t expected) {
  const auto share = [&](std::size_t of) {
    return of == 0 ? 0.0 : static_cast<double>(common) / static_cast<double>(of);
  };
  const double precision = share(predicted), recall = share(expected);
  return 2.0 * precision * recall / (precision + recall + 1e-8);
}

std::set<std::vector<std::int32_t>> distinct_ngrams(const std::vector<std::int32_t>& words, std::size_t n) {
  std::set<std::vector<std::int32_t>> out;
  for (std::size_t i = 0; i + n <= words.size(); ++i) {
    out.emplace(words.begin() + static_cast<std::ptrdiff_t>(i), words.begin() + static_cast<std::ptrdiff_t>(i + n));
  }
  return out;
}

double rouge_n(const std::vector<std::int32_t>& said, const std::vector<std::int32_t>& expected, std::size_t n) {
  const auto a = distinct_ngrams(said, n), b = distinct_ngrams(expected, n);
  const auto common = std::count_if(a.begin(), a.end(), [&](const auto& gram) { return b.contains(gram); });
  return f_score(static_cast<std::size_t>(common), a.size(), b.size());
}

std::size_t longest_common_subsequence(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  std::vector<std::size_t> row(b.size() + 1, 0);
  for (const std::int32_t word : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 1; j < row.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

RougeScores rouge(std::string_view prediction, std::string_view reference) {
  const Words said = counted_words(segment_words(prediction)), expected = counted_words(segment_words(reference));
  if (said.empty() || expected.empty()) return {};
  std::map<std::string, std::int32_t, std::less<>> known;
  const auto a = numbered(said, known), b = numbered(expected, known);
  return {rouge_n(a, b, 1), rouge_n(a, b, 2), f_score(longest_common_subsequence(a, b), a.size(), b.size())};
}

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
