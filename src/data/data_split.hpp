// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed-Chat's data_split: which rows of each dataset its first step, supervised fine-tuning, takes, in which
/// order.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/dataset_mix.hpp"

namespace dstrain {

/// Shares of the three steps for each dataset; the last entry holds for those behind it. Empty: nothing is split.
using DataSplit = std::vector<std::vector<double>>;

/// "2,4,4", or "2,4,4|10,0,0" with an entry for each dataset.
/// @throws ConfigError  no numbers from 0 on, or none above 0
DataSplit parse_data_split(std::string_view text);

/// The rows of a dataset of `rows` rows that the first share gets: RandomState(seed).shuffle of all of them, cut at the
/// rounded shares (utils/data/data_utils.py). Local.
std::vector<std::uint32_t> first_share(const std::vector<double>& shares, std::uint32_t rows, std::uint32_t seed);

/// The rows of several datasets, of which `taken` are used, as one: blended datasets are shuffled once more, and so is
/// all of it where datasets follow that belong to the first step as a whole (sft_only_data_path). Local.
std::vector<MixedRow> blend_first_shares(const DataSplit& split, const std::vector<std::uint32_t>& lengths,
                                         std::uint32_t seed);

}  // namespace dstrain
