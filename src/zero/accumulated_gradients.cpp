// SPDX-License-Identifier: Apache-2.0
/// Gradients that each rank adds up by itself until the step ends.
#include <algorithm>

#include "core/error.hpp"
#include "zero/gradients.hpp"

namespace dstrain {

namespace {

class AccumulatedGradients final : public Gradients {
 public:
  AccumulatedGradients(const ModelLayout& layout, const ZeroMemory& memory, Communicator& comm)
      : memory_(memory), comm_(comm), gaps_(layout, memory), units_(layout.units.size()) {
    reduce_.reserve(units_.size());
    gather_.reserve(units_.size());
  }

  void begin_step() override {
    std::fill(units_.begin(), units_.end(), Unit{});
    contributors_ = 0;
    micro_step_contributors_ = 0;
  }

  void begin_micro_step(int contributors, const Stream& /*stream*/) override {
    end_micro_step();
    micro_step_contributors_ = contributors;
    contributors_ = std::max(contributors_, contributors);
  }

  UnitGradient open(int unit, const Stream& stream) override {
    Unit& state = units_[static_cast<std::size_t>(unit)];
    DSTRAIN_CHECK(!state.ready, "the gradient of unit {} is opened after it was handed in", unit);
    auto* flat = memory_.full_gradient(unit).as<float>();
    const bool accumulate = state.open || state.written;
    if (!accumulate) gaps_.zero(unit, flat, stream);
    state.open = true;
    return {flat, accumulate};
  }

  void ready(int unit, const Stream& /*stream*/) override {
    Unit& state = units_[static_cast<std::size_t>(unit)];
    DSTRAIN_CHECK(state.open, "the gradient of unit {} is handed in but was not opened", unit);
    state.open = false;
    state.ready = true;
  }

  void finish(const Stream& stream) override {
    end_micro_step();
    zero_unwritten(stream);
    if (comm_.size() == 1) return;
    for (const UnitGroup& group : memory_.buffers().groups) reduce(group, stream);
    if (!memory_.buffers().scheme.sharded_state) gather_gradients(memory_, comm_, gather_, stream);
  }

 private:
  struct Unit {
    bool open = false;     ///< in this micro step
    bool ready = false;    ///< in this micro step
    bool written = false;  ///< this rank's row holds slots of this step
  };

  /// A rank without a slot made the same calls but wrote nothing, so that its row still waits for a first write.
  void end_micro_step() {
    for (std::size_t u = 0; u < units_.size(); ++u) {
      DSTRAIN_CHECK(!units_[u].open, "the gradient of unit {} was opened but not handed in", u);
      if (units_[u].ready && comm_.rank() < micro_step_contributors_) units_[u].written = true;
      units_[u].ready = false;
    }
  }

  /// Only ranks below the largest number of contributors are summed; on those, what has no gradient counts as zero.
  void zero_unwritten(const Stream& stream) {
    for (int u = 0; u < memory_.units(); ++u) {
      if (units_[static_cast<std::size_t>(u)].written || memory_.unit(u).trainable().part.count == 0) continue;
      const View full = memory_.full_gradient(u);
      zero_bytes(stream, full.data, full.bytes());
    }
  }

  /// In place: each rank's slice of its own row becomes the sum.
  void reduce(const UnitGroup& group, const Stream& stream) {
    reduce_.clear();
    for (int u = group.first; u < group.last; ++u) {
      if (memory_.unit(u).trainable().part.count == 0) continue;
      reduce_.push_back({memory_.full_gradient(u), memory_.gradient_shard(u), false});
    }
    if (reduce_.empty()) return;
    comm_.reduce_scatter(reduce_, std::max(contributors_, 1), memory_.buffers().scheme.two_level, stream, "gradients");
  }

  const ZeroMemory& memory_;
  Communicator& comm_;
  GradientGaps gaps_;
  std::vector<Unit> units_;
  std::vector<ReduceScatterPart> reduce_;
  std::vector<AllGatherPart> gather_;
  int contributors_ = 0;  ///< ranks that had a slot in any micro step of this step
  int micro_step_contributors_ = 0;
};

}  // namespace

std::unique_ptr<Gradients> make_accumulated_gradients(const ModelLayout& layout, const ZeroMemory& memory,
                                                      Communicator& comm) {
  return std::make_unique<AccumulatedGradients>(layout, memory, comm);
}

}  // namespace dstrain
