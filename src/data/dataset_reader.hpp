// SPDX-License-Identifier: Apache-2.0
/// The files of datasets to samples, a chunk at a time: resampled, shortened, mixed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/data_split.hpp"
#include "data/dataset_info.hpp"
#include "data/dataset_mix.hpp"
#include "data/row_file.hpp"
#include "data/sample.hpp"

namespace dstrain {

/// A dataset with its files open.
struct DatasetSource {
  DatasetDescription description;
  std::vector<std::unique_ptr<RowFile>> files;
};

/// Opens the files of a dataset: file_name itself, or every file of the folder it names, in the order of their names.
///
/// Local. @throws ConfigError  "File X not found.", "File types should be identical.", "Allowed file types: ..."
/// @throws IoError  a file cannot be read
DatasetSource open_dataset_files(DatasetDescription description, const std::filesystem::path& dataset_dir);

struct MixOptions {
  MixStrategy strategy = MixStrategy::concat;
  std::vector<double> probabilities;
  std::uint64_t seed = 42;
  std::optional<std::int64_t> max_samples;  ///< first rows of each dataset, after num_samples
  DataSplit data_split = {};                ///< instead of a strategy, where it is not empty
};

/// A row as bytes of its file.
struct RawRow {
  const DatasetSource* source = nullptr;
  const RowFile* file = nullptr;
  std::int64_t offset = 0;
  std::string text;
};

/// Takes raw rows apart. Rows whose messages are out of order become empty samples with a `problem`: they keep their
/// place in their preprocessing group. Local. @throws ConfigError  with file:line of what is damaged
std::vector<Sample> to_samples(const std::vector<RawRow>& rows, int threads);

/// The rows of one dataset in the order of its files, one pass after the other.
class DatasetCursor {
 public:
  explicit DatasetCursor(const DatasetSource& source) : source_(&source) {}
  /// False at the end; the call after that begins again.
  bool next(RawRow& out);

 private:
  const DatasetSource* source_;
  std::size_t file_ = 0;
  std::optional<RowCursor> cursor_;
};

/// The rows of datasets in mixed order. Where they follow each other as they stand in the files, nothing but the row at
/// hand is kept; where they are resampled or interleaved, 16 bytes a row (and 8 for the order).
class DatasetReader {
 public:
  /// Local. Resampling draws from `random`, dataset by dataset.
  /// @param sources  must outlive the reader
  DatasetReader(const std::vector<DatasetSource>& sources, const MixOptions& options, NumpyLegacyRandom& random);

  /// Up to `count` rows; fewer only at the end.
  std::vector<RawRow> next(std::size_t count);

 private:
  struct RowPlace {
    std::int64_t offset;
    std::uint32_t bytes;
    std::uint32_t file;
  };
  void index(const std::vector<DatasetSource>& sources, NumpyLegacyRandom& random);
  bool next_in_order(RawRow& out);
  bool next_in_files(RawRow& out);

  const std::vector<DatasetSource>& sources_;
  MixOptions options_;
  // Resampled or interleaved:
  bool indexed_ = false;
  std::vector<std::vector<RowPlace>> places_;  ///< of each dataset, resampled and shortened
  std::vector<MixedRow> order_;
  std::size_t at_ = 0;
  // One after the other:
  std::size_t dataset_ = 0;
  std::int64_t taken_ = 0;  ///< rows of this dataset
  std::optional<DatasetCursor> cursor_;
};

}  // namespace dstrain
