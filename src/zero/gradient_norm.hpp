// SPDX-License-Identifier: Apache-2.0
/// The global gradient norm out of slices. Private to src/zero.
#pragma once

#include "comm/communicator.hpp"
#include "kernels/ops/optimizer.hpp"
#include "zero/timeline.hpp"
#include "zero/zero_memory.hpp"

namespace dstrain {

/// L2 norm of the reduced gradient, the same bits on every rank, for any number of ranks and every stage: the sum of
/// squares of each chunk (f64, an order that depends on the chunk alone) is made by the chunk's owner, gathered, and
/// added in chunk order. Collective.
double gradient_norm(const ZeroMemory& memory, Communicator& comm, const Exec& exec);

/// What a queued norm runs on.
struct NormQueue {
  const ZeroMemory& memory;
  Communicator& comm;
  const Exec& exec;
  Timeline& timeline;
};

/// The same bits without a wait: the sums are gathered and added on the GPU, which makes the scale of the update out of
/// them. Collective. @return where it will stand; arguments as ZeroStore::queue_gradient_norm()
const double* queue_gradient_norm(const NormQueue& queue, const ScaleRule& rule, const double* losses,
                                  std::int64_t count, std::int64_t ld);

}  // namespace dstrain
