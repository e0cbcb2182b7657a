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
#include "model/adapters/adapter_names.hpp"
#include "model/adapters/module_patterns.hpp"
#include "model/adapters/pissa.hpp"
#include "train/engine_state.hpp"

namespace dstrain {

namespace {

/// What one adapter does to one tensor of `rows` x `columns` as it is stored: scale * left right. Left is B and right
/// A, or where the tensor is stored [in, out] (GPT-2's matrices, tables of rows) A and B, transposed.
struct LowRankUpdate {
  std::vector<float> left;       ///< [rows, rank]
  std::vector<float> right;      ///< [rank, columns]
  std::vector<float> magnitude;  ///< [out], empty without DoRA
  std::int64_t rank = 0;
  std::int64_t columns = 0;
  float scale = 1.0F;
  bool transposed = false;
  bool lookup = false;

  LowRankUpdate with_factors(const std::vector<float>& a, const std::vector<float>& b, std::int64_t out,
                             std::int64_t in) && {
    left = transposed ? dstrain::transposed(a, rank, in) : b;
    right = transposed ? dstrain::transposed(b, out, rank) : a;
    columns = transposed ? out : in;
    return std::move(*this);
  }

  /// values (elements [begin, begin + count) of the tensor) += sign * scale * left right
  void add_to(float* values, std::int64_t begin, std::int64_t count, float sign) const {
    const std::int64_t first_row = begin / columns;
    const std::int64_t rows = (begin + count - 1) / columns - first_row + 1;
    parallel_for(rows, 1, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t row = first_row + from; row < first_row + to; ++row) {
        const std::int64_t start = std::max(begin, row * columns);
        const std::int64_t end = std::min(begin + count, (row + 1) * columns);
        std::vector<float> sum(static_cast<std::size_t>(end - start), 0.0F);
        for (std::int64_t r = 0; r < rank; ++r) {
          const float factor = left[static_cast<std::size_t>(row * rank + r)];
          const float* source = right.data() + r * columns + (start - row * columns);
          for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += factor * source[i];
        }
        for (std::size_t i = 0; i < sum.size(); ++i)
          values[start - begin + static_cast<std::int64_t>(i)] += sign * scale * sum[i];
      }
    });
  }

  /// The output that element `at` belongs to.
  [[nodiscard]] std::size_t output_of(std::int64_t at) const {
    return static_cast<std::size_t>(transposed ? at % columns : at / columns);
  }
};

class MergedWeights final : public WeightSource {
 public:
  MergedWeights(std::unique_ptr<WeightSource> below, AdapterFolder adapter, const ModelLayout& layout)
      : below_(std::move(below)), adapter_(std::move(adapter)) {
    std::size_t used = 0;
    for (std::size_t t = 0; t < below_->tensors().size(); ++t) {
      const TensorInfo& tensor = below_->tensors()[t];
      const auto index = static_cast<std::int32_t>(t);
      if (const std::int32_t own = adapter_.find(tensor.name); own >= 0) {
        check_shape(tensor, adapter_.tensors()[static_cast<std::size_t>(own)].shape);
        replaced_[index] = own;
        ++used;
      }
      const std::string module = module_of(tensor.name);
      const bool lookup = adapter_.find(module + lookup_a_suffix) >= 0;
      if (tensor.shape.size() != 2 || (!lookup && adapter_.find(module + a_suffix) < 0)) continue;
      const std::int32_t place = layout.find(tensor.name);
      const bool transposed = place >= 0 && layout.tensors[static_cast<std::size_t>(place)].transposed;
      updates_.emplace(index, read_update(tensor, lookup, lookup || transposed));
      used += updates_.at(index).magnitude.empty() ? 2 : 3;
    }
    if (used == adapter_.tensors().size()) return;
    for (const TensorInfo& tensor : adapter_.tensors()) {
      const std::string module = module_of(module_of(tensor.name));
      const bool fits = std::any_of(below_->tensors().begin(), below_->tensors().end(), [&](const TensorInfo& t) {
        return t.name == tensor.name || t.name == module + ".weight" || t.name == module_of(tensor.name) + ".weight";
      });
      // Beside an adapted table PEFT keeps the head too, also where it is the same matrix.
      if (!fits && tensor.name != "lm_head.weight")
        throw IoError(fmt::format("\"{}\" fits no tensor of the model", peft_name(tensor.name)), adapter_.where(),
                      "is the adapter of another model?");
    }
  }

  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return below_->tensors(); }
  [[nodiscard]] std::string where() const override { return below_->where(); }

  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override {
    read_base(tensor, begin, count, to);
    const auto at = updates_.find(tensor);
    if (at == updates_.end()) return;
    const LowRankUpdate& update = at->second;
    if (starts_from_pissa(update)) initial_of(tensor, update).add_to(to, begin, count, -1.0F);
    update.add_to(to, begin, count, 1.0F);
    if (update.magnitude.empty()) return;
    const std::vector<float>& norms = norms_of(tensor, update);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::size_t output = update.output_of(begin + i);
      to[i] *= update.magnitude[output] / norms[output];
    }
  }

 private:
  void check_shape(const TensorInfo& tensor, const std::vector<std::int64_t>& shape) const {
    if (tensor.shape == shape) return;
    throw IoError(fmt::format("\"{}\" is {}, the model's is {}", peft_name(tensor.name), shape_text(shape),
                              shape_text(tensor.shape)),
                  adapter_.where(), "is the adapter of another model?");
  }

  /// The tensor without the adapter: PEFT keeps a copy of adapted tables beside their adapters.
  void read_base(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const {
    const auto own = replaced_.find(tensor);
    if (own != replaced_.end()) {
      adapter_.read(own->second, begin, count, to);
    } else {
      below_->read(tensor, begin, count, to);
    }
  }

  [[nodiscard]] bool starts_from_pissa(const LowRankUpdate& update) const {
    return adapter_.config().starts_from_pissa() && !update.lookup;
  }

  [[nodiscard]] LowRankUpdate read_update(const TensorInfo& tensor, bool lookup, bool transposed) const {
    const std::string module = module_of(tensor.name);
    const std::int64_t out = tensor.shape[transposed ? 1 : 0];
    const std::int64_t in = tensor.shape[transposed ? 0 : 1];
    LowRankUpdate update;
    update.rank = adapter_.config().rank_of(module);
    update.scale = static_cast<float>(adapter_.config().scale_of(module));
    update.transposed = transposed;
    update.lookup = lookup;
    const auto values = [&](const char* suffix, std::vector<std::int64_t> shape) {
      const std::string name = module + suffix;
      std::vector<float> read = adapter_.values(name);
      check_shape({name, std::move(shape)}, adapter_.tensors()[static_cast<std::size_t>(adapter_.find(name))].shape);
      return read;
    };
    if (adapter_.config().use_dora) update.magnitude = values(magnitude_suffix, {out});
    const auto a = values(lookup ? lookup_a_suffix : a_suffix, {update.rank, in});
    const auto b = values(lookup ? lookup_b_suffix : b_suffix, {out, update.rank});
    return std::move(update).with_factors(a, b, out, in);
  }

  [[nodiscard]] std::vector<float> whole(std::int32_t tensor) const {
    std::vector<float> values(static_cast<std::size_t>(tensors()[static_cast<std::size_t>(tensor)].count()));
    read_base(tensor, 0, static_cast<std::int64_t>(values.size()), values.data());
    return values;
  }

  /// What PiSSA took out of the matrix when the adapter was made: its weights are the rest.
  [[nodiscard]] const LowRankUpdate& initial_of(std::int32_t tensor, const LowRankUpdate& update) const {
    const auto known = initial_.find(tensor);
    if (known != initial_.end()) return known->second;
    const auto& shape = tensors()[static_cast<std::size_t>(tensor)].shape;
    const std::int64_t out = shape[update.transposed ? 1 : 0];
    const std::int64_t in = shape[update.transposed ? 0 : 1];
    std::vector<float> w = whole(tensor);
    if (update.transposed) w = transposed(w, in, out);
    const PissaFactors factors =
        pissa_factors(w, out, in, update.rank, update.scale, adapter_.config().pissa_iterations(), 0);
    LowRankUpdate initial;
    initial.rank = update.rank;
    initial.scale = update.scale;
    initial.transposed = update.transposed;
    return initial_.emplace(tensor, std::move(initial).with_factors(factors.a, factors.b, out, in)).first->second;
  }

  /// Norms of W + s B A for each output. Pieces of a tensor come one after the other: those of the last one are kept.
  [[nodiscard]] const std::vector<float>& norms_of(std::int32_t tensor, const LowRankUpdate& update) const {
    if (norms_tensor_ == tensor) return norms_;
    std::vector<float> values = whole(tensor);
    const auto count = static_cast<std::int64_t>(values.size());
    if (starts_from_pissa(update)) initial_of(tensor, update).add_to(values.data(), 0, count, -1.0F);
    update.add_to(values.data(), 0, count, 1.0F);
    std::vector<double> squares(update.magnitude.size(), 0.0);
    for (std::int64_t i = 0; i < count; ++i) {
      const double v = values[static_cast<std::size_t>(i)];
      squares[update.output_of(i)] += v * v;
    }
    norms_.resize(squares.size());
    std::transform(squares.begin(), squares.end(), norms_.begin(),
                   [](double sum) { return static_cast<float>(std::sqrt(sum)); });
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

std::unique_ptr<WeightSource> merge_adapter(std::unique_ptr<WeightSource> below, AdapterFolder adapter,
                                            const ModelLayout& layout) {
  return std::make_unique<MergedWeights>(std::move(below), std::move(adapter), layout);
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
                                          const ModelSpec& tuned, const std::vector<std::filesystem::path>& adapters,
                                          const VocabGrowth& growth) {
  const ModelLayout layout = make_layout(spec);
  std::unique_ptr<WeightSource> source = with_more_rows(open_weights(folder, base_prefix_of(layout)), spec, growth);
  if (spec.tie_word_embeddings && !tuned.tie_word_embeddings) {
    source = with_own_head(std::move(source), layout.tensors.front().name, head_matrix_name(tuned));
  }
  for (const auto& adapter : adapters) source = merge_adapter(std::move(source), AdapterFolder::open(adapter), layout);
  if (!adapters.empty()) log::info("Merged {} adapter(s).", adapters.size());
  return source;
}

}  // namespace dstrain
