// SPDX-License-Identifier: Apache-2.0
#include "train/grown_vocab.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/rng.hpp"
#include "data/dataset.hpp"
#include "data/tokenizers/saved_tokens.hpp"
#include "model/families/family.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t row_step = 64;  // LLaMA-Factory's pad_to_multiple_of
constexpr std::int64_t piece_elements = 1 << 20;

/// Tables of tokens get rows behind those of the file.
class GrownTables final : public WeightSource {
 public:
  GrownTables(std::unique_ptr<WeightSource> below, const std::vector<std::string>& tables, std::int64_t rows,
              const VocabGrowth& growth)
      : below_(std::move(below)), stored_rows_(growth.stored_rows), seed_(growth.seed), tensors_(below_->tensors()) {
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      const bool is_table = std::find(tables.begin(), tables.end(), tensors_[t].name) != tables.end();
      if (!is_table || tensors_[t].shape.size() != 2 || tensors_[t].shape[0] != stored_rows_) continue;
      tensors_[t].shape[0] = rows;
      means_.emplace(static_cast<std::int32_t>(t), std::vector<float>());
    }
  }

  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  [[nodiscard]] std::string where() const override { return below_->where(); }

  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override {
    const auto grown = means_.find(tensor);
    if (grown == means_.end()) return below_->read(tensor, begin, count, to);
    const std::int64_t width = tensors_[static_cast<std::size_t>(tensor)].shape[1];
    const std::int64_t stored = stored_rows_ * width;
    const std::int64_t old = std::clamp<std::int64_t>(stored - begin, 0, count);
    if (old > 0) below_->read(tensor, begin, old, to);
    if (old == count) return;
    if (grown->second.empty()) grown->second = mean_row(tensor, width);
    const float deviation = 1.0F / std::sqrt(static_cast<float>(width));
    const Rng noise(seed_, RngSite::new_tokens, 0, static_cast<std::uint32_t>(tensor));
    for (std::int64_t i = begin + old; i < begin + count; ++i) {
      const auto at = static_cast<std::uint64_t>(i - stored);
      to[i - begin] = grown->second[static_cast<std::size_t>(i % width)] + deviation * noise.normal(at);
    }
  }

 private:
  [[nodiscard]] std::vector<float> mean_row(std::int32_t tensor, std::int64_t width) const {
    const std::int64_t rows_at_once = std::max<std::int64_t>(1, piece_elements / width);
    std::vector<float> piece(static_cast<std::size_t>(rows_at_once * width));
    std::vector<double> sum(static_cast<std::size_t>(width), 0.0);
    for (std::int64_t row = 0; row < stored_rows_; row += rows_at_once) {
      const std::int64_t rows = std::min(rows_at_once, stored_rows_ - row);
      below_->read(tensor, row * width, rows * width, piece.data());
      for (std::int64_t i = 0; i < rows * width; ++i)
        sum[static_cast<std::size_t>(i % width)] += piece[static_cast<std::size_t>(i)];
    }
    std::vector<float> mean(sum.size());
    std::transform(sum.begin(), sum.end(), mean.begin(),
                   [&](double s) { return static_cast<float>(s / static_cast<double>(stored_rows_)); });
    return mean;
  }

  std::unique_ptr<WeightSource> below_;
  std::int64_t stored_rows_;
  std::uint64_t seed_;
  std::vector<TensorInfo> tensors_;
  mutable std::map<std::int32_t, std::vector<float>> means_;  ///< by table that grew; empty: not read yet
};

TokenizerFiles files_of(const HfFolder& folder) {
  TokenizerFiles files;
  for (const NamedFile& file : folder.tokenizer_files) files[file.name] = file.bytes;
  return files;
}

}  // namespace

void set_vocab_size(ModelSpec& spec, std::int64_t rows) {
  if (spec.normalised_head) {
    throw ConfigError("Current model does not support resizing embedding layers.", "resize_vocab",
                      "its head keeps rows of length one, which a plain new row is not");
  }
  auto config = nlohmann::ordered_json::parse(spec.config_json);
  config["vocab_size"] = rows;
  if (config.contains("padded_vocab_size")) config["padded_vocab_size"] = rows;  // ChatGLM's own name
  spec = parse_model_spec(config.dump(2), "config.json with a larger vocabulary");
}

VocabGrowth grow_vocab(ModelSpec& spec, const Tokenizer& tokenizer, std::uint64_t seed) {
  const std::int64_t stored = spec.vocab_size;
  if (tokenizer.vocab_size() <= stored) return {};
  set_vocab_size(spec, (tokenizer.vocab_size() + row_step - 1) / row_step * row_step);
  log::info("Resized token embeddings from {} to {}.", stored, spec.vocab_size);
  return {.stored_rows = stored, .seed = seed};
}

VocabGrowth resize_vocab(const RunConfig& config, const std::filesystem::path& folder, ModelSpec& spec,
                         HfFolder& files) {
  if (!config.resize_vocab) return {};
  if (folder.empty()) {
    throw ConfigError(
        fmt::format("'{}' has no tokenizer that says how large the vocabulary becomes", config.model_name_or_path),
        "resize_vocab", "give a model folder with tokenizer files");
  }
  const Tokenizer tokenizer =
      prepared_tokenizer(dataset_options(config), read_tokenizer_files(folder), tokenizer_options(config));
  const VocabGrowth growth = grow_vocab(spec, tokenizer, static_cast<std::uint64_t>(config.seed));
  files.config_json = spec.config_json;
  TokenizerFiles saved = files_of(files);
  add_saved_tokens(saved, tokenizer.changed_tokens());
  files.tokenizer_files.clear();
  for (auto& [name, bytes] : saved) files.tokenizer_files.push_back({name, std::move(bytes)});
  return growth;
}

std::unique_ptr<WeightSource> with_more_rows(std::unique_ptr<WeightSource> below, const ModelSpec& spec,
                                             const VocabGrowth& growth) {
  if (growth.stored_rows == 0) return below;
  const FamilyNames& names = spec.family->names;
  return std::make_unique<GrownTables>(
      std::move(below), std::vector{std::string(names.embedding) + ".weight", std::string(names.head) + ".weight"},
      spec.vocab_size, growth);
}

}  // namespace dstrain
