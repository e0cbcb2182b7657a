// SPDX-License-Identifier: Apache-2.0
/// Lists of datasets to token rows: from the cache, or read, tokenised and packed a chunk at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "data/dataset_digest.hpp"
#include "data/dataset_reader.hpp"
#include "data/token_image.hpp"

namespace dstrain {

class RowMaker {
 public:
  struct Made {
    std::unique_ptr<RowSource> rows;
    bool from_cache = false;
    DataState state;
  };

  /// @param options, tokenizer, chat  must outlive the maker
  /// @param base_digest               of all that shapes rows but the datasets
  RowMaker(const DatasetOptions& options, const Tokenizer& tokenizer, const Template& chat, std::string base_digest);

  /// The rows of the datasets `names`. Local. Lists that resample share one generator: the order of calls counts.
  /// @throws ConfigError, IoError  as open_dataset
  Made make(const std::vector<std::string>& names);

  /// The datasets `names` with their files open.
  [[nodiscard]] std::vector<DatasetSource> open(const std::vector<std::string>& names) const;
  [[nodiscard]] MixOptions mix() const;
  [[nodiscard]] TokenImageFacts facts() const;
  /// Digest of all that rows of `sources` are made from.
  [[nodiscard]] DataState state_of(const std::vector<DatasetSource>& sources) const;

 private:
  void write(DatasetReader& reader, TokenImageWriter& writer, const std::string& digest,
             std::vector<std::byte>* image) const;
  std::unique_ptr<RowSource> make_file(const std::vector<DatasetSource>& sources, const NumpyLegacyRandom& random,
                                       const std::filesystem::path& path, const std::string& digest) const;
  std::unique_ptr<RowSource> make_image(const std::vector<DatasetSource>& sources, NumpyLegacyRandom random,
                                        const std::string& digest) const;

  const DatasetOptions& options_;
  const Tokenizer& tokenizer_;
  const Template& chat_;
  std::string base_digest_;
  NumpyLegacyRandom random_;
  std::string resampled_before_;  ///< what the generator was used for so far: part of the digest
};

/// The kind of rows that a stage has.
RowKind row_kind(Stage stage);

/// Samples of one chunk: whole preprocessing groups, enough of them to keep all threads busy.
std::size_t chunk_samples(const EncodeOptions& options);

/// Says what is wrong with samples that were not understood: the first ones of a run one by one, the others as a
/// number.
class SampleProblems {
 public:
  void note(const std::vector<Sample>& samples);
  ~SampleProblems();

 private:
  std::int64_t count_ = 0;
};

}  // namespace dstrain
