// SPDX-License-Identifier: Apache-2.0
#include "model/reference_file.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t ignored_label = -100;
constexpr std::int64_t most_tokens = 1 << 24;
constexpr const char* gradient_prefix = "grad.";

}  // namespace

ReferenceFile ReferenceFile::open(const std::filesystem::path& path) {
  ReferenceFile reference(SafetensorsFile::open(path));
  reference.read_batch();
  return reference;
}

std::int32_t ReferenceFile::require(const char* name) const {
  const std::int32_t index = file_.find(name);
  if (index < 0) {
    throw IoError(fmt::format("the reference file has no tensor \"{}\"", name), file_.path().string(),
                  "it holds input_ids, attention_mask, labels, logits, loss and grad.<name> of one batch");
  }
  return index;
}

std::vector<std::int64_t> ReferenceFile::integers(const char* name) {
  const std::int32_t index = require(name);
  const SafetensorsEntry& entry = file_.tensors()[static_cast<std::size_t>(index)];
  if (entry.shape.size() != 2 || entry.count() > most_tokens ||
      (entry.dtype != DType::i64 && entry.dtype != DType::i32)) {
    throw IoError(fmt::format("tensor \"{}\" is not a matrix of int64 or int32", name), file_.path().string());
  }
  if (rows_ == 0) rows_ = entry.shape[0], width_ = entry.shape[1];
  if (entry.shape[0] != rows_ || entry.shape[1] != width_) {
    throw IoError(fmt::format("tensor \"{}\" is not {} x {} like the one before it", name, rows_, width_),
                  file_.path().string());
  }
  std::vector<std::int64_t> values(static_cast<std::size_t>(entry.count()));
  if (entry.dtype == DType::i64) {
    file_.read_raw(index, 0, entry.count(), values.data());
  } else {
    std::vector<std::int32_t> narrow(values.size());
    file_.read_raw(index, 0, entry.count(), narrow.data());
    std::copy(narrow.begin(), narrow.end(), values.begin());
  }
  for (const std::int64_t v : values) {
    if (v < ignored_label || v > std::numeric_limits<std::int32_t>::max()) {
      throw IoError(fmt::format("tensor \"{}\" holds {}, which is no token", name, v), file_.path().string());
    }
  }
  return values;
}

void ReferenceFile::pack_row(std::int64_t row, const std::vector<std::int64_t>& ids,
                             const std::vector<std::int64_t>& mask, const std::vector<std::int64_t>& labels) {
  const auto at = [&](std::int64_t column) { return static_cast<std::size_t>(row * width_ + column); };
  std::int64_t length = 0;
  while (length < width_ && mask[at(length)] == 1) ++length;
  for (std::int64_t c = length; c < width_; ++c) {
    if (mask[at(c)] != 0 || labels[at(c)] != ignored_label) {
      throw IoError(fmt::format("row {} of the batch is not padded on the right, or has labels in its padding", row),
                    file_.path().string());
    }
  }
  for (std::int64_t c = 0; c < length; ++c) {
    const std::int64_t target = c + 1 < length ? labels[at(c + 1)] : ignored_label;
    ids_.push_back(static_cast<std::int32_t>(ids[at(c)]));
    positions_.push_back(static_cast<std::int32_t>(c));
    targets_.push_back(target == ignored_label ? -1 : static_cast<std::int32_t>(target));
    source_.push_back(row * width_ + c);
  }
  cu_seqlens_.push_back(static_cast<std::int32_t>(ids_.size()));
  longest_segment_ = std::max(longest_segment_, static_cast<std::int32_t>(length));
}

void ReferenceFile::read_batch() {
  const auto ids = integers("input_ids");
  const auto mask = integers("attention_mask");
  const auto labels = integers("labels");
  cu_seqlens_.push_back(0);
  for (std::int64_t row = 0; row < rows_; ++row) pack_row(row, ids, mask, labels);
  tokens_ = static_cast<std::int64_t>(ids_.size());
  const auto counted = std::count_if(targets_.begin(), targets_.end(), [](std::int32_t t) { return t >= 0; });
  if (tokens_ == 0 || counted == 0)
    throw IoError("the batch of the reference file has no label that counts", file_.path().string());
  for (const std::int32_t t : targets_) weights_.push_back(t >= 0 ? 1.0F / static_cast<float>(counted) : 0.0F);

  const auto padded = static_cast<std::size_t>(token_class(tokens_));
  ids_.resize(padded, 0);
  positions_.resize(padded, 0);
  targets_.resize(padded, -1);
  weights_.resize(padded, 0.0F);

  float loss = 0.0F;
  const std::int32_t index = require("loss");
  if (file_.tensors()[static_cast<std::size_t>(index)].count() != 1)
    throw IoError("\"loss\" is not one number", file_.path().string());
  file_.read_f32(index, 0, 1, &loss);
  loss_ = loss;
}

MicroBatch ReferenceFile::batch() const {
  MicroBatch b;
  b.tokens = tokens_;
  b.padded_tokens = static_cast<std::int64_t>(ids_.size());
  b.input_ids = ids_;
  b.position_ids = positions_;
  b.cu_seqlens = cu_seqlens_;
  b.targets = targets_;
  b.weights = weights_;
  b.max_seqlen = longest_segment_;
  b.padded_len = static_cast<std::int32_t>(width_);
  b.rows = rows_;
  return b;
}

void ReferenceFile::logits(std::int64_t t, std::int64_t vocab_size, float* out) const {
  const std::int32_t index = require("logits");
  const auto& shape = file_.tensors()[static_cast<std::size_t>(index)].shape;
  if (shape != std::vector<std::int64_t>{rows_, width_, vocab_size}) {
    throw IoError(fmt::format("\"logits\" is not {} x {} x {}", rows_, width_, vocab_size), file_.path().string(),
                  "the reference was made with another model or another batch");
  }
  file_.read_f32(index, source_.at(static_cast<std::size_t>(t)) * vocab_size, vocab_size, out);
}

std::vector<std::string> ReferenceFile::gradient_names() const {
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : file_.tensors()) {
    if (entry.name.starts_with(gradient_prefix))
      names.push_back(entry.name.substr(std::string_view(gradient_prefix).size()));
  }
  return names;
}

std::int64_t ReferenceFile::gradient_count(const std::string& name) const {
  const std::int32_t index = file_.find(gradient_prefix + name);
  return index < 0 ? -1 : file_.tensors()[static_cast<std::size_t>(index)].count();
}

void ReferenceFile::gradient(const std::string& name, std::int64_t begin, std::int64_t count, float* out) const {
  file_.read_f32(require((gradient_prefix + name).c_str()), begin, count, out);
}

}  // namespace dstrain
