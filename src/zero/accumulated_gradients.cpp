// SPDX-License-Identifier: Apache-2.0
/// Gradients that each rank adds up by itself until the last micro step, whose backward pass hands them to the owners.
#include <algorithm>

#include "core/error.hpp"
#include "zero/gradients.hpp"

namespace dstrain {

namespace {

class AccumulatedGradients final : public Gradients {
 public:
  AccumulatedGradients(const ModelLayout& layout, const ZeroMemory& memory, Communicator& comm, Timeline& timeline)
      : memory_(memory),
        comm_(comm),
        timeline_(timeline),
        gaps_(layout, memory),
        units_(layout.units.size()),
        groups_(memory.buffers().groups.size()) {
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const UnitGroup& group = memory.buffers().groups[g];
      for (int u = group.first; u < group.last; ++u) units_[static_cast<std::size_t>(u)].group = g;
    }
    reduce_.reserve(units_.size());
    gather_.reserve(units_.size());
  }

  void begin_step() override {
    for (Unit& unit : units_) unit.open = unit.ready = unit.written = false;
    for (std::size_t g = 0; g < groups_.size(); ++g)
      groups_[g] = {units_to_wait_for(memory_.buffers().groups[g]), false};
    contributors_ = 0;
    micro_step_contributors_ = 0;
    last_ = false;
  }

  void begin_micro_step(int contributors, bool last, const Stream& /*stream*/) override {
    DSTRAIN_CHECK(!last_, "a micro step comes after the one that was called the last of its step");
    end_micro_step();
    micro_step_contributors_ = contributors;
    contributors_ = std::max(contributors_, contributors);
    last_ = last;
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

  void ready(int unit, const Stream& stream) override {
    Unit& state = units_[static_cast<std::size_t>(unit)];
    DSTRAIN_CHECK(state.open, "the gradient of unit {} is handed in but was not opened", unit);
    state.open = false;
    state.ready = true;
    // Nothing is added any more: what is complete goes while the units below are computed.
    if (last_ && --groups_[state.group].waits_for == 0) reduce(state.group, stream);
  }

  void finish(const Stream& stream) override {
    end_micro_step();
    for (std::size_t g = 0; g < groups_.size(); ++g) reduce(g, stream);
  }

 private:
  struct Unit {
    bool open = false;     ///< in this micro step
    bool ready = false;    ///< in this micro step
    bool written = false;  ///< this rank's row holds slots of this step
    std::size_t group = 0;
  };
  struct Group {
    int waits_for = 0;  ///< units that were not handed in yet in the last micro step
    bool reduced = false;
  };

  [[nodiscard]] int units_to_wait_for(const UnitGroup& group) const {
    int count = 0;
    for (int u = group.first; u < group.last; ++u) count += memory_.unit(u).trainable().part.count > 0 ? 1 : 0;
    return count;
  }

  /// A rank without a slot made the same calls but wrote nothing, so that its row still waits for a first write.
  void end_micro_step() {
    for (std::size_t u = 0; u < units_.size(); ++u) {
      DSTRAIN_CHECK(!units_[u].open, "the gradient of unit {} was opened but not handed in", u);
      if (units_[u].ready && comm_.rank() < micro_step_contributors_) units_[u].written = true;
      units_[u].ready = false;
    }
  }

  /// Only ranks below the largest number of contributors are summed; on those, what has no gradient counts as zero.
  void zero_unwritten(const UnitGroup& group, const Stream& stream) {
    for (int u = group.first; u < group.last; ++u) {
      const Unit& state = units_[static_cast<std::size_t>(u)];
      const bool written = state.written || (state.ready && comm_.rank() < micro_step_contributors_);
      if (written || memory_.unit(u).trainable().part.count == 0) continue;
      const View full = memory_.full_gradient(u);
      zero_bytes(stream, full.data, full.bytes());
    }
  }

  /// In place: each rank's slice of its own row becomes the sum, at stage 0 the whole row.
  void reduce(std::size_t index, const Stream& stream) {
    if (groups_[index].reduced) return;
    groups_[index].reduced = true;
    const UnitGroup& group = memory_.buffers().groups[index];
    zero_unwritten(group, stream);
    if (comm_.size() == 1) return;
    reduce_.clear();
    for (int u = group.first; u < group.last; ++u) {
      if (memory_.unit(u).trainable().part.count == 0) continue;
      reduce_.push_back({memory_.full_gradient(u), memory_.gradient_shard(u), false});
    }
    if (reduce_.empty()) return;
    const ZeroScheme& scheme = memory_.buffers().scheme;
    const Stream& communication = timeline_.communication();
    timeline_.order(stream, communication);
    comm_.reduce_scatter(reduce_, std::max(contributors_, 1), scheme.two_level, communication, "gradients");
    if (!scheme.sharded_state) gather_gradients(memory_, comm_, group, gather_, communication);
  }

  const ZeroMemory& memory_;
  Communicator& comm_;
  Timeline& timeline_;
  GradientGaps gaps_;
  std::vector<Unit> units_;
  std::vector<Group> groups_;
  std::vector<ReduceScatterPart> reduce_;
  std::vector<AllGatherPart> gather_;
  int contributors_ = 0;  ///< ranks that had a slot in any micro step of this step
  int micro_step_contributors_ = 0;
  bool last_ = false;  ///< the running micro step is the step's last
};

}  // namespace

std::unique_ptr<Gradients> make_accumulated_gradients(const ModelLayout& layout, const ZeroMemory& memory,
                                                      Communicator& comm, Timeline& timeline) {
  return std::make_unique<AccumulatedGradients>(layout, memory, comm, timeline);
}

}  // namespace dstrain
