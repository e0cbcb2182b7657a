// SPDX-License-Identifier: Apache-2.0
/// The store of every stage: what differs between them is decided by ZeroScheme, not by subclasses.
#include "zero/zero_store.hpp"

#include <optional>
#include <utility>

#include "core/error.hpp"
#include "kernels/ops/elementwise.hpp"
#include "zero/gathered_units.hpp"
#include "zero/gradient_norm.hpp"
#include "zero/gradients.hpp"
#include "zero/slice_optimizer.hpp"
#include "zero/slices.hpp"
#include "zero/timeline.hpp"

namespace dstrain {

namespace {

class ShardedStore final : public ZeroStore {
 public:
  ShardedStore(const ModelLayout& layout, Communicator& comm, const Arena& arena,
               std::shared_ptr<const ZeroBuffers> buffers, Device device)
      : layout_(layout),
        comm_(comm),
        buffers_(std::move(buffers)),
        timeline_(std::make_unique<Timeline>(device, comm.size() > 1,
                                             buffers_->scheme.host_states || buffers_->scheme.host_weights)),
        exec_{timeline_->compute()},
        memory_(buffers_, arena, comm.rank()),
        holds_(layout.units.size(), 0),
        group_of_(layout.units.size(), 0) {
    memory_.zero_state(exec_);
    if (buffers_->scheme.sharded_weights) gathered_.emplace(memory_, comm_, *timeline_);
    if (buffers_->options.train) {
      gradients_ = buffers_->scheme.reduce_each ? make_bucketed_gradients(layout, memory_, comm_, *timeline_)
                                                : make_accumulated_gradients(layout, memory_, comm_, *timeline_);
    }
    for (std::size_t g = 0; g < buffers_->groups.size(); ++g) {
      for (int u = buffers_->groups[g].first; u < buffers_->groups[g].last; ++u)
        group_of_[static_cast<std::size_t>(u)] = g;
      at_all_.push_back(timeline_->event());
    }
    owned_ = slices_in_memory(layout, memory_);
    gather_.reserve(layout.units.size() * part_kinds);
    if (buffers_->options.train && buffers_->options.optimizer)
      optimizer_ = make_slice_optimizer({layout, memory_, comm_, exec_, owned_, *timeline_});
    if (buffers_->scheme.queued_norm) norm_made_.emplace();
    updated_ = [this](int unit) { hand_out(unit); };
  }

  UnitWeights acquire(int unit, const Stream& stream) override {
    check_unit(unit);
    if (gathered_) gathered_->fetch(unit, holds_, here(stream));
    at_all_[group_of_[static_cast<std::size_t>(unit)]].make_wait(here(stream));
    ++holds_[static_cast<std::size_t>(unit)];
    UnitWeights weights;
    weights.version = version_;
    for (int kind = 0; kind < part_kinds; ++kind) {
      ConstData& part = weights.parts[static_cast<std::size_t>(kind)];
      part = ConstData(nullptr, buffers_->options.compute);
      if (memory_.unit(unit).weights[kind].part.count == 0) continue;
      part = gathered_ ? gathered_->part(unit, kind)
                       : ConstData(memory_.full_weights(unit, kind).data, buffers_->options.compute);
    }
    return weights;
  }

  void prefetch(int unit, const Stream& /*stream*/) override {
    check_unit(unit);
    if (gathered_) gathered_->prefetch(unit);
  }

  void release(int unit, const Stream& stream) override {
    check_unit(unit);
    int& holds = holds_[static_cast<std::size_t>(unit)];
    DSTRAIN_CHECK(holds > 0, "unit {} is released but was not acquired", unit);
    if (--holds == 0 && gathered_) gathered_->drop(unit, here(stream));
  }

  UnitGradient gradient(int unit, const Stream& stream) override {
    check_unit(unit);
    check_micro_step();
    if (memory_.unit(unit).trainable().part.count == 0) return {};
    return gradients_->open(unit, here(stream));
  }

  void gradient_ready(int unit, const Stream& stream) override {
    check_unit(unit);
    check_micro_step();
    if (memory_.unit(unit).trainable().part.count > 0) gradients_->ready(unit, here(stream));
  }

  void begin_step() override {
    check_training();
    gradients_->begin_step();
    in_micro_step_ = false;
  }

  void begin_micro_step(int contributors, bool last) override {
    check_training();
    DSTRAIN_CHECK(contributors >= 1 && contributors <= comm_.size(), "{} of {} ranks contribute", contributors,
                  comm_.size());
    gradients_->begin_micro_step(contributors, last, exec_.stream);
    in_micro_step_ = true;
  }

  double reduce_gradients() override {
    check_training();
    DSTRAIN_CHECK(in_micro_step_, "gradients are reduced before any micro step of this step");
    gradients_->finish(exec_.stream);
    settle();
    in_micro_step_ = false;
    return gradient_norm(memory_, comm_, exec_);
  }

  [[nodiscard]] bool queues_norm() const noexcept override { return buffers_->scheme.queued_norm; }

  const double* queue_gradient_norm(const ScaleRule& rule, const double* losses, std::int64_t count,
                                    std::int64_t ld) override {
    check_training();
    DSTRAIN_CHECK(queues_norm(), "the norm of this optimizer's gradients does not stay on the GPU");
    DSTRAIN_CHECK(in_micro_step_, "gradients are reduced before any micro step of this step");
    gradients_->finish(exec_.stream);
    settle();
    in_micro_step_ = false;
    const double* scale = dstrain::queue_gradient_norm({memory_, comm_, exec_, *timeline_}, rule, losses, count, ld);
    norm_made_->record(exec_.stream);
    return scale;
  }

  double await_gradient_norm() override {
    DSTRAIN_CHECK(queues_norm(), "no norm was queued");
    norm_made_->wait();
    return *memory_.view(buffers_->gradient_norm).as<double>();
  }

  void optimizer_step(const StepParameters& p, const std::vector<TensorRates>& rates) override {
    check_training();
    DSTRAIN_CHECK(optimizer_ != nullptr, "this store was planned without an optimizer");
    DSTRAIN_CHECK(!in_micro_step_, "the optimizer runs before the gradients were reduced");
    DSTRAIN_CHECK(rates.size() == layout_.tensors.size(), "rates of {} tensors for {} tensors", rates.size(),
                  layout_.tensors.size());
    forget_gathered();
    settle();
    ++version_;
    handed_out_ = 0;
    optimizer_->step(p, rates, updated_);
    hand_out(layout_.unit_count() - 1);
  }

  [[nodiscard]] Stream stream() const noexcept override { return exec_.stream; }
  [[nodiscard]] DType weight_dtype() const noexcept override { return buffers_->options.compute; }
  [[nodiscard]] DType trained_dtype() const noexcept override {
    return buffers_->scheme.master_copy ? DType::f32 : buffers_->options.compute;
  }
  [[nodiscard]] const std::vector<OwnedSlice>& owned() const noexcept override { return owned_; }
  [[nodiscard]] std::vector<OwnedSlice> owned_by(int rank) const override {
    return kept_slices(layout_, *buffers_, rank);
  }
  [[nodiscard]] std::vector<OwnedSlice> written_by(int rank) const override {
    return shard_slices(layout_, *buffers_, rank);
  }

  void for_each_replica(const std::function<void(int, const void*, std::int64_t)>& f) const override {
    settle();
    const ZeroScheme& scheme = buffers_->scheme;
    const auto width = static_cast<std::int64_t>(size_of(buffers_->options.compute));
    for (int u = 0; u < layout_.unit_count(); ++u) {
      for (int kind = 0; kind < part_kinds; ++kind) {
        const PartPlace& part = memory_.unit(u).weights[kind];
        if (part.part.count == 0 || (scheme.sharded_weights && !part.whole)) continue;
        f(u, memory_.full_weights(u, kind).data, part.part.count * width);
      }
    }
    if (scheme.sharded_state) return;
    for (const OwnedSlice& slice : owned_) {
      const int unit = layout_.tensors[static_cast<std::size_t>(slice.tensor)].unit;
      if (scheme.master_copy && slice.master != nullptr)
        f(unit, slice.master, slice.count * static_cast<std::int64_t>(sizeof(float)));
      for (const StateSlice& state : slice.states) {
        if (state.data != nullptr)
          f(unit, state.data, state.count * static_cast<std::int64_t>(size_of(state.spec.dtype)));
      }
    }
  }

  void weights_changed() override {
    forget_gathered();
    settle();
    if (buffers_->scheme.master_copy) {
      for (const OwnedSlice& slice : owned_) {
        if (slice.master != nullptr) ops::convert(exec_, slice.weights, Data{slice.master, DType::f32}, slice.count);
      }
    }
    ++version_;
    follow_compute();
    if (!buffers_->scheme.sharded_state || comm_.size() == 1) return;
    for (const UnitGroup& group : buffers_->weight_groups) gather_weights(group, part_kinds);
    settle();
  }

 private:
  /// Where the caller's work runs; callers without a stream mean the store's.
  [[nodiscard]] const Stream& here(const Stream& stream) const {
    return stream.on_device() == exec_.stream.on_device() ? stream : exec_.stream;
  }
  void check_unit(int unit) const {
    DSTRAIN_CHECK(unit >= 0 && unit < layout_.unit_count(), "unit {} of {}", unit, layout_.unit_count());
  }
  void check_training() const { DSTRAIN_CHECK(gradients_ != nullptr, "this store was planned for weights only"); }
  void check_micro_step() const {
    check_training();
    DSTRAIN_CHECK(in_micro_step_, "gradients are made outside a micro step");
  }

  /// New values make what was gathered stale, also what was fetched ahead and never used.
  void forget_gathered() {
    for (int u = 0; u < layout_.unit_count(); ++u) {
      DSTRAIN_CHECK(holds_[static_cast<std::size_t>(u)] == 0, "weights change while unit {} is held", u);
      if (gathered_) gathered_->forget(u);
    }
  }

  /// Kernels queued from here on come behind all collectives so far, and behind all weights that went to the GPU.
  void settle() const {
    timeline_->order(timeline_->communication(), timeline_->compute());
    if (buffers_->scheme.host_weights) timeline_->order(timeline_->up(), timeline_->compute());
  }
  /// What is gathered from here on has the values that kernels made so far.
  void follow_compute() {
    timeline_->order(timeline_->compute(), timeline_->communication());
    if (buffers_->scheme.host_weights) timeline_->order(timeline_->compute(), timeline_->up());
  }

  /// Units up to `unit` have new values: what travels of them goes while the optimizer updates the others. The same
  /// collectives in the same order on all ranks, whichever units their slices lie in. Collective.
  void hand_out(int unit) {
    const ZeroScheme& scheme = buffers_->scheme;
    if (!scheme.sharded_state || (comm_.size() == 1 && !scheme.host_weights)) return;
    for (; handed_out_ <= unit; ++handed_out_) {
      const std::size_t index = group_of_[static_cast<std::size_t>(handed_out_)];
      const UnitGroup& group = buffers_->groups[index];
      const bool last_of_group = handed_out_ + 1 == group.last;
      const bool used_first = gathered_ && scheme.overlap && handed_out_ < 2;
      if (last_of_group || used_first) follow_compute();
      if (last_of_group && gather_weights(group, 1)) at_all_[index].record(timeline_->communication());
      if (used_first) gathered_->prefetch(handed_out_);
    }
  }

  /// Everybody's new slices into everybody's full row, in place: stages 1 and 2, and at stage 3 the parts that stay
  /// whole. False where there are none. Collective.
  /// @param kinds  1: trainable parts, part_kinds: all
  bool gather_weights(const UnitGroup& group, int kinds) {
    gather_.clear();
    for (int u = group.first; u < group.last; ++u) {
      for (int kind = 0; kind < kinds; ++kind) {
        const PartPlace& part = memory_.unit(u).weights[kind];
        if (part.part.count == 0 || (buffers_->scheme.sharded_weights && !part.whole)) continue;
        gather_.push_back({memory_.weight_shard(u, kind), memory_.full_weights(u, kind)});
      }
    }
    if (!gather_.empty()) comm_.all_gather(gather_, timeline_->communication(), "weights to all");
    return !gather_.empty();
  }

  const ModelLayout& layout_;
  Communicator& comm_;
  std::shared_ptr<const ZeroBuffers> buffers_;
  std::unique_ptr<Timeline> timeline_;
  Exec exec_;
  ZeroMemory memory_;
  std::vector<int> holds_;
  std::vector<std::size_t> group_of_;      ///< by unit, into ZeroBuffers::groups
  std::vector<Event> at_all_;              ///< by group: its new weights are at all ranks
  std::optional<GatheredUnits> gathered_;  ///< stage 3 on several ranks
  std::unique_ptr<Gradients> gradients_;   ///< null without training
  std::vector<OwnedSlice> owned_;
  std::vector<AllGatherPart> gather_;
  std::unique_ptr<SliceOptimizer> optimizer_;  ///< null without training or without an optimizer
  UnitsUpdated updated_;
  std::optional<HostPoint> norm_made_;  ///< queued_norm: norm and losses of the step are in host memory
  int handed_out_ = 0;                  ///< units below it were handed out in this optimizer step
  std::uint64_t version_ = 0;
  bool in_micro_step_ = false;
};

}  // namespace

std::unique_ptr<ZeroStore> make_zero_store(const ModelLayout& layout, const ZeroOptions& options, Communicator& comm,
                                           const Arena& arena, std::shared_ptr<const ZeroBuffers> buffers,
                                           Device device) {
  DSTRAIN_CHECK(buffers != nullptr && buffers->ranks == comm.size(),
                "the plan was made for another number of ranks than {}", comm.size());
  DSTRAIN_CHECK(buffers->units.size() == layout.units.size(), "the plan was made for another layout");
  DSTRAIN_CHECK(buffers->options.stage == options.stage && buffers->options.compute == options.compute &&
                    buffers->options.train == options.train && buffers->options.reproducible == options.reproducible,
                "the plan was made for other options");
  return std::make_unique<ShardedStore>(layout, comm, arena, std::move(buffers), device);
}

}  // namespace dstrain
