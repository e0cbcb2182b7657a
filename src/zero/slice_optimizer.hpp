// SPDX-License-Identifier: Apache-2.0
/// The optimizer step on the slices that a rank keeps. Private to src/zero.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "comm/communicator.hpp"
#include "zero/timeline.hpp"
#include "zero/zero_memory.hpp"

namespace dstrain {

/// What an optimizer works on. All of it outlives the optimizer.
struct SliceOptimizerContext {
  const ModelLayout& layout;
  const ZeroMemory& memory;
  Communicator& comm;
  const Exec& exec;
  const std::vector<OwnedSlice>& owned;
  Timeline& timeline;

  [[nodiscard]] const ZeroBuffers& buffers() const noexcept { return memory.buffers(); }
  /// Where the update of owned slice `index` writes besides the master; nowhere in f32.
  [[nodiscard]] Data compute_copy(std::size_t index) const {
    return buffers().scheme.master_copy ? owned[index].weights : Data{};
  }
};

/// Told a unit when it and all units below it have their new values, units ascending.
using UnitsUpdated = std::function<void(int unit)>;

class SliceOptimizer {
 public:
  SliceOptimizer() = default;
  SliceOptimizer(const SliceOptimizer&) = delete;
  SliceOptimizer& operator=(const SliceOptimizer&) = delete;
  virtual ~SliceOptimizer() = default;

  /// One update of every trainable slice. Collective where a tensor's update needs numbers of all its slices.
  /// @param updated  what is not said is true on return
  virtual void step(const StepParameters& p, const std::vector<TensorRates>& rates, const UnitsUpdated& updated) = 0;
};

std::unique_ptr<SliceOptimizer> make_slice_optimizer(const SliceOptimizerContext& context);

/// Enters what the optimizer works in besides its states. Pure arithmetic. @param z  units and updates are set
void plan_optimizer_scratch(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout);

/// The numbers of one tensor's update.
UpdateParameters update_parameters(const OptimizerSettings& settings, const StepParameters& p,
                                   const TensorRates& rates);

/// Updates owned slice `index` from its own numbers alone: elementwise rules and 8-bit states. Local.
void update_slice(const SliceOptimizerContext& context, std::size_t index, const StepParameters& p,
                  const TensorRates& rates);

/// Elements [begin, begin + count) of an owned slice for an update: `begin` is a multiple of a state's block.
struct UpdatePiece {
  const OwnedSlice& slice;
  std::int64_t begin = 0;
  std::int64_t count = 0;
  const float* gradient = nullptr;  ///< of the first element
  Data copy = {};                   ///< where its new weight goes beside the master; null: nowhere
};

/// The same for a piece, where `exec` runs. Local.
void update_piece(const Exec& exec, const ZeroBuffers& buffers, const UpdatePiece& piece, const StepParameters& p,
                  const TensorRates& rates);

// One per kind that needs more than that.
std::unique_ptr<SliceOptimizer> make_adafactor(const SliceOptimizerContext& context);
void plan_adafactor(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout);
std::unique_ptr<SliceOptimizer> make_lamb(const SliceOptimizerContext& context);
void plan_lamb(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout);
std::unique_ptr<SliceOptimizer> make_host_optimizer(const SliceOptimizerContext& context);
void plan_host_optimizer(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout);
std::unique_ptr<SliceOptimizer> make_muon(const SliceOptimizerContext& context);
void plan_muon(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout);

}  // namespace dstrain
