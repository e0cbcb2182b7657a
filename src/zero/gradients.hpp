// SPDX-License-Identifier: Apache-2.0
/// Where gradients wait between the kernels that make them and the slices that the optimizer reads. Private to
/// src/zero.
#pragma once

#include <memory>
#include <vector>

#include "comm/communicator.hpp"
#include "model/parameter_store.hpp"
#include "zero/timeline.hpp"
#include "zero/zero_memory.hpp"

namespace dstrain {

/// The gradients of one step. After finish() ZeroMemory::kept_gradient() holds the sums over all slots of all micro
/// steps, for work behind those calls on the communication stream.
///
/// Kernels write on `stream`; reductions run on the communication stream, behind the kernels that made what they send
/// and before those that write there next.
class Gradients {
 public:
  Gradients() = default;
  Gradients(const Gradients&) = delete;
  Gradients& operator=(const Gradients&) = delete;
  virtual ~Gradients() = default;

  virtual void begin_step() = 0;
  /// Collective where gradients of the micro step before still wait.
  /// @param last  no micro step of this step comes after it
  virtual void begin_micro_step(int contributors, bool last, const Stream& stream) = 0;
  /// ParameterStore::gradient of a unit with a trainable part. Collective where room has to be made.
  virtual UnitGradient open(int unit, const Stream& stream) = 0;
  /// ParameterStore::gradient_ready. Collective where a bucket is full, or all of a group's units are ready for the
  /// last time.
  virtual void ready(int unit, const Stream& stream) = 0;
  /// Collective.
  virtual void finish(const Stream& stream) = 0;
};

/// Adds the micro steps up in a full row on each rank and reduces once, group by group while the last backward pass
/// runs (stages 0 and 1, and any stage on one rank).
std::unique_ptr<Gradients> make_accumulated_gradients(const ModelLayout& layout, const ZeroMemory& memory,
                                                      Communicator& comm, Timeline& timeline);

/// Reduces each micro step into the slices, several units in one call (stages 2 and 3, and every stage when
/// reproducible).
std::unique_ptr<Gradients> make_bucketed_gradients(const ModelLayout& layout, const ZeroMemory& memory,
                                                   Communicator& comm, Timeline& timeline);

/// The elements of each unit's trainable part that no tensor covers, padding included.
///
/// They are zeroed whenever a gradient buffer is opened for writing: its bytes held something else before, and what
/// stands in a gap is summed, enters the norm and would move the gap's weight.
class GradientGaps {
 public:
  GradientGaps(const ModelLayout& layout, const ZeroMemory& memory);
  void zero(int unit, float* flat, const Stream& stream) const;

 private:
  std::vector<std::vector<PartRange>> gaps_;
};

/// Gathers the sums of a group, which stand in each rank's slice of the full row, into everybody's full row (stage 0).
/// Collective.
/// @param parts  room for as many entries as there are units
void gather_gradients(const ZeroMemory& memory, Communicator& comm, const UnitGroup& group,
                      std::vector<AllGatherPart>& parts, const Stream& stream);

}  // namespace dstrain
