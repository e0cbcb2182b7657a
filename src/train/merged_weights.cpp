// SPDX-License-Identifier: Apache-2.0
#include "train/merged_weights.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/parallel.hpp"
#include "io/weights/open.hpp"
#include "model/adapters/module_patterns.hpp"
#include "model/adapters/pissa.hpp"
#include "train/engine_state.hpp"

namespace dstrain {

namespace {

/// What one adapter does to one matrix.
struct LowRankUpdate {
  std::vector<float> a;          ///< [rank, in]
  std::vector<float> b;          ///< [out, rank]
  std::vector<float> magnitude;  ///< [out], empty without DoRA
  std::int64_t rank = 0;
  float scale = 1.0F;

  /// values (elements [begin, begin + count) of [out, in]) += sign * scale * B A
  void add_to(float* values, std::int64_t begin, std::int64_t count, std::int64_t in, float sign) const {
    const std::int64_t first_row = begin / in;
    const std::int64_t rows = (begin + count - 1) / in - first_row + 1;
    parallel_for(rows, 1, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t row = first_row + from; row < first_row + to; ++row) {
        const std::int64_t start = std::max(begin, row * in);
        const std::int64_t end = std::min(begin + count, (row + 1) * in);
        std::vector<float> sum(static_cast<std::size_t>(end - start), 0.0F);
        for (std::int64_t r = 0; r < rank; ++r) {
          const float factor = b[static_cast<std::size_t>(row * rank + r)];
          const float* source = a.data() + r * in + (start - row * in);
          for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += factor * source[i];
        }
        for (std::size_t i = 0; i < sum.size(); ++i)
          values[start - begin + static_cast<std::int64_t>(i)] += sign * scale * sum[i];
      }
    });
  }
};

class MergedWeights final : public WeightSource {
 public:
  MergedWeights(std::unique_ptr<WeightSource> below, AdapterFolder adapter)
      : below_(std::move(below)), adapter_(std::move(adapter)) {
    std::size_t used = 0;
    for (std::size_t t = 0; t < below_->tensors().size(); ++t) {
      const TensorInfo& tensor = below_->tensors()[t];
      const auto index = static_cast<std::int32_t>(t);
      if (const std::int32_t own = adapter_.find(tensor.name); own >= 0) {
        check_shape(tensor, adapter_.tensors()[static_cast<std::size_t>(own)].shape);
        replaced_[index] = own;
        ++used;
      } else if (tensor.shape.size() == 2 && adapter_.find(module_of(tensor.name) + ".lora_A.weight") >= 0) {
        updates_.emplace(index, read_update(tensor));
        used += updates_.at(index).magnitude.empty() ? 2 : 3;
      }
    }
    if (used == adapter_.tensors().size()) return;
    for (const TensorInfo& tensor : adapter_.tensors()) {
      const std::string module = module_of(module_of(tensor.name));
      const bool fits = std::any_of(below_->tensors().begin(), below_->tensors().end(), [&](const TensorInfo& t) {
        return t.name == tensor.name || t.name == module + ".weight" || t.name == module_of(tensor.name) + ".weight";
      });
      if (!fits)
        throw IoError(fmt::format("\"{}\" fits no tensor of the model", peft_name(tensor.name)), adapter_.where(),
                      "is the adapter of another model?");
    }
  }

  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return below_->tensors(); }
  [[nodiscard]] std::string where() const override { return below_->where(); }

  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override {
    if (const auto own = replaced_.find(tensor); own != replaced_.end()) {
      adapter_.read(own->second, begin, count, to);
      return;
    }
    below_->read(tensor, begin, count, to);
    const auto at = updates_.find(tensor);
    if (at == updates_.end()) return;
    const LowRankUpdate& update = at->second;
    const std::int64_t in = tensors()[static_cast<std::size_t>(tensor)].shape[1];
    if (adapter_.config().starts_from_pissa()) initial_of(tensor, update).add_to(to, begin, count, in, -1.0F);
    update.add_to(to, begin, count, in, 1.0F);
    if (update.magnitude.empty()) return;
    const std::vector<float>& norms = norms_of(tensor, update);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto row = static_cast<std::size_t>((begin + i) / in);
      to[i] *= update.magnitude[row] / norms[row];
    }
  }

 private:
  void check_shape(const TensorInfo& tensor, const std::vector<std::int64_t>& shape) const {
    if (tensor.shape == shape) return;
    throw IoError(fmt::format("\"{}\" is {}, the model's is {}", peft_name(tensor.name), shape_text(shape),
                              shape_text(tensor.shape)),
                  adapter_.where(), "is the adapter of another model?");
  }

  [[nodiscard]] LowRankUpdate read_update(const TensorInfo& tensor) const {
    const std::string module = module_of(tensor.name);
    LowRankUpdate update;
    update.a = adapter_.values(module + ".lora_A.weight");
    update.b = adapter_.values(module + ".lora_B.weight");
    update.rank = adapter_.config().rank_of(module);
    update.scale = static_cast<float>(adapter_.config().scale_of(module));
    const auto shape_of = [&](const char* suffix) -> const std::vector<std::int64_t>& {
      return adapter_.tensors()[static_cast<std::size_t>(adapter_.find(module + suffix))].shape;
    };
    check_shape({module + ".lora_A.weight", {update.rank, tensor.shape[1]}}, shape_of(".lora_A.weight"));
    check_shape({module + ".lora_B.weight", {tensor.shape[0], update.rank}}, shape_of(".lora_B.weight"));
    if (!adapter_.config().use_dora) return update;
    update.magnitude = adapter_.values(module + ".lora_magnitude_vector");
    check_shape({module + ".lora_magnitude_vector", {tensor.shape[0]}}, shape_of(".lora_magnitude_vector"));
    return update;
  }

  [[nodiscard]] std::vector<float> whole(std::int32_t tensor) const {
    std::vector<float> values(static_cast<std::size_t>(tensors()[static_cast<std::size_t>(tensor)].count()));
    below_->read(tensor, 0, static_cast<std::int64_t>(values.size()), values.data());
    return values;
  }

  /// What PiSSA took out of the matrix when the adapter was made: its weights are the rest.
  [[nodiscard]] const LowRankUpdate& initial_of(std::int32_t tensor, const LowRankUpdate& update) const {
    const auto known = initial_.find(tensor);
    if (known != initial_.end()) return known->second;
    const auto& shape = tensors()[static_cast<std::size_t>(tensor)].shape;
    const PissaFactors factors = pissa_factors(whole(tensor), shape[0], shape[1], update.rank, update.scale,
                                               adapter_.config().pissa_iterations(), 0);
    LowRankUpdate initial;
    initial.a = factors.a;
    initial.b = factors.b;
    initial.rank = update.rank;
    initial.scale = update.scale;
    return initial_.emplace(tensor, std::move(initial)).first->second;
  }

  /// Norms of the rows of W + s B A. Pieces of a tensor come one after the other: those of the last one are kept.
  [[nodiscard]] const std::vector<float>& norms_of(std::int32_t tensor, const LowRankUpdate& update) const {
    if (norms_tensor_ == tensor) return norms_;
    std::vector<float> values = whole(tensor);
    const auto& shape = tensors()[static_cast<std::size_t>(tensor)].shape;
    const auto count = static_cast<std::int64_t>(values.size());
    if (adapter_.config().starts_from_pissa()) initial_of(tensor, update).add_to(values.data(), 0, count, shape[1], -1);
    update.add_to(values.data(), 0, count, shape[1], 1.0F);
    norms_.resize(static_cast<std::size_t>(shape[0]));
    for (std::int64_t row = 0; row < shape[0]; ++row) {
      double squares = 0.0;
      for (std::int64_t i = 0; i < shape[1]; ++i) {
        const double v = values[static_cast<std::size_t>(row * shape[1] + i)];
        squares += v * v;
      }
      norms_[static_cast<std::size_t>(row)] = static_cast<float>(std::sqrt(squares));
    }
    norms_tensor_ = tensor;
    return norms_;
  }

  std::unique_ptr<WeightSource> below_;
  AdapterFolder adapter_;
  std::map<std::int32_t, std::int32_t> replaced_;  ///< model tensor -> adapter tensor
  std::map<std::int32_t, LowRankUpdate> updates_;
  mutable std::map<std::int32_t, LowRankUpdate> initial_;
  mutable std::vector<float> norms_;
  mutable std::int32_t norms_tensor_ = -1;
};

class OwnHead final : public WeightSource {
 public:
  OwnHead(std::unique_ptr<WeightSource> below, std::int32_t embedding, const std::string& head_name)
      : below_(std::move(below)), embedding_(embedding), tensors_(below_->tensors()) {
    TensorInfo head = tensors_[static_cast<std::size_t>(embedding)];
    head.name = head_name;
    tensors_.push_back(std::move(head));
  }
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  [[nodiscard]] std::string where() const override { return below_->where(); }
  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override {
    const bool head = static_cast<std::size_t>(tensor) + 1 == tensors_.size();
    below_->read(head ? embedding_ : tensor, begin, count, to);
  }

 private:
  std::unique_ptr<WeightSource> below_;
  std::int32_t embedding_;
  std::vector<TensorInfo> tensors_;
};

std::int32_t find(const WeightSource& source, const std::string& name) {
  const auto& tensors = source.tensors();
  const auto at = std::find_if(tensors.begin(), tensors.end(), [&](const TensorInfo& t) { return t.name == name; });
  return at == tensors.end() ? -1 : static_cast<std::int32_t>(at - tensors.begin());
}

}  // namespace

std::unique_ptr<WeightSource> merge_adapter(std::unique_ptr<WeightSource> below, AdapterFolder adapter) {
  return std::make_unique<MergedWeights>(std::move(below), std::move(adapter));
}

std::unique_ptr<WeightSource> with_own_head(std::unique_ptr<WeightSource> below, const std::string& embedding_name,
                                            const std::string& head_name) {
  const std::int32_t embedding = find(*below, embedding_name);
  if (embedding < 0 || find(*below, head_name) >= 0) return below;
  return std::make_unique<OwnHead>(std::move(below), embedding, head_name);
}

std::string head_matrix_name(const ModelSpec& untied) {
  const ModelLayout layout = make_layout(untied);
  for (const std::int32_t index : layout.units.back().tensors) {
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
    if (tensor.shape.size() == 2) return tensor.name;
  }
  throw Error("an untied model has no matrix in its head");
}

std::unique_ptr<WeightSource> open_merged(const std::filesystem::path& folder, const ModelSpec& spec,
                                          const ModelSpec& tuned, const std::vector<std::filesystem::path>& adapters) {
  std::unique_ptr<WeightSource> source = open_weights(folder, base_prefix_of(make_layout(spec)));
  if (spec.tie_word_embeddings && !tuned.tie_word_embeddings) {
    source = with_own_head(std::move(source), make_layout(spec).tensors.front().name, head_matrix_name(tuned));
  }
  for (const auto& adapter : adapters) source = merge_adapter(std::move(source), AdapterFolder::open(adapter));
  if (!adapters.empty()) log::info("Merged {} adapter(s).", adapters.size());
  return source;
}

}  // namespace dstrain
