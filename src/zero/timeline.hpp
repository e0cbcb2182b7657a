// SPDX-License-Identifier: Apache-2.0
/// The streams of a step, and which of their work waits for which. Private to src/zero.
#pragma once

#include "core/device.hpp"

namespace dstrain {

/// Kernels run on `compute`, collectives on `communication`, memory that moves between host and GPU on `copy`: three
/// streams of a GPU, so that a gather or a reduction runs beside the computation. On a CPU, and for one rank what
/// concerns ranks, they are one and the same stream; then every wait is already fulfilled and costs nothing.
///
/// A wait of one stream for another is a pair of record and wait on an event made here: CUDA's wait means the point
/// that was recorded last, so that one event serves any number of pairs that follow each other at once. Points that are
/// waited for later have events of their own where they are kept (a region, a bucket). Nothing is made in a step.
class Timeline {
 public:
  /// @param several_ranks  collectives travel; else `communication` is `compute`
  /// @param copies         memory moves between host and GPU in a step; else `copy` is `compute`
  Timeline(Device device, bool several_ranks, bool copies = false)
      : compute_(device, nullptr),
        owned_communication_(several_ranks ? device : Device{}),
        owned_copy_(copies ? device : Device{}),
        handover_(event()) {}

  [[nodiscard]] const Stream& compute() const noexcept { return compute_; }
  [[nodiscard]] const Stream& communication() const noexcept { return or_compute(owned_communication_); }
  [[nodiscard]] const Stream& copy() const noexcept { return or_compute(owned_copy_); }

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
  OwnedStream owned_copy_;
  Event handover_;
};

}  // namespace dstrain
