// SPDX-License-Identifier: Apache-2.0
/// Dataset files (json, jsonl, csv, txt) to samples.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset_info.hpp"
#include "data/sample.hpp"

namespace dstrain {

/// One file with its bytes in memory.
struct DatasetFile {
  std::filesystem::path path;
  std::string bytes;
};

/// Reads the files of a dataset: file_name itself, or every file of the folder it names, in the order of their names.
///
/// Local. @throws ConfigError  "File X not found.", "File types should be identical.", "Allowed file types: ..."
/// @throws IoError  a file cannot be read
std::vector<DatasetFile> read_dataset_files(const DatasetDescription& description,
                                            const std::filesystem::path& dataset_dir);

/// Turns the rows of `files` into samples, at most `max_samples`.
///
/// Local. Rows of a sharegpt dataset with roles out of order become empty samples (a warning names them): they keep
/// their place in their preprocessing group.
/// @throws ConfigError  with file:line of what is damaged or has the wrong type
std::vector<Sample> read_samples(const DatasetDescription& description, const std::vector<DatasetFile>& files,
                                 std::optional<std::int64_t> max_samples);

}  // namespace dstrain
