// SPDX-License-Identifier: Apache-2.0
#include "data/micro_batch_builder.hpp"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "core/error.hpp"
#include "data/encode.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t most_rows_to_scan = 200'000'000;

/// Attention segments of a row and its longest one: the row, or each of its samples with neat_packing.
std::int64_t segments_of(const RowSourceInfo& info, const RowView& row) {
  return info.separate_samples && !row.sample_lens.empty() ? std::ssize(row.sample_lens) : 1;
}

std::int64_t round_up(std::int64_t n, std::int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

class LimitScan {
 public:
  LimitScan(const RowSource& rows, const BatchPlan& plan, const RowPadding& padding)
      : rows_(rows), plan_(plan), step_(padding.counts(rows.info()) ? padding.multiple_of : 0) {}

  MicroBatchLimits all_steps() {
    std::vector<std::uint32_t> order(static_cast<std::size_t>(rows_.info().rows));
    std::int64_t epoch = -1;
    for (std::int64_t s = 0; s < plan_.total_steps(); ++s) {
      const PlannedStep step = plan_.step(s);
      if (step.epoch != epoch) {
        epoch = step.epoch;
        if (epoch > 0 && uniform()) break;  // equal rows: every epoch has the same shapes
        epoch_order(plan_.options(), epoch, order);
        if (plan_.options().group_by_length)
          group_by_length(plan_.options(), order, [&](std::uint32_t row) { return rows_.row_tokens(row); });
      }
      for (std::int64_t k = 0; k < step.slots; ++k) add_batch(step.first_batch + k, order);
    }
    return finish();
  }

  /// Bounds for rows that are not there yet: each may have max_row_tokens, and samples of one token.
  MicroBatchLimits bounds_of_stream() {
    const std::int64_t batch = plan_.options().per_device_train_batch_size;
    const std::int64_t longest = padded(rows_.info().max_row_tokens);
    limits_.tokens = batch * longest;
    limits_.segments = rows_.info().separate_samples ? limits_.tokens : batch;
    limits_.rows = batch;
    limits_.seqlen = longest;
    for (std::int64_t c = token_class(1); c <= token_class(limits_.tokens); c = token_class(c + 1)) classes_.insert(c);
    return finish();
  }

  /// Bounds from the sorted lengths: the batch of the longest rows, and every class from that of the shortest on.
  MicroBatchLimits bounds() {
    std::vector<std::int64_t> tokens;
    std::vector<std::int64_t> samples;
    for (std::int64_t i = 0; i < rows_.info().rows; ++i) {
      tokens.push_back(rows_.row_tokens(i));
      samples.push_back(segments(i));
    }
    const auto batch = std::min<std::ptrdiff_t>(plan_.options().per_device_train_batch_size, std::ssize(tokens));
    std::partial_sort(samples.begin(), samples.begin() + batch, samples.end(), std::greater<>());
    const std::int64_t shortest = *std::min_element(tokens.begin(), tokens.end());
    std::partial_sort(tokens.begin(), tokens.begin() + batch, tokens.end(), std::greater<>());
    // A batch may hold a row twice where the tail is filled from few rows: count the longest for every place.
    const std::int64_t places = plan_.options().per_device_train_batch_size;
    for (std::int64_t i = 0; i < places; ++i) {
      limits_.tokens +=
          step_ > 0 ? padded(tokens.front()) : tokens[static_cast<std::size_t>(std::min<std::int64_t>(i, batch - 1))];
      limits_.segments += samples[static_cast<std::size_t>(std::min<std::int64_t>(i, batch - 1))];
    }
    limits_.rows = places;
    limits_.seqlen = padded(tokens.front());
    for (std::int64_t c = token_class(shortest); c <= token_class(limits_.tokens); c = token_class(c + 1))
      classes_.insert(c);
    return finish();
  }

 private:
  /// A row's tokens with its pads, where they count and it is the longest of its batch.
  [[nodiscard]] std::int64_t padded(std::int64_t tokens) const { return step_ > 0 ? round_up(tokens, step_) : tokens; }
  [[nodiscard]] bool uniform() const {
    const RowSourceInfo& info = rows_.info();
    return info.max_row_tokens * info.rows == info.tokens && !info.separate_samples;
  }
  [[nodiscard]] std::int64_t segments(std::int64_t row) const {
    return rows_.info().separate_samples ? rows_.row_samples(row) : 1;
  }

  void add_batch(std::int64_t batch, const std::vector<std::uint32_t>& order) {
    const auto [begin, end] = plan_.places(batch);
    std::int64_t tokens = 0;
    std::int64_t segment_count = 0;
    std::int64_t longest = 0;
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t row = order[static_cast<std::size_t>(p % rows_.info().rows)];
      const std::int64_t length = rows_.row_tokens(row);
      tokens += length;
      segment_count += segments(row);
      longest = std::max(longest, padded(length));
    }
    limits_.seqlen = std::max(limits_.seqlen, longest);
    if (step_ > 0) tokens = (end - begin) * longest;
    limits_.tokens = std::max(limits_.tokens, tokens);
    limits_.segments = std::max(limits_.segments, segment_count);
    limits_.rows = std::max(limits_.rows, end - begin);
    classes_.insert(token_class(tokens));
  }

  MicroBatchLimits finish() {
    limits_.padded_tokens = token_class(limits_.tokens);
    limits_.token_classes.assign(classes_.begin(), classes_.end());
    return std::move(limits_);
  }

  const RowSource& rows_;
  const BatchPlan& plan_;
  int step_;  ///< rows are padded to multiples of it; 0: not padded
  MicroBatchLimits limits_;
  std::set<std::int64_t> classes_;
};

}  // namespace

MicroBatchLimits micro_batch_limits(const RowSource& rows, const BatchPlan& plan, const RowPadding& padding) {
  LimitScan scan(rows, plan, padding);
  if (rows.info().streamed) return scan.bounds_of_stream();
  const auto epochs = plan.total_steps() / plan.steps_per_epoch() + 1;
  return epochs <= most_rows_to_scan / rows.info().rows ? scan.all_steps() : scan.bounds();
}

MicroBatchShape micro_batch_shape(const RowSource& source, std::span<const std::uint32_t> row_numbers,
                                  std::vector<std::int32_t>& scratch, const RowPadding& padding) {
  const RowSourceInfo& info = source.info();
  MicroBatchShape shape;
  std::int64_t longest = 0;
  for (const std::uint32_t number : row_numbers) {
    const RowView row = source.row(number, scratch);
    const std::int64_t length = std::ssize(row.input_ids);
    shape.tokens += length;
    shape.segments += segments_of(info, row);
    longest = std::max(longest, length);
    if (segments_of(info, row) == 1) {
      shape.max_seqlen = std::max(shape.max_seqlen, length);
    } else {
      for (const std::int32_t l : row.sample_lens) shape.max_seqlen = std::max<std::int64_t>(shape.max_seqlen, l);
    }
    const std::int64_t labels = length - std::count(row.labels.begin(), row.labels.end(), ignore_label);
    shape.labels += labels;
    shape.targets += labels - (length > 0 && row.labels.front() != ignore_label ? 1 : 0);
  }
  shape.rows = std::ssize(row_numbers);
  shape.padded_len = round_up(info.padded_row_len > 0 ? std::max<std::int64_t>(info.padded_row_len, longest) : longest,
                              padding.multiple_of);
  if (padding.counts(info)) {
    const std::int64_t pads = shape.rows * shape.padded_len - shape.tokens;
    shape.tokens += pads;
    shape.labels += pads;
    shape.targets += pads;
    shape.max_seqlen = shape.padded_len;
  }
  return shape;
}

MicroBatchArrays::MicroBatchArrays(std::span<std::int32_t> memory, std::int64_t tokens, std::int64_t segments) {
  DSTRAIN_CHECK(std::ssize(memory) >= count(tokens, segments), "a micro-batch of {} elements in {}",
                count(tokens, segments), memory.size());
  const auto padded = static_cast<std::size_t>(token_class(tokens));
  input_ids = memory.subspan(0, padded);
  position_ids = memory.subspan(padded, padded);
  targets = memory.subspan(2 * padded, padded);
  cu_seqlens = memory.subspan(3 * padded, static_cast<std::size_t>(segments + 1));
  key_lens = memory.subspan(3 * padded + cu_seqlens.size(), static_cast<std::size_t>(segments));
}

void fill_micro_batch(const RowSource& source, std::span<const std::uint32_t> row_numbers, const MicroBatchArrays& out,
                      std::vector<std::int32_t>& scratch, const RowPadding& padding, std::int64_t padded_len) {
  const RowSourceInfo& info = source.info();
  std::size_t at = 0;       // next token
  std::size_t segment = 0;  // next segment
  out.cu_seqlens[0] = 0;
  const auto end_segment = [&](std::size_t end) { out.cu_seqlens[++segment] = static_cast<std::int32_t>(end); };
  for (const std::uint32_t number : row_numbers) {
    const RowView row = source.row(number, scratch);
    const std::size_t length = row.input_ids.size();
    std::copy(row.input_ids.begin(), row.input_ids.end(), out.input_ids.begin() + static_cast<std::ptrdiff_t>(at));
    std::size_t sample = 0;
    std::int32_t position = 0;
    for (std::size_t i = 0; i < length; ++i) {
      const std::int32_t next = i + 1 < length ? row.labels[i + 1] : ignore_label;
      out.targets[at + i] = next == ignore_label ? -1 : next;
      out.position_ids[at + i] = position++;
      if (sample < row.sample_lens.size() && position == row.sample_lens[sample]) {
        position = 0;
        ++sample;
        if (info.separate_samples) end_segment(at + i + 1);
      }
    }
    if (padding.counts(info)) {
      out.key_lens[segment] = static_cast<std::int32_t>(length);
      for (std::size_t i = length; i < static_cast<std::size_t>(padded_len); ++i) {
        if (i > 0) out.targets[at + i - 1] = *padding.counted_id;
        out.input_ids[at + i] = *padding.counted_id;
        out.targets[at + i] = -1;
        out.position_ids[at + i] = static_cast<std::int32_t>(i);  // none are handed to the model there
      }
      at += static_cast<std::size_t>(padded_len) - length;
    }
    at += length;
    if (segments_of(info, row) == 1 && static_cast<std::size_t>(out.cu_seqlens[segment]) != at) end_segment(at);
  }
  DSTRAIN_CHECK(segment + 1 == out.cu_seqlens.size(), "{} segments instead of {}", segment, out.cu_seqlens.size() - 1);
  const auto rest = static_cast<std::ptrdiff_t>(at);
  std::fill(out.input_ids.begin() + rest, out.input_ids.end(), 0);
  std::fill(out.position_ids.begin() + rest, out.position_ids.end(), 0);
  std::fill(out.targets.begin() + rest, out.targets.end(), -1);
}

void fill_weights(std::span<const std::int32_t> targets, float weight, std::span<float> weights) {
  for (std::size_t t = 0; t < weights.size(); ++t) weights[t] = targets[t] >= 0 ? weight : 0.0F;
}

}  // namespace dstrain
