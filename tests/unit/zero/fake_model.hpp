// SPDX-License-Identifier: Apache-2.0
/// A model without mathematics: makes the store calls of a decoder and writes gradients that are known in advance.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comm/communicator.hpp"
#include "zero/zero_store.hpp"

namespace dstrain::test {

/// For stores in host memory, where no stream orders anything.
inline const Stream host_stream;

/// Sizes off every grid, gaps between tensors, a group of adjacent ones.
struct FakeShape {
  std::int64_t vocabulary = 37;
  std::int64_t hidden = 24;
  int blocks = 3;
  bool tied = true;     ///< the head adds to the first unit's gradient
  bool frozen = false;  ///< each block has a frozen tensor too
};
ModelLayout fake_layout(const FakeShape& shape);

/// Bits that look random and are the same everywhere.
std::uint32_t mixed_bits(std::uint64_t a, std::uint64_t b, std::uint64_t c);

/// What one slot adds to element `i` of tensor `tensor`, whose weight is `weight`. `site` 0: the unit's own, 1: the
/// head's.
using GradientRule =
    std::function<float(std::int64_t slot, int site, std::int32_t tensor, std::int64_t i, float weight)>;

/// Whole numbers from -4 to 4: sums are exact in f32, so that no order of adding can show.
float exact_gradient(std::int64_t slot, int site, std::int32_t tensor, std::int64_t i, float weight);
/// Fractions that depend on the weight too: any other order of adding or any stale weight shows in the last bits.
float rounding_gradient(std::int64_t slot, int site, std::int32_t tensor, std::int64_t i, float weight);

/// One micro step: forward with the head's gradient, then backward. `slot` < 0: an empty batch, which makes the same
/// calls.
void run_micro_step(ZeroStore& store, const ModelLayout& layout, bool tied, const GradientRule& rule,
                    std::int64_t slot);

/// A store with its plan and memory.
struct StoreUnderTest {
  std::shared_ptr<const ZeroBuffers> buffers;
  std::unique_ptr<Arena> arena;
  std::unique_ptr<ZeroStore> store;
  ZeroStore* operator->() const noexcept { return store.get(); }
};
/// Collective where the communicator has several ranks.
StoreUnderTest make_store(const ModelLayout& layout, const ZeroOptions& options, Communicator& comm);

/// Master weight of element `i` before the first step.
float initial_weight(std::int32_t tensor, std::int64_t i);
/// Fills the masters through owned() and makes them readable. Collective.
void fill_weights(ZeroStore& store);

/// AdamW parameters of step `step` (from 1), with the clip factor that `norm` asks for.
StepParameters adamw_parameters(std::int64_t step, double norm);
/// Every other tensor decays.
std::vector<TensorRates> alternating_decay(const ModelLayout& layout);

/// Trains `steps` steps of `slots` slots, slot k on rank k mod size. Collective. @return the norm of each step
std::vector<double> train(ZeroStore& store, const ModelLayout& layout, const FakeShape& shape, const GradientRule& rule,
                          Communicator& comm, int steps, std::int64_t slots);

}  // namespace dstrain::test
