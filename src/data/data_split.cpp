// SPDX-License-Identifier: Apache-2.0
#include "data/data_split.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <string>

#include "core/error.hpp"
#include "data/numpy_random.hpp"

namespace dstrain {
namespace {

[[noreturn]] void refuse(std::string_view text) {
  throw ConfigError(fmt::format("\"{}\" are no shares", text.substr(0, 80)), "data_split",
                    "give numbers with commas, as 2,4,4; with | between datasets");
}

std::vector<double> parse_shares(std::string_view text) {
  std::vector<double> shares;
  for (std::string_view rest = text; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    std::string_view word = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
    double value = 0.0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size() || !(value >= 0.0 && value < 1e12)) refuse(text);
    shares.push_back(value);
  }
  if (std::accumulate(shares.begin(), shares.end(), 0.0) <= 0.0) refuse(text);
  return shares;
}

const std::vector<double>& shares_of(const DataSplit& split, std::size_t dataset) {
  return split[std::min(dataset, split.size() - 1)];
}

bool takes_everything(const std::vector<double>& shares) {
  return std::all_of(shares.begin() + 1, shares.end(), [](double share) { return share == 0.0; });
}

void shuffle(std::vector<MixedRow>& rows, std::uint32_t seed) {
  const auto order = NumpyLegacyRandom(seed).permutation(static_cast<std::uint32_t>(rows.size()));
  std::vector<MixedRow> shuffled;
  shuffled.reserve(rows.size());
  for (const std::uint32_t at : order) shuffled.push_back(rows[at]);
  rows = std::move(shuffled);
}

}  // namespace

DataSplit parse_data_split(std::string_view text) {
  DataSplit split;
  if (text.empty()) refuse(text);
  for (std::string_view rest = text; !rest.empty();) {
    const auto bar = std::min(rest.find('|'), rest.size());
    split.push_back(parse_shares(rest.substr(0, bar)));
    rest.remove_prefix(std::min(bar + 1, rest.size()));
  }
  return split;
}

std::vector<std::uint32_t> first_share(const std::vector<double>& shares, std::uint32_t rows, std::uint32_t seed) {
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  // Every share is rounded to even; what that gives too much or too little is moved to the first one.
  std::int64_t end = 0;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    end += static_cast<std::int64_t>(std::nearbyint(shares[i] / sum * static_cast<double>(rows)));
    if (i == 0) first = end;
  }
  first = std::clamp<std::int64_t>(first - (end - rows), 0, rows);
  auto order = NumpyLegacyRandom(seed).permutation(rows);
  order.resize(static_cast<std::size_t>(first));
  return order;
}

std::vector<MixedRow> blend_first_shares(const DataSplit& split, const std::vector<std::uint32_t>& lengths,
                                         std::uint32_t seed) {
  std::vector<MixedRow> rows;
  const auto append = [&](std::size_t dataset) {
    for (const std::uint32_t row : first_share(shares_of(split, dataset), lengths[dataset], seed))
      rows.push_back({static_cast<std::uint32_t>(dataset), row});
  };
  std::size_t blended = 0;
  while (blended < lengths.size() && (blended == 0 || !takes_everything(shares_of(split, blended)))) append(blended++);
  if (blended > 1) shuffle(rows, seed);
  if (blended == lengths.size()) return rows;
  std::vector<MixedRow> before = std::exchange(rows, {});
  for (std::size_t dataset = blended; dataset < lengths.size(); ++dataset) append(dataset);
  if (lengths.size() - blended > 1) shuffle(rows, seed);
  before.insert(before.end(), rows.begin(), rows.end());
  shuffle(before, seed);
  return before;
}

}  // namespace dstrain
