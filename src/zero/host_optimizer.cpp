// SPDX-License-Identifier: Apache-2.0
/// Offload: masters and states lie in host memory beside a GPU, and the CPU updates them. Ren et al., "ZeRO-Offload:
/// Democratizing Billion-Scale Model Training", arXiv:2101.06840.
#include <algorithm>
#include <vector>

#include "core/error.hpp"
#include "zero/slice_optimizer.hpp"

namespace dstrain {

namespace {

/// Elements of a piece: 16 MiB of gradients take longer to update than to bring, and blocks of 8-bit states stay whole.
constexpr std::int64_t piece_elements = std::int64_t{1} << 22;

/// Piece by piece: while the CPU updates one, the gradients of the next come down and the weights of the one before go
/// up, each on a stream of its own.
class HostOptimizer final : public SliceOptimizer {
 public:
  explicit HostOptimizer(const SliceOptimizerContext& context) : context_(context) {
    const OptimizerScratch& scratch = context.buffers().scratch;
    const View gradients = context.memory.view(scratch.offload_gradients);
    const View weights = context.memory.view(scratch.offload_weights);
    for (std::size_t i = 0; i < 2; ++i) {
      const auto at = static_cast<std::int64_t>(i);
      slots_[i].gradient = gradients.as<float>() + at * (gradients.count / 2);
      slots_[i].weights = Data{weights.data, weights.dtype}.at(at * (weights.count / 2));
    }
    for (std::size_t s = 0; s < context.owned.size(); ++s) {
      const OwnedSlice& slice = context.owned[s];
      if (slice.gradient == nullptr) continue;  // frozen
      for (std::int64_t begin = 0; begin < slice.count; begin += piece_elements)
        pieces_.push_back({s, begin, std::min(piece_elements, slice.count - begin)});
    }
  }

  void step(const StepParameters& p, const std::vector<TensorRates>& rates, const UnitsUpdated& updated) override {
    const Timeline& timeline = context_.timeline;
    order(timeline.compute(), timeline.down());
    order(timeline.compute(), timeline.up());
    // What went up in the step before was read from the masters, or is the memory that is written now.
    timeline.up().synchronize();
    int done = 0;  // units below it
    if (!pieces_.empty()) bring(0);
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      const OwnedSlice& slice = context_.owned[pieces_[i].slice];
      const int unit = context_.layout.tensors[static_cast<std::size_t>(slice.tensor)].unit;
      if (unit > done) {
        order(timeline.up(), timeline.compute());
        updated(unit - 1);
      }
      done = unit;
      slots_[i % 2].arrived.wait();
      if (i + 1 < pieces_.size()) bring(i + 1);
      update(i, p, rates[static_cast<std::size_t>(slice.tensor)]);
    }
    order(timeline.up(), timeline.compute());
  }

 private:
  struct Piece {
    std::size_t slice = 0;
    std::int64_t begin = 0;
    std::int64_t count = 0;
  };
  struct Slot {
    float* gradient = nullptr;
    Data weights;
    HostPoint arrived;  ///< its gradients are in host memory
    HostPoint left;     ///< its weights are on the GPU
  };

  void order(const Stream& earlier, const Stream& later) { context_.timeline.order(earlier, later); }

  void bring(std::size_t index) {
    const Piece& piece = pieces_[index];
    Slot& slot = slots_[index % 2];
    copy_bytes(context_.timeline.down(), slot.gradient, context_.owned[piece.slice].gradient + piece.begin,
               piece.count * static_cast<std::int64_t>(sizeof(float)));
    slot.arrived.record(context_.timeline.down());
  }

  void update(std::size_t index, const StepParameters& p, const TensorRates& rates) {
    const Piece& piece = pieces_[index];
    const OwnedSlice& slice = context_.owned[piece.slice];
    Slot& slot = slots_[index % 2];
    const DType compute = context_.buffers().options.compute;
    const Data weights = slice.weights.at(piece.begin);
    // The weights lie in host memory too, but for parts that every rank keeps whole.
    const int unit = context_.layout.tensors[static_cast<std::size_t>(slice.tensor)].unit;
    const bool in_place = context_.buffers().scheme.host_weights && !context_.memory.unit(unit).trainable().whole;
    UpdatePiece work{slice, piece.begin, piece.count, slot.gradient, {}};
    if (compute != DType::f32) work.copy = in_place ? weights : slot.weights;
    slot.left.wait();
    update_piece(on_host_, context_.buffers(), work, p, rates);
    const std::int64_t bytes = piece.count * static_cast<std::int64_t>(size_of(compute));
    const void* from = compute == DType::f32 ? slice.master + piece.begin : work.copy.data;
    if (in_place) {
      copy_bytes(Stream{}, weights.data, from, bytes);  // nothing where the update wrote it there
      return;
    }
    copy_bytes(context_.timeline.up(), weights.data, from, bytes);
    slot.left.record(context_.timeline.up());
  }

  SliceOptimizerContext context_;
  Exec on_host_;
  Slot slots_[2];
  std::vector<Piece> pieces_;
};

}  // namespace

std::unique_ptr<SliceOptimizer> make_host_optimizer(const SliceOptimizerContext& context) {
  return std::make_unique<HostOptimizer>(context);
}

void plan_host_optimizer(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& /*layout*/) {
  for (const TensorUpdate& update : z.updates) {
    if (update.kind == TensorUpdate::Kind::elementwise || update.kind == TensorUpdate::Kind::quantised) continue;
    throw ConfigError(
        "offload_optimizer: the CPU updates f32 masters element by element, and this optimizer has none or "
        "needs all of a matrix at once",
        "offload_optimizer", "use optim: adamw_torch without pure_bf16, or leave the states on the GPU");
  }
  std::int64_t largest = 0;
  for (const UnitPlace& unit : z.units) {
    const Partition& slices = unit.trainable().slices;
    largest = std::max(largest, z.scheme.sharded_state ? slices.shard : slices.padded);
  }
  const std::int64_t count = 2 * std::min(piece_elements, largest);
  // What goes up is read while the next step begins: these share bytes with nothing.
  z.scratch.offload_gradients =
      plan.add("optimizer/offload_gradients", count, DType::f32, phase_always, plan.host_visible());
  const bool copies = z.options.compute != DType::f32 && (!z.scheme.host_weights || z.rows.weights_whole > 0);
  z.scratch.offload_weights =
      plan.add("optimizer/offload_weights", copies ? count : 0, z.options.compute, phase_always, plan.host_visible());
}

}  // namespace dstrain
