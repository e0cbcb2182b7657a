// SPDX-License-Identifier: Apache-2.0
/// What some keys say about others, and a file that stands for a key's value.
#pragma once

#include <string>
#include <vector>

#include "config/resolve.hpp"
#include "config/run_config.hpp"

namespace dstrain {

/// Keys that are second words for others (train_sampling_strategy, ddp_bucket_cap_mb), and added tokens, which imply
/// resize_vocab. Local.
/// @param bucket_is_said  reduce_bucket_size was given
void follow_second_keys(RunConfig& config, bool bucket_is_said, std::vector<std::string>& notes);

/// Says which optimizer takes the place of one that is another word for it, and which loggers have no effect. Local.
void note_substitutes(const RunConfig& config, std::vector<std::string>& notes);

/// accelerate's split_batches: each batch is dealt out over `ranks`, so that a rank has its share of the rows. The
/// order of rows is the usual one of such batches. Returns what is wrong (then nothing is changed), or empty. Local.
std::string divide_batches(RunConfig& config, int ranks);

/// The tokens of a new_special_tokens_config file, {token: description, ...}, in its order. Local.
/// @throws ConfigError  it cannot be read, or is no mapping
std::vector<std::string> read_special_tokens(const std::string& file, const FileAccess& files);

}  // namespace dstrain
