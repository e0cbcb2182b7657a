// SPDX-License-Identifier: Apache-2.0
/// Low-rank adapters inside a linear layer: LoRA (Hu et al., arXiv:2106.09685), rsLoRA and DoRA (Liu et al.,
/// arXiv:2402.09353), with PEFT's mathematics.
///
/// A fused layer (q k v; gate up) has one adapter for each matrix that is adapted; each changes its own columns of y.
/// T rows, R the ranks of all adapters of a layer together.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/ops/adapter.hpp"
#include "kernels/ops/matmul.hpp"
#include "model/layout.hpp"
#include "model/parameter_store.hpp"

namespace dstrain {

/// One product that adapters will ask for.
struct AdapterProduct {
  MatmulShape shape;
  bool f32_output = false;  ///< a gradient; else of the dtype of the activations
  bool accumulate = false;
};

/// What the adapters of a model ask of the memory plan.
struct AdapterSizes {
  std::int64_t rows = 0;     ///< largest R
  std::int64_t input = 0;    ///< widest adapted x where dropout needs a copy of it
  std::int64_t update = 0;   ///< widest thing that is made apart and then added
  std::int64_t scaled = 0;   ///< DoRA: widest dy
  std::int64_t columns = 0;  ///< DoRA: columns of all adapters together
  std::int64_t adapters = 0;
};

/// Memory and keys of one pass; the decoder owns it, UnitWeights point to it. No results stay in it between layers but
/// DoRA's factors, which are kept as long as the weights do not change.
struct AdapterPass {
  Data rows_TR;       ///< scale * dropout(x) A^T
  Data gradients_TR;  ///< its gradient, times scale
  Data input;         ///< dropout(x) of one adapter
  Data update;        ///< a product on its way to y or dx; as wide as f32, used in the dtype of what it is added to
  Data scaled;        ///< DoRA: dy times the factors
  float* factors = nullptr;             ///< DoRA: magnitude / norm of each column of each adapter
  float* shifted = nullptr;             ///< DoRA: factors - 1
  float* inverse_norms = nullptr;       ///< DoRA: 1 / norm
  std::vector<std::uint64_t> versions;  ///< DoRA: of the weights that the factors were made from, by adapter
  bool active = true;                   ///< false: the base model alone (a reference model)
  bool training = false;                ///< dropout is on
  std::uint64_t seed = 0;
  std::uint32_t sample = 0;  ///< number of the slot in the run
};

/// One adapter of a layer.
struct LoraSite {
  const TensorLayout* weight = nullptr;
  const TensorLayout* a = nullptr;
  const TensorLayout* b = nullptr;
  const TensorLayout* magnitude = nullptr;  ///< null: no DoRA
  std::int64_t first = 0;                   ///< its first column of y
  std::int64_t out = 0;
  std::int64_t rank = 0;
  std::int64_t rank_at = 0;  ///< its first column of R
  float scale = 1.0F;
  float dropout = 0.0F;
  std::uint32_t number = 0;    ///< in the model: key of its dropout
  std::int64_t column_at = 0;  ///< DoRA: its first factor
  bool transposed = false;     ///< the matrix is stored [in, out]
};

/// The adapter on `weight` with its place among DoRA's factors, or nothing. Its first columns are left at zero.
/// @param lookup  of its look-ups; else of its products (the matrix of a tied head is a table too)
std::optional<LoraSite> find_site(const ModelLayout& layout, const TensorLayout& weight, bool lookup);

/// DoRA's factors of one adapter, made once for each version of the weights. Local.
void refresh_factors(const Exec& exec, const LoraSite& site, std::int64_t in, const UnitWeights& weights);

/// Rows of one call: `first_row` counts from the start of the micro-batch (keys of dropout).
struct LoraRows {
  std::int64_t T = 0;
  std::int64_t first_row = 0;
};

/// The adapters of one linear layer; empty where it has none.
class LinearLora {
 public:
  LinearLora() = default;
  /// Adapters of the fused matrices that start with `weight` and give `out` columns from `in`.
  LinearLora(const ModelLayout& layout, const TensorLayout& weight, std::int64_t in, std::int64_t out);

  [[nodiscard]] bool empty() const noexcept { return sites_.empty(); }

  /// y [T,out] holds x W^T without bias; adds the adapters' part to it.
  void forward(const Exec& exec, Data y, ConstData x, LoraRows rows, const UnitWeights& weights) const;
  /// Writes or adds dA, dB and d(magnitude).
  void weight_gradient(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient, ConstData dy,
                       ConstData x, LoraRows rows) const;
  /// What the base matrix's input gradient starts from: dy, with DoRA times c. Valid until the next call.
  [[nodiscard]] ConstData base_dy(const Exec& exec, ConstData dy, std::int64_t T, const UnitWeights& weights) const;
  /// Adds the adapters' part to dx. dx may be the memory of x.
  void add_input_gradient(const Exec& exec, Data dx, ConstData dy, LoraRows rows, const UnitWeights& weights) const;

  /// Widens `sizes` to what this layer needs. @param narrow  activations are bf16
  void measure(AdapterSizes& sizes, bool narrow) const;
  /// Appends every product of a pass over T rows.
  void products(std::vector<AdapterProduct>& list, std::int64_t T, bool f32_output, bool train) const;

 private:
  void scale_rows(const Exec& exec, Data x_TR, std::int64_t T) const;
  void make_rows(const Exec& exec, ConstData x, LoraRows rows, const UnitWeights& weights) const;
  void make_row_gradients(const Exec& exec, ConstData dy, std::int64_t T, const UnitWeights& weights) const;
  void make_update(const Exec& exec, const LoraSite& s, Data update, std::int64_t T, const UnitWeights& weights) const;
  void add_update(const Exec& exec, const LoraSite& s, Data y, std::int64_t T, const UnitWeights& weights) const;
  void forward_dora(const Exec& exec, const LoraSite& s, Data y, ConstData x, LoraRows rows,
                    const UnitWeights& weights) const;
  void a_gradients(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient, ConstData x,
                   LoraRows rows) const;
  void magnitude_gradient(const Exec& exec, const LoraSite& s, const UnitWeights& weights, const UnitGradient& gradient,
                          ConstData dy, ConstData x, LoraRows rows) const;
  void add_through(const Exec& exec, const LoraSite& first, std::int64_t rank, Data dx, LoraRows rows,
                   const UnitWeights& weights) const;
  void add_dropped_dora(const Exec& exec, const LoraSite& s, Data dx, ConstData dy, LoraRows rows,
                        const UnitWeights& weights) const;
  void refresh_factors(const Exec& exec, const UnitWeights& weights) const;
  [[nodiscard]] ConstData scaled_dy(const Exec& exec, ConstData dy, std::int64_t T, const UnitWeights& weights) const;
  [[nodiscard]] ConstData input_of(const Exec& exec, const LoraSite& s, ConstData x, LoraRows rows,
                                   const AdapterPass& pass) const;
  [[nodiscard]] bool drops(const AdapterPass& pass) const noexcept;
  [[nodiscard]] bool side_by_side(const AdapterPass& pass) const noexcept;

  std::int64_t in_ = 0;
  std::int64_t out_ = 0;
  std::int64_t R_ = 0;
  bool dora_ = false;
  bool adjacent_ = false;  ///< all A lie behind each other: one product where no dropout makes their inputs differ
  std::vector<LoraSite> sites_;
};

/// The pass that `weights` carry. @throws Error  a layer with adapters was called without one: a bug in the caller
AdapterPass& pass_of(const UnitWeights& weights);

}  // namespace dstrain
