// SPDX-License-Identifier: Apache-2.0
/// ZeRO: who holds which slice of weights, gradients and optimizer states when.
/// Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", arXiv:1910.02054.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "core/memory_plan.hpp"
#include "kernels/ops/optimizer_settings.hpp"
#include "model/parameter_store.hpp"
#include "zero/optimizer_states.hpp"

namespace dstrain {

struct ZeroOptions {
  int stage = 0;               ///< 0 none, 1 optimizer states, 2 + gradients, 3 + parameters
  DType compute = DType::f32;  ///< of the weights that acquire() hands out; master weights are f32
  bool train = true;           ///< false: weights only (generate, compare without gradients)
  bool optimizer = true;       ///< false: gradients but no states of an optimizer (compare)
  OptimizerSettings optim = {};
  bool reproducible =
      false;  ///< reduce every micro step, add in slot order: the same bits for any number of ranks and stage
  std::int64_t reduce_bucket_size = 500'000'000;  ///< elements: gradients of consecutive units reduced in one call
  std::int64_t stage3_prefetch_bucket_size = 50'000'000;  ///< elements that may be gathered ahead
  bool offload_optimizer = false;  ///< on a GPU: masters and states in host memory, updated by the CPU
  bool offload_param = false;      ///< on a GPU at stage 3: the slices of the weights in host memory
};

struct ZeroBuffers;

/// Enters weights, gradients, optimizer states and staging of one rank. Pure arithmetic, any number of ranks.
std::shared_ptr<const ZeroBuffers> plan_zero(MemoryPlan& plan, const ModelLayout& layout, const ZeroOptions& options,
                                             int ranks);

/// Elements [begin, begin + count) of one optimizer state of a tensor.
struct StateSlice {
  StateSpec spec;  ///< without a name: no state
  std::int64_t begin = 0;
  std::int64_t count = 0;
  void* data = nullptr;
};

/// A flat range [begin, begin + count) of tensor `tensor` whose f32 state lies on this rank.
struct OwnedSlice {
  std::int32_t tensor = 0;  ///< index into ModelLayout::tensors
  std::int64_t begin = 0;
  std::int64_t count = 0;
  float* master = nullptr;    ///< null: kept in the compute dtype alone (frozen, or pure_bf16)
  float* gradient = nullptr;  ///< where the reduced gradient stands after reduce_gradients()
  std::array<StateSlice, most_states> states{};
  Data weights = {};  ///< in the compute dtype

  /// Where the values are filled in and read out: the masters, or the weights of what has none.
  [[nodiscard]] Data values() const noexcept { return master != nullptr ? Data{master, DType::f32} : weights; }

  /// The f32 state of that name, null where there is none. Local.
  [[nodiscard]] float* state(std::string_view name) const noexcept {
    for (const StateSlice& s : states) {
      if (s.spec.name != nullptr && name == s.spec.name && s.spec.dtype == DType::f32)
        return static_cast<float*>(s.data);
    }
    return nullptr;
  }
};

/// What the update of one tensor takes from the rates of a step.
struct TensorRates {
  double lr_factor = 1.0;     ///< times the step's learning rate (LoRA+: above 1 for the B matrices)
  double weight_decay = 0.0;  ///< 0 for tensors that do not decay
};

/// ParameterStore of every stage, and the sharded optimizer behind it.
///
/// One step: begin_step(); per micro step begin_micro_step(), forward and backward through the ParameterStore calls;
/// then reduce_gradients(), optimizer_step(). All collective.
class ZeroStore : public ParameterStore {
 public:
  /// Forgets the gradients. Before the first micro step of a step. Local.
  virtual void begin_step() = 0;
  /// @param contributors  ranks [0, contributors) have a slot in this micro step, the others run empty batches
  virtual void begin_micro_step(int contributors, bool last) = 0;
  /// Ends the step's reductions and returns the global L2 norm of the summed gradient (before clipping), the same on
  /// all ranks: sums of squares of the chunks added in chunk order. Collective.
  virtual double reduce_gradients() = 0;

  /// Whether the norm may stay on the GPU: queue_gradient_norm() then takes the place of reduce_gradients(). The same
  /// on all ranks. Local.
  [[nodiscard]] virtual bool queues_norm() const noexcept = 0;
  /// reduce_gradients() without waiting for the GPU: queues the norm and, out of it, the scale of the update
  /// (ops::update_scale). Collective.
  /// @param losses  of this rank's micro steps, `count` of them `ld` apart, in memory that kernels reach: where their
  ///                sum over all ranks is not finite the scale is NaN. Null: not looked at
  /// @return where the scale will stand, for StepParameters::gradient_scale_at
  virtual const double* queue_gradient_norm(const ScaleRule& rule, const double* losses, std::int64_t count,
                                            std::int64_t ld) = 0;
  /// Waits for the queued norm, and for nothing that was queued behind it, and returns it. Local.
  virtual double await_gradient_norm() = 0;
  /// Updates the owned slices, each tensor with its own rates. Then makes the new weights readable (stages 1, 2 gather
  /// them). Adafactor leaves its updates where the gradients were. Collective.
  /// @param p      gradient_scale = clip factor over loss scale
  /// @param rates  one per tensor of the layout
  virtual void optimizer_step(const StepParameters& p, const std::vector<TensorRates>& rates) = 0;

  /// Where the store's memory lies and its work is queued. Local.
  [[nodiscard]] virtual Stream stream() const noexcept = 0;
  /// Of weights in the compute dtype. Local.
  [[nodiscard]] virtual DType weight_dtype() const noexcept = 0;
  /// Of OwnedSlice::values() of what is trained: f32, or bf16 with pure_bf16. Local.
  [[nodiscard]] virtual DType trained_dtype() const noexcept = 0;
  /// The ranges whose state this rank keeps, by unit and offset: together over ranks every element once (stage 0: every
  /// rank keeps everything). Local.
  [[nodiscard]] virtual const std::vector<OwnedSlice>& owned() const noexcept = 0;
  /// The same ranges for any rank (pointers null): what streaming needs on all ranks. Local.
  [[nodiscard]] virtual std::vector<OwnedSlice> owned_by(int rank) const = 0;
  /// The ranges that `rank` writes into a checkpoint (pointers null): those it owns, but at stage 0 a share of them, so
  /// that all ranks write and none twice. Local.
  [[nodiscard]] virtual std::vector<OwnedSlice> written_by(int rank) const = 0;
  /// Calls f(unit, data, bytes) for memory that should hold the same bits on every rank: gathered weights, at stage 0
  /// masters and optimizer states too. The same calls with equal bytes on all ranks. Local.
  virtual void for_each_replica(const std::function<void(int unit, const void* data, std::int64_t bytes)>& f) const = 0;
  /// After values() were filled through owned(): rounds masters them to the compute dtype and gathers. Collective.
  virtual void weights_changed() = 0;
};

std::unique_ptr<ZeroStore> make_zero_store(const ModelLayout& layout, const ZeroOptions& options, Communicator& comm,
                                           const Arena& arena, std::shared_ptr<const ZeroBuffers> buffers,
                                           Device device);

}  // namespace dstrain
