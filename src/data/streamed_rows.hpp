// SPDX-License-Identifier: Apache-2.0
/// `streaming: true`: rows that are read and tokenised while training goes on. Nothing but the shuffle buffer and the
/// rows of a step is kept.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/row_maker.hpp"
#include "data/row_source.hpp"
#include "data/row_stream.hpp"

namespace dstrain {

/// Everything that tokenising needs, owned: a stream outlives the call that opens it.
struct StreamInputs {
  std::vector<DatasetSource> sources;
  MixOptions mix;
  EncodeOptions encode;
  Tokenizer tokenizer;
  Template chat;
  TokenImageFacts facts;
  int threads = 0;
};

/// Row r is the r-th row of the stream; when the data ends, the next pass begins with an order of its own.
///
/// Rows are meant to be read in ascending order. Going back further than rows_per_step begins again from the first row,
/// and a resumed run reads up to the row where it goes on. One thread at a time.
class StreamedRows final : public RowSource {
 public:
  StreamedRows(std::shared_ptr<const StreamInputs> inputs, const StreamOptions& options);
  ~StreamedRows() override;

  const RowSourceInfo& info() const noexcept override { return info_; }
  /// @throws ConfigError  a row that is damaged, or a token that the model has no embedding for
  RowView row(std::int64_t index, std::vector<std::int32_t>& scratch) const override;
  std::int64_t row_tokens(std::int64_t index) const override;
  std::int64_t row_samples(std::int64_t index) const override;

 private:
  class Pass;

  void advance() const;
  void restart() const;

  std::shared_ptr<const StreamInputs> inputs_;
  StreamOptions options_;
  RowSourceInfo info_;
  // The window moves while rows are read.
  mutable std::unique_ptr<Pass> pass_;
  mutable std::int64_t pass_number_ = 0;
  mutable std::deque<EncodedRow> window_;
  mutable std::int64_t window_begin_ = 0;  ///< number of its first row
};

/// Rows in the order in which a stream's first pass would give them: a shuffle with a buffer.
std::unique_ptr<RowSource> shuffle_source(std::unique_ptr<RowSource> rows, std::size_t buffer_size, std::uint64_t seed);

/// The first `count` rows of a stream's first pass, kept in memory (val_size). Local.
std::unique_ptr<RowSource> first_rows(const std::shared_ptr<const StreamInputs>& inputs, std::size_t buffer_size,
                                      std::int64_t count, const std::string& digest);

}  // namespace dstrain
