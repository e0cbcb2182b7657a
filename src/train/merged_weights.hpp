// SPDX-License-Identifier: Apache-2.0
/// A model's weights as they are read: with adapters merged in, and a tied head under its own name. Rank 0 only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/weights/weight_source.hpp"
#include "model/model_spec.hpp"
#include "train/adapter_files.hpp"
#include "train/grown_vocab.hpp"

namespace dstrain {

/// `below` with one adapter merged as PEFT's merge_and_unload: W + s B A, with DoRA m / ||W + s B A|| (W + s B A),
/// modules saved whole in place of the model's. Computes piece by piece in f32 and holds the adapter's A and B.
/// @param layout  of the model: says which matrices are stored [in, out]
/// @throws IoError, ConfigError  the adapter does not fit the model
std::unique_ptr<WeightSource> merge_adapter(std::unique_ptr<WeightSource> below, AdapterFolder adapter,
                                            const ModelLayout& layout);

/// `below` with the head's matrix under its own name where the file only has the embedding's (tied models).
/// @param head_name  what the untied layout calls it
std::unique_ptr<WeightSource> with_own_head(std::unique_ptr<WeightSource> below, const std::string& embedding_name,
                                            const std::string& head_name);

/// The weights of a folder with all of `adapters` merged, in order. Local.
/// @param spec  of the folder; @param tuned  as it will be held (an untied head is given its own matrix)
/// @param growth  how many rows of the vocabulary of `spec` the folder has
std::unique_ptr<WeightSource> open_merged(const std::filesystem::path& folder, const ModelSpec& spec,
                                          const ModelSpec& tuned, const std::vector<std::filesystem::path>& adapters,
                                          const VocabGrowth& growth = {});

/// The name of the head's own matrix in the layout of an untied model.
std::string head_matrix_name(const ModelSpec& untied);

}  // namespace dstrain
