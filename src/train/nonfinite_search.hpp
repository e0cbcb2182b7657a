// SPDX-License-Identifier: Apache-2.0
/// Where NaN and infinity come from: the micro-batches of a step once more, every number looked at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "model/layout.hpp"
#include "model/parameter_store.hpp"
#include "train/nonfinite_finding.hpp"

namespace dstrain {

/// A store that looks at everything that passes through it: weights as they are acquired, each unit's own gradient
/// before it meets those of other ranks. For the second run of a step that was not finite; training never pays for it.
class NonfiniteSearch final : public ParameterStore {
 public:
  /// Both must outlive this object.
  NonfiniteSearch(const ModelLayout& layout, ParameterStore& store);

  /// @param computes  false: this rank has no slot in this micro step, what its buffers hold goes nowhere
  void begin_micro_step(int index, bool computes);
  /// The loss of this rank's micro-batch.
  void look_at_loss(double loss);

  UnitWeights acquire(int unit, const Stream& stream) override;
  void prefetch(int unit, const Stream& stream) override { store_.prefetch(unit, stream); }
  void release(int unit, const Stream& stream) override { store_.release(unit, stream); }
  UnitGradient gradient(int unit, const Stream& stream) override;
  void gradient_ready(int unit, const Stream& stream) override;

  /// What all ranks found together: weights before losses before gradients, each rank's first one. Collective.
  [[nodiscard]] NonfiniteFinding gather(Communicator& comm) const;

 private:
  const ModelLayout& layout_;
  ParameterStore& store_;
  int micro_step_ = 0;
  bool computes_ = false;
  std::vector<bool> seen_;               ///< units whose weights were looked at
  std::vector<UnitGradient> gradients_;  ///< open ones
  std::string parameter_, loss_, gradient_;
};

/// Index of the first element that is NaN or infinite, -1 where all are finite. f32, bf16 and f16, in host memory.
/// Local.
std::int64_t first_nonfinite(ConstData values, std::int64_t count) noexcept;

}  // namespace dstrain
