// SPDX-License-Identifier: Apache-2.0
#include "data/dataset_mix.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace dstrain {
namespace {

/// In turns, row by row; a dataset that has ended is left out (once) or starts again (over).
std::vector<MixedRow> in_turns(std::span<const std::uint32_t> lengths, MixStrategy strategy) {
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  const std::uint32_t rounds = strategy == MixStrategy::interleave_under ? *shortest : *longest;
  std::vector<MixedRow> out;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    for (std::uint32_t d = 0; d < lengths.size(); ++d) {
      if (strategy == MixStrategy::interleave_once && round >= lengths[d]) continue;
      out.push_back({d, round % lengths[d]});
    }
  }
  return out;
}

std::vector<MixedRow> by_chance(std::span<const std::uint32_t> lengths, MixStrategy strategy,
                                std::span<const double> probabilities, std::uint64_t seed) {
  SourceOrder order(lengths.size(), probabilities, NumpyGenerator(seed));
  std::vector<std::uint32_t> at(lengths.size(), 0);
  std::vector<bool> ended(lengths.size(), false);
  // A dataset that is never drawn never ends.
  for (std::size_t d = 0; d < lengths.size(); ++d) ended[d] = probabilities[d] == 0.0;
  std::size_t left = strategy == MixStrategy::interleave_under
                         ? 1
                         : static_cast<std::size_t>(std::count(ended.begin(), ended.end(), false));
  std::vector<MixedRow> out;
  while (left > 0) {
    const std::size_t d = order.next();
    if (strategy == MixStrategy::interleave_once && ended[d]) continue;
    out.push_back({static_cast<std::uint32_t>(d), at[d]});
    if (++at[d] < lengths[d]) continue;
    at[d] = 0;
    if (!ended[d]) --left;
    ended[d] = true;
  }
  return out;
}

}  // namespace

MixStrategy mix_strategy(std::string_view word) {
  if (word == "concat") return MixStrategy::concat;
  if (word == "interleave_under") return MixStrategy::interleave_under;
  if (word == "interleave_over") return MixStrategy::interleave_over;
  if (word == "interleave_once") return MixStrategy::interleave_once;
  throw ConfigError(fmt::format("Unknown mixing strategy: {}.", word), "mix_strategy",
                    "use concat, interleave_under, interleave_over or interleave_once");
}

SourceOrder::SourceOrder(std::size_t datasets, std::span<const double> probabilities, NumpyGenerator generator)
    : datasets_(datasets), generator_(generator) {
  if (!probabilities.empty()) choice_.emplace(probabilities);
}

std::size_t SourceOrder::next() {
  if (choice_) return std::min((*choice_)(generator_), datasets_ - 1);
  const std::size_t out = at_;
  at_ = (at_ + 1) % datasets_;
  return out;
}

std::vector<MixedRow> mix_rows(std::span<const std::uint32_t> lengths, MixStrategy strategy,
                               std::span<const double> probabilities, std::uint64_t seed) {
  if (strategy != MixStrategy::concat && lengths.size() > 1) {
    for (std::size_t d = 0; d < lengths.size(); ++d) {
      if (lengths[d] > 0 || (!probabilities.empty() && probabilities[d] == 0.0)) continue;
      throw ConfigError(fmt::format("dataset {} of {} is empty and cannot be interleaved", d + 1, lengths.size()),
                        "mix_strategy", "leave it out");
    }
    return probabilities.empty() ? in_turns(lengths, strategy) : by_chance(lengths, strategy, probabilities, seed);
  }
  std::vector<MixedRow> out;
  for (std::uint32_t d = 0; d < lengths.size(); ++d) {
    for (std::uint32_t row = 0; row < lengths[d]; ++row) out.push_back({d, row});
  }
  return out;
}

std::vector<std::uint32_t> resample_rows(std::uint32_t rows, std::size_t count, NumpyLegacyRandom& random) {
  if (rows == 0) throw ConfigError("num_samples of an empty dataset cannot be taken", "dataset_info.json");
  auto picked = random.permutation(rows);
  if (count <= picked.size()) {
    picked.resize(count);
    return picked;
  }
  const auto more = random.choice(rows, count - picked.size());
  picked.insert(picked.end(), more.begin(), more.end());
  return picked;
}

}  // namespace dstrain
