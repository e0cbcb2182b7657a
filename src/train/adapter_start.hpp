// SPDX-License-Identifier: Apache-2.0
/// What adapters need of the base weights before training: PiSSA's split and DoRA's magnitudes.
#pragma once

#include "comm/communicator.hpp"
#include "model/adapters/tuning.hpp"
#include "zero/zero_store.hpp"

namespace dstrain {

/// Splits every adapted matrix into its largest singular directions (A and B) and the rest, which stays in its place.
///
/// Collective; the matrices of a unit are shared out among the ranks. Weights are those of the store, in its compute
/// dtype; call weights_changed() afterwards.
void start_from_pissa(Communicator& comm, const ModelLayout& layout, const AdapterConfig& config, ZeroStore& store,
                      std::uint64_t seed);

/// Sets DoRA's magnitudes to the norms of the rows of W + s B A. Collective; call weights_changed() afterwards.
void start_magnitudes(const ModelLayout& layout, ZeroStore& store);

}  // namespace dstrain
