// SPDX-License-Identifier: Apache-2.0
/// The global gradient norm out of slices. Private to src/zero.
#pragma once

#include "comm/communicator.hpp"
#include "zero/zero_memory.hpp"

namespace dstrain {

/// L2 norm of the reduced gradient, the same bits on every rank, for any number of ranks and every stage: the sum of
/// squares of each chunk (f64, an order that depends on the chunk alone) is made by the chunk's owner, gathered, and
/// added in chunk order. Collective.
double gradient_norm(const ZeroMemory& memory, Communicator& comm, const Exec& exec);

}  // namespace dstrain
