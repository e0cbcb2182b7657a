// SPDX-License-Identifier: Apache-2.0
/// Adapters of tables of rows (token and position embeddings), with PEFT's mathematics: lora_embedding_A and _B.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/adapters/lora.hpp"

namespace dstrain {

/// The adapter of one table [V, D]: a row's part is s * B A[:, id], with DoRA c * (W[id, :] + s * B A[:, id]) with
/// c = magnitude / || W^T + s B A || for each of the D columns. Nothing is dropped, as in PEFT. Empty where the table
/// has none.
class LookupLora {
 public:
  LookupLora() = default;
  LookupLora(const ModelLayout& layout, const TensorLayout& table);

  [[nodiscard]] bool empty() const noexcept { return !site_.has_value(); }

  /// y [T,D] holds the rows of the table; adds the adapter's part.
  void forward(const Exec& exec, Data y_TD, const std::int32_t* ids_T, std::int64_t T,
               const UnitWeights& weights) const;
  /// Writes or adds dA, dB and d(magnitude). Rows of dy from `tokens` on are zero.
  void backward(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient, ConstData dy_TD,
                const std::int32_t* ids_T, std::int64_t T, std::int64_t tokens) const;
  /// Zeros the adapter's gradients. For a unit whose gradient someone else opened for writing.
  void clear_gradient(const Exec& exec, const UnitGradient& gradient) const;

  /// Widens `sizes` to what this table needs.
  void measure(AdapterSizes& sizes) const;
  /// Appends every product of a pass over T rows.
  void products(std::vector<AdapterProduct>& list, std::int64_t T, bool train) const;

 private:
  void make_rows(const Exec& exec, const std::int32_t* ids_T, std::int64_t T, const UnitWeights& weights) const;
  void make_update(const Exec& exec, Data update, std::int64_t T, const UnitWeights& weights) const;
  [[nodiscard]] ConstData scaled_dy(const Exec& exec, ConstData dy, std::int64_t T, const UnitWeights& weights) const;
  void magnitude_gradient(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient, ConstData dy,
                          const std::int32_t* ids_T, std::int64_t T) const;

  std::int64_t V_ = 0;
  std::int64_t D_ = 0;
  std::optional<LoraSite> site_;
};

}  // namespace dstrain
