// SPDX-License-Identifier: Apache-2.0
/// Gradients that are reduced into the owners' slices in every micro step.
#include <algorithm>

#include "core/error.hpp"
#include "zero/gradients.hpp"

namespace dstrain {

namespace {

/// Units are opened one behind the other in a bucket; once enough elements wait they are reduced in one call, and the
/// next bucket takes the following ones: where there are two (on a GPU), one is filled while the other is sent. The
/// owner adds the ranks' contributions to its slice in rank order, micro step by micro step: a left fold over the
/// slots, the same bits for any number of ranks when slot k runs on rank k mod P.
class BucketedGradients final : public Gradients {
 public:
  BucketedGradients(const ModelLayout& layout, const ZeroMemory& memory, Communicator& comm, Timeline& timeline)
      : memory_(memory),
        comm_(comm),
        timeline_(timeline),
        gaps_(layout, memory),
        held_open_{memory.view(memory.buffers().held_open), timeline.event()},
        units_(layout.units.size()) {
    for (const BufferId bucket : memory.buffers().buckets) buckets_.push_back({memory.view(bucket), timeline.event()});
    waiting_.reserve(units_.size());
    reduce_.reserve(units_.size());
    gather_.reserve(units_.size());
  }

  void begin_step() override {
    std::fill(units_.begin(), units_.end(), Unit{});
    waiting_.clear();
    waiting_elements_ = used_ = 0;
    open_in_bucket_ = 0;
    bucket_ = 0;
  }

  /// Waiting gradients belong to the slots of the micro step before: another number of ranks may contribute to this
  /// one.
  void begin_micro_step(int contributors, bool /*last*/, const Stream& stream) override {
    end_micro_step(stream);
    contributors_ = contributors;
  }

  UnitGradient open(int unit, const Stream& stream) override {
    Unit& state = units_[static_cast<std::size_t>(unit)];
    if (state.open) return {state.flat, true};
    DSTRAIN_CHECK(!state.ready, "the gradient of unit {} is opened after it was handed in", unit);
    state.flat = place(unit, stream);
    state.open = true;
    gaps_.zero(unit, state.flat, stream);
    return {state.flat, false};
  }

  void ready(int unit, const Stream& stream) override {
    Unit& state = units_[static_cast<std::size_t>(unit)];
    DSTRAIN_CHECK(state.open, "the gradient of unit {} is handed in but was not opened", unit);
    state.open = false;
    state.ready = true;
    if (in_bucket(unit)) --open_in_bucket_;
    waiting_.push_back(unit);
    waiting_elements_ += padded(unit);
    if (waiting_elements_ >= memory_.buffers().group_limit) reduce_waiting(stream);
  }

  void finish(const Stream& stream) override {
    end_micro_step(stream);
    for (int u = 0; u < memory_.units(); ++u) {
      if (units_[static_cast<std::size_t>(u)].reduced || padded(u) == 0) continue;
      const View shard = memory_.gradient_shard(u);
      zero_bytes(stream, shard.data, shard.bytes());
    }
    if (memory_.buffers().scheme.sharded_state || comm_.size() == 1) return;
    timeline_.order(stream, timeline_.communication());
    for (const UnitGroup& group : memory_.buffers().groups)
      gather_gradients(memory_, comm_, group, gather_, timeline_.communication());
  }

 private:
  struct Bucket {
    View memory;
    Event sent;  ///< of the communication stream: the memory may be written again
  };
  struct Unit {
    float* flat = nullptr;
    bool open = false;     ///< in this micro step
    bool ready = false;    ///< in this micro step
    bool reduced = false;  ///< the slice holds slots of this step
  };

  [[nodiscard]] std::int64_t padded(int unit) const { return memory_.unit(unit).trainable().slices.padded; }
  [[nodiscard]] bool in_bucket(int unit) const noexcept { return unit != 0 || held_open_.memory.data == nullptr; }

  float* place(int unit, const Stream& stream) {
    if (!in_bucket(unit)) {
      held_open_.sent.make_wait(stream);
      return held_open_.memory.as<float>();
    }
    const std::int64_t count = padded(unit);
    if (used_ + count > bucket().memory.count) reduce_waiting(stream);
    DSTRAIN_CHECK(used_ + count <= bucket().memory.count,
                  "unit {}'s gradient finds no room beside those of {} open unit(s)", unit, open_in_bucket_);
    if (used_ == 0) bucket().sent.make_wait(stream);
    float* flat = bucket().memory.as<float>() + used_;
    used_ += count;
    ++open_in_bucket_;
    return flat;
  }

  void reduce_waiting(const Stream& stream) {
    if (!waiting_.empty()) send_waiting(stream);
    if (open_in_bucket_ > 0 || used_ == 0) return;  // an open unit keeps the bucket
    bucket().sent.record(timeline_.communication());
    bucket_ = (bucket_ + 1) % buckets_.size();
    used_ = 0;
  }

  void send_waiting(const Stream& stream) {
    reduce_.clear();
    bool held_open = false;
    for (const int u : waiting_) {
      Unit& state = units_[static_cast<std::size_t>(u)];
      reduce_.push_back({View(state.flat, padded(u), DType::f32), memory_.gradient_shard(u), state.reduced});
      state.reduced = true;
      held_open = held_open || !in_bucket(u);
    }
    const Stream& communication = timeline_.communication();
    timeline_.order(stream, communication);
    comm_.reduce_scatter(reduce_, contributors_, memory_.buffers().scheme.two_level, communication, "gradients");
    if (held_open) held_open_.sent.record(communication);
    waiting_.clear();
    waiting_elements_ = 0;
  }

  [[nodiscard]] Bucket& bucket() noexcept { return buckets_[bucket_]; }

  void end_micro_step(const Stream& stream) {
    reduce_waiting(stream);
    for (std::size_t u = 0; u < units_.size(); ++u) {
      DSTRAIN_CHECK(!units_[u].open, "the gradient of unit {} was opened but not handed in", u);
      units_[u].ready = false;
    }
  }

  const ZeroMemory& memory_;
  Communicator& comm_;
  Timeline& timeline_;
  GradientGaps gaps_;
  std::vector<Bucket> buckets_;
  std::size_t bucket_ = 0;  ///< the one that is filled
  Bucket held_open_;
  std::vector<Unit> units_;
  std::vector<int> waiting_;  ///< ready and not yet reduced, in the order of gradient_ready
  std::vector<ReduceScatterPart> reduce_;
  std::vector<AllGatherPart> gather_;
  std::int64_t waiting_elements_ = 0;
  std::int64_t used_ = 0;
  int open_in_bucket_ = 0;
  int contributors_ = 0;
};

}  // namespace

std::unique_ptr<Gradients> make_bucketed_gradients(const ModelLayout& layout, const ZeroMemory& memory,
                                                   Communicator& comm, Timeline& timeline) {
  return std::make_unique<BucketedGradients>(layout, memory, comm, timeline);
}

}  // namespace dstrain
