// SPDX-License-Identifier: Apache-2.0
/// The streams of a step, and which of their work waits for which. Private to src/zero.
#pragma once

#include <utility>

#include "core/device_runtime.hpp"

namespace dstrain {

/// Kernels run on `compute`, collectives on `communication`, memory that moves between host and GPU on `down` and `up`:
/// streams of a GPU, so that a gather, a reduction or a copy runs beside the computation. On a CPU, for one rank what
/// concerns ranks, and without offload what concerns the host, they are one and the same stream; then every wait is
/// already fulfilled and costs nothing.
///
/// A wait of one stream for another is a pair of record and wait on an event made here: CUDA's wait means the point
/// that was recorded last, so that one event serves any number of pairs that follow each other at once. Points that are
/// waited for later have events of their own where they are kept (a region, a bucket). Nothing is made in a step.
class Timeline {
 public:
  /// @param several_ranks  collectives travel; else `communication` is `compute`
  /// @param offload        memory moves between host and GPU in a step; else `down` and `up` are `compute`
  Timeline(Device device, bool several_ranks, bool offload)
      : compute_(device, nullptr),
        owned_communication_(several_ranks ? device : Device{}),
        owned_down_(offload ? device : Device{}),
        owned_up_(offload ? device : Device{}),
        handover_(event()) {}

  [[nodiscard]] const Stream& compute() const noexcept { return compute_; }
  [[nodiscard]] const Stream& communication() const noexcept { return or_compute(owned_communication_); }
  [[nodiscard]] const Stream& down() const noexcept { return or_compute(owned_down_); }
  [[nodiscard]] const Stream& up() const noexcept { return or_compute(owned_up_); }

  /// An event that is made already; its point is reached. Local.
  [[nodiscard]] Event event() const {
    Event made;
    made.record(compute_);  // the first record makes it
    return made;
  }

  /// Work queued on `later` from here on starts after all that `earlier` was given so far. Local.
  void order(const Stream& earlier, const Stream& later) {
    if (earlier.native() == later.native()) return;
    handover_.record(earlier);
    handover_.make_wait(later);
  }

 private:
  [[nodiscard]] const Stream& or_compute(const OwnedStream& owned) const noexcept {
    return owned.get().native() != nullptr ? owned.get() : compute_;
  }

  Stream compute_;
  OwnedStream owned_communication_;
  OwnedStream owned_down_;
  OwnedStream owned_up_;
  Event handover_;
};

/// A point in a GPU's stream that the host waits for; made at start.
class HostPoint {
 public:
  HostPoint() : event_(require_device_runtime().create_event()) {}
  HostPoint(HostPoint&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  HostPoint& operator=(HostPoint&&) = delete;
  ~HostPoint() {
    if (event_ != nullptr) require_device_runtime().destroy_event(event_);
  }
  void record(const Stream& stream) { require_device_runtime().record(event_, stream.native()); }
  /// Reached before the first record().
  void wait() const { require_device_runtime().synchronize_event(event_); }

 private:
  void* event_;
};

}  // namespace dstrain
