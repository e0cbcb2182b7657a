// SPDX-License-Identifier: Apache-2.0
/// A reference file: what another program computed for one batch. Tensors input_ids, attention_mask, labels, logits,
/// loss and grad.<name>, written by transformers on the same weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/safetensors/reader.hpp"
#include "model/micro_batch.hpp"

namespace dstrain {

/// The batch of a reference file as one packed row: padded tokens are dropped, each row of the file is a segment.
class ReferenceFile {
 public:
  /// Reads everything but logits and gradients. Local.
  /// @throws IoError  the file is damaged, lacks a tensor, or its shapes do not agree; padding that is not on the right
  static ReferenceFile open(const std::filesystem::path& path);

  /// Loss weights are 1 / counted labels: the loss is their mean over the batch, as transformers computes it.
  /// The view lasts as long as this object.
  [[nodiscard]] MicroBatch batch() const;
  [[nodiscard]] double loss() const noexcept { return loss_; }
  [[nodiscard]] std::int64_t longest_row() const noexcept { return width_; }

  /// Reference logits of packed token `t`, [vocab_size].
  void logits(std::int64_t t, std::int64_t vocab_size, float* out) const;

  /// Names behind "grad.", in file order.
  [[nodiscard]] std::vector<std::string> gradient_names() const;
  /// Elements of the gradient of `name`, -1 where the file has none.
  [[nodiscard]] std::int64_t gradient_count(const std::string& name) const;
  void gradient(const std::string& name, std::int64_t begin, std::int64_t count, float* out) const;

 private:
  explicit ReferenceFile(SafetensorsFile file) : file_(std::move(file)) {}
  [[nodiscard]] std::int32_t require(const char* name) const;
  [[nodiscard]] std::vector<std::int64_t> integers(const char* name);
  void read_batch();
  void pack_row(std::int64_t row, const std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& mask,
                const std::vector<std::int64_t>& labels);

  SafetensorsFile file_;
  std::int64_t rows_ = 0;
  std::int64_t width_ = 0;
  std::int64_t tokens_ = 0;
  std::int32_t longest_segment_ = 0;
  double loss_ = 0.0;
  std::vector<std::int32_t> ids_, positions_, cu_seqlens_, targets_;
  std::vector<float> weights_;
  std::vector<std::int64_t> source_;  ///< packed token -> row * width + column
};

}  // namespace dstrain
