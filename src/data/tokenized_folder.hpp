// SPDX-License-Identifier: Apache-2.0
/// `tokenized_path`: processed rows that a run keeps, and that later runs take instead of the datasets.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.hpp"

namespace dstrain {

/// Whether there is something in the folder. Local.
bool has_tokenized_rows(const std::filesystem::path& folder);

/// Rows of a folder that save_tokenized_rows() wrote: training rows, evaluation rows by name.
///
/// Local. @param vocab_size  of the tokenizer; rows made with a larger one are refused
/// @throws ConfigError  the folder holds something else, or rows of another stage  @throws IoError  damage
void load_tokenized_rows(const std::filesystem::path& folder, RowKind kind, std::int32_t vocab_size, Dataset& out);

/// Writes the rows of `dataset` (one file for each source, and an index) into a new folder. Local.
/// @throws IoError  the folder is not empty, or cannot be written; an unfinished folder is never taken for a whole one
void save_tokenized_rows(const std::filesystem::path& folder, const Dataset& dataset);

}  // namespace dstrain
