// SPDX-License-Identifier: Apache-2.0
#include "data/streamed_rows.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "data/selected_rows.hpp"
#include "data/token_image.hpp"
#include "data/token_store.hpp"

namespace dstrain {

/// One pass: files -> mixed rows -> groups of tokens -> shuffle buffer.
class StreamedRows::Pass {
 public:
  Pass(const StreamInputs& inputs, const StreamOptions& options, std::int64_t number)
      : inputs_(inputs),
        samples_(cursors(inputs), inputs.mix.strategy, inputs.mix.probabilities,
                 stream_generator(inputs.mix.seed, number)),
        shuffle_(options.buffer_size, stream_generator(inputs.mix.seed, number)) {}

  bool next(EncodedRow& out) {
    while (ready_.empty() && !finished_) read_chunk();
    if (ready_.empty()) return false;
    out = std::move(ready_.front());
    ready_.pop_front();
    return true;
  }

 private:
  static std::vector<DatasetCursor> cursors(const StreamInputs& inputs) {
    return {inputs.sources.begin(), inputs.sources.end()};
  }

  void read_chunk() {
    const std::size_t chunk = chunk_samples(inputs_.encode);
    std::vector<RawRow> rows;
    for (RawRow row; rows.size() < chunk && samples_.next(row);) rows.push_back(std::move(row));
    const auto parsed = to_samples(rows, inputs_.threads);
    problems_.note(parsed);
    auto encoded =
        encode_samples(parsed, inputs_.tokenizer, inputs_.chat, inputs_.encode, inputs_.threads, samples_read_);
    samples_read_ += std::ssize(rows);
    for (auto& row : encoded.rows) {
      if (auto pushed = shuffle_.push(std::move(row))) ready_.push_back(std::move(*pushed));
    }
    if (rows.size() == chunk) return;
    finished_ = true;
    for (auto& row : shuffle_.finish()) ready_.push_back(std::move(row));
  }

  const StreamInputs& inputs_;
  MixedStream<DatasetCursor, RawRow> samples_;
  BufferShuffle<EncodedRow> shuffle_;
  SampleProblems problems_;
  std::int64_t samples_read_ = 0;
  std::deque<EncodedRow> ready_;
  bool finished_ = false;
};

StreamedRows::StreamedRows(std::shared_ptr<const StreamInputs> inputs, const StreamOptions& options)
    : inputs_(std::move(inputs)), options_(options) {
  info_.rows = options.rows;
  info_.max_row_tokens = inputs_->encode.cutoff_len;
  info_.padded_row_len = inputs_->facts.padded_row_len;
  info_.kind = inputs_->facts.kind;
  info_.separate_samples = inputs_->facts.separate_samples;
  info_.streamed = true;
  restart();
}

StreamedRows::~StreamedRows() = default;

void StreamedRows::restart() const {
  window_.clear();
  window_begin_ = 0;
  pass_number_ = 0;
  pass_ = std::make_unique<Pass>(*inputs_, options_, 0);
  EncodedRow left_out;
  for (std::int64_t i = 0; i < options_.skipped; ++i) pass_->next(left_out);
}

void StreamedRows::advance() const {
  EncodedRow row;
  for (int attempt = 0; !pass_->next(row); ++attempt) {
    if (attempt == 1) {
      throw ConfigError("Cannot find valid samples, check `data/README.md` for the data format.", "dataset",
                        "a whole pass over the data has no row to train on");
    }
    pass_ = std::make_unique<Pass>(*inputs_, options_, ++pass_number_);
    for (std::int64_t i = 0; i < options_.skipped; ++i) pass_->next(row);
  }
  for (const auto id : row.input_ids) {
    if (options_.vocab_size == 0 || id < options_.vocab_size) continue;
    throw ConfigError(
        fmt::format("a row holds token id {}, but the model's embedding has {} rows", id, options_.vocab_size), {},
        "choose a template whose special tokens the model knows");
  }
  window_.push_back(std::move(row));
  if (std::ssize(window_) > options_.rows_per_step) {
    window_.pop_front();
    ++window_begin_;
  }
}

RowView StreamedRows::row(std::int64_t index, std::vector<std::int32_t>& /*scratch*/) const {
  DSTRAIN_CHECK(index >= 0 && index < info_.rows, "row {} of {}", index, info_.rows);
  if (index < window_begin_) restart();
  while (index >= window_begin_ + std::ssize(window_)) advance();
  return window_[static_cast<std::size_t>(index - window_begin_)].view();
}

std::int64_t StreamedRows::row_tokens(std::int64_t index) const {
  std::vector<std::int32_t> none;
  return std::ssize(row(index, none).input_ids);
}

std::int64_t StreamedRows::row_samples(std::int64_t index) const {
  std::vector<std::int32_t> none;
  return std::max<std::int64_t>(1, std::ssize(row(index, none).sample_lens));
}

std::unique_ptr<RowSource> shuffle_source(std::unique_ptr<RowSource> rows, std::size_t buffer_size,
                                          std::uint64_t seed) {
  BufferShuffle<std::uint32_t> shuffle(buffer_size, stream_generator(seed, 0));
  std::vector<std::uint32_t> order;
  for (std::uint32_t i = 0; i < rows->info().rows; ++i) {
    if (const auto pushed = shuffle.push(i)) order.push_back(*pushed);
  }
  for (const auto left : shuffle.finish()) order.push_back(left);
  return std::make_unique<SelectedRows>(std::move(rows), std::move(order));
}

std::unique_ptr<RowSource> first_rows(const std::shared_ptr<const StreamInputs>& inputs, std::size_t buffer_size,
                                      std::int64_t count, const std::string& digest) {
  const StreamedRows stream(inputs, {.buffer_size = buffer_size, .rows = count});
  TokenImageWriter writer;
  std::vector<std::int32_t> none;
  for (std::int64_t i = 0; i < count; ++i) writer.add(stream.row(i, none));
  return TokenStore::from_image(writer.finish(inputs->facts, digest), digest);
}

}  // namespace dstrain
