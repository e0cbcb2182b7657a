// SPDX-License-Identifier: Apache-2.0
/// A vocabulary that grows: resize_vocab, add_tokens, add_special_tokens. Rank 0, but for the sizes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "config/run_config.hpp"
#include "data/tokenizer.hpp"
#include "io/hf_folder/hf_folder.hpp"
#include "io/weights/weight_source.hpp"
#include "model/model_spec.hpp"

namespace dstrain {

/// The stored embedding of a model that has more rows now.
struct VocabGrowth {
  std::int64_t stored_rows = 0;  ///< 0: the vocabulary did not grow
  std::uint64_t seed = 42;       ///< of the new rows
};

/// Sets the vocabulary of `spec` (and of its config.json) to `rows`. Local.
/// @throws ConfigError  the head has no plain matrix: such a model is not resized
void set_vocab_size(ModelSpec& spec, std::int64_t rows);

/// LLaMA-Factory's resize_embedding_layer: where `tokenizer` has more tokens than `spec` has rows, `spec` gets as many,
/// rounded up to 64. Returns what grew. Local.
VocabGrowth grow_vocab(ModelSpec& spec, const Tokenizer& tokenizer, std::uint64_t seed);

/// What resize_vocab does to a model that is about to be read: the tokenizer of `folder` with the run's tokens decides,
/// `spec` grows, `files` get the tokens and the new config.json. Nothing where the key is false. Local.
/// @throws ConfigError  there is no tokenizer
VocabGrowth resize_vocab(const RunConfig& config, const std::filesystem::path& folder, ModelSpec& spec,
                         HfFolder& files);

/// `below` with the rows that embedding and head (`spec`, already grown) have more than the file: the mean of the
/// stored rows plus N(0, 1 / hidden_size), by dstrain's own random numbers, the same for any number of ranks. Local.
std::unique_ptr<WeightSource> with_more_rows(std::unique_ptr<WeightSource> below, const ModelSpec& spec,
                                             const VocabGrowth& growth);

}  // namespace dstrain
