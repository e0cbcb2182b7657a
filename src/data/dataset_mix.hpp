// SPDX-License-Identifier: Apache-2.0
/// In which order the rows of several datasets follow each other: pure arithmetic over their lengths.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "data/numpy_random.hpp"

namespace dstrain {

/// How datasets are mixed. Names are those of mix_strategy.
enum class MixStrategy : std::uint8_t {
  concat,            ///< one after the other
  interleave_under,  ///< in turns or by probability, until the first of them has ended
  interleave_over,   ///< until each has been met as a whole; those that end earlier start again
  interleave_once,   ///< until each has been met as a whole; those that end earlier are left out from there on
};

/// @throws ConfigError  a word that names none
MixStrategy mix_strategy(std::string_view word);

/// A row of one of several datasets.
struct MixedRow {
  std::uint32_t dataset = 0;
  std::uint32_t row = 0;
  bool operator==(const MixedRow&) const = default;
};

/// Which dataset comes next when datasets are interleaved: in turns, or drawn as numpy's choice(p) draws.
class SourceOrder {
 public:
  SourceOrder(std::size_t datasets, std::span<const double> probabilities, NumpyGenerator generator);
  std::size_t next();

 private:
  std::size_t datasets_;
  std::size_t at_ = 0;
  std::optional<NumpyChoice> choice_;
  NumpyGenerator generator_;
};

/// The rows of datasets with `lengths` rows in their mixed order, as datasets' interleave_datasets selects them.
///
/// Local. @param probabilities  of each dataset; empty: in turns
/// @throws ConfigError  an empty dataset among several that are interleaved
std::vector<MixedRow> mix_rows(std::span<const std::uint32_t> lengths, MixStrategy strategy,
                               std::span<const double> probabilities, std::uint64_t seed);

/// `count` rows of a dataset that has `rows` (num_samples): a random part of them, and where there are too few, all of
/// them and more with replacement. One generator serves all datasets of a run in turn.
std::vector<std::uint32_t> resample_rows(std::uint32_t rows, std::size_t count, NumpyLegacyRandom& random);

}  // namespace dstrain
