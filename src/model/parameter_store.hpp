// SPDX-License-Identifier: Apache-2.0
/// How layers get weights and hand back gradients without knowing who holds what. Implemented per ZeRO stage in zero/.
#pragma once

#include <array>
#include <cstdint>

#include "core/device.hpp"
#include "kernels/ops/common.hpp"
#include "model/layout.hpp"

namespace dstrain {

struct AdapterPass;

/// The whole weights of one unit, readable until release().
struct UnitWeights {
  std::array<ConstData, part_kinds>
      parts;                        ///< flat buffers, indexed by PartKind; data is null for a part the unit has not
  std::uint64_t version = 0;        ///< changes whenever the values change (keys packed copies)
  AdapterPass* adapters = nullptr;  ///< memory for adapters; set by who runs the pass (model/adapters/lora.hpp)

  [[nodiscard]] ConstData of(const TensorLayout& tensor) const noexcept {
    return parts[static_cast<std::size_t>(tensor.part)].at(tensor.offset);
  }
};

/// The f32 gradient buffer of a unit's trainable part, open until gradient_ready().
struct UnitGradient {
  float* flat = nullptr;
  bool accumulate = false;  ///< true: kernels add to it; false: kernels write every element of every tensor they own

  [[nodiscard]] float* of(const TensorLayout& tensor) const noexcept { return flat + tensor.offset; }
};

/// Weights and gradients of the units of one model, in the order of ModelLayout::units.
///
/// Every rank makes the same calls in the same order (some are collective at some stages): for each unit on the way
/// forward acquire, release; on the way back acquire, gradient, gradient_ready, release. A unit may be acquired again
/// while it is held (the head's tied matrix): holds are counted.
class ParameterStore {
 public:
  virtual ~ParameterStore() = default;

  /// Makes unit `unit`'s weights readable on `stream`. Collective at stage 3.
  virtual UnitWeights acquire(int unit, const Stream& stream) = 0;
  /// Hint: `unit` is acquired next. Collective at stage 3 (same order on all ranks); does nothing when it is held or
  /// fetched.
  virtual void prefetch(int unit, const Stream& stream) = 0;
  virtual void release(int unit, const Stream& stream) = 0;

  /// Opens the gradient buffer of `unit` for this micro step. The first call of a micro step may ask for writing, later
  /// ones (a tied matrix) always ask for adding. Elements of tensors that get no gradient and gaps between tensors stay
  /// zero.
  virtual UnitGradient gradient(int unit, const Stream& stream) = 0;
  /// The gradient of `unit` is complete for this micro step. Collective where this stage reduces in each micro step.
  virtual void gradient_ready(int unit, const Stream& stream) = 0;
};

}  // namespace dstrain
