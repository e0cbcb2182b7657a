// SPDX-License-Identifier: Apache-2.0
#include "io/weights/open.hpp"

#include <algorithm>
#include <utility>

#include "io/safetensors/model.hpp"
#include "io/torch/model.hpp"

namespace dstrain {

namespace {

/// A source whose names get something in front.
class PrefixedWeights final : public WeightSource {
 public:
  PrefixedWeights(std::unique_ptr<WeightSource> source, const std::string& prefix)
      : source_(std::move(source)), tensors_(source_->tensors()) {
    for (TensorInfo& tensor : tensors_) {
      if (tensor.name != "lm_head.weight") tensor.name.insert(0, prefix);  // the head is no part of the base model
    }
  }
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override {
    source_->read(tensor, begin, count, to);
  }
  [[nodiscard]] std::string where() const override { return source_->where(); }

 private:
  std::unique_ptr<WeightSource> source_;
  std::vector<TensorInfo> tensors_;
};

bool has_safetensors(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "model.safetensors") ||
         std::filesystem::exists(folder / "model.safetensors.index.json");
}

}  // namespace

bool holds_weights(const std::filesystem::path& folder) {
  return has_safetensors(folder) || TorchModel::exists(folder);
}

std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& folder, const std::string& base_prefix) {
  std::unique_ptr<WeightSource> source;
  if (!has_safetensors(folder) && TorchModel::exists(folder)) {
    source = std::make_unique<TorchModel>(TorchModel::open(folder));
  } else {
    source = std::make_unique<SafetensorsModel>(SafetensorsModel::open(folder));
  }
  const auto& tensors = source->tensors();
  const bool whole = base_prefix.empty() || std::any_of(tensors.begin(), tensors.end(), [&](const TensorInfo& t) {
                       return t.name.starts_with(base_prefix);
                     });
  return whole ? std::move(source) : std::make_unique<PrefixedWeights>(std::move(source), base_prefix);
}

bool is_computed_buffer(const std::string& name) noexcept {
  // Frequencies of rotary positions; GPT-2's causal mask and the value it masks with.
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with("rotary_pos_emb.inv_freq") ||
         name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
}

}  // namespace dstrain
