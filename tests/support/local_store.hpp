// SPDX-License-Identifier: Apache-2.0
/// A ParameterStore of one process that keeps everything, notes every call and checks that the calls are allowed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/parameter_store.hpp"

namespace dstrain::test {

class LocalParameterStore final : public ParameterStore {
 public:
  /// Weights are zero; gradients are NaN, so that an element nobody writes shows.
  LocalParameterStore(const ModelLayout& layout, DType dtype);

  UnitWeights acquire(int unit, const Stream& stream) override;
  void prefetch(int unit, const Stream& stream) override;
  void release(int unit, const Stream& stream) override;
  UnitGradient gradient(int unit, const Stream& stream) override;
  void gradient_ready(int unit, const Stream& stream) override;

  /// `value(tensor, out)` gives each tensor's f32 values.
  void fill(const std::function<void(const TensorLayout& tensor, float* out)>& value);
  /// Starts a micro step. `accumulate`: gradients are added to what is there.
  void begin_micro_step(bool accumulate = false);
  /// The weights of `tensor` as they were filled; f32 stores only.
  [[nodiscard]] const float* weights_of(const TensorLayout& tensor) const;
  [[nodiscard]] const float* gradient_of(const TensorLayout& tensor) const;
  [[nodiscard]] const std::vector<std::string>& calls() const noexcept { return calls_; }
  void forget_calls() { calls_.clear(); }
  /// True where every acquire has its release and every opened gradient was declared ready.
  [[nodiscard]] bool at_rest() const;

 private:
  struct Unit {
    std::vector<char> weights[part_kinds];
    std::vector<float> gradient;
    int holds = 0;
    bool open = false;  ///< gradient() was called in this micro step
    bool ready = false;
  };
  Unit& unit_at(int unit);

  const ModelLayout& layout_;
  DType dtype_;
  std::vector<Unit> units_;
  std::vector<std::string> calls_;
  bool accumulate_ = false;
};

}  // namespace dstrain::test
