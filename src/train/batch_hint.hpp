// SPDX-License-Identifier: Apache-2.0
/// What a finished run could have used: the larger micro-batch that its plan says fits.
#pragma once

#include <cstdint>
#include <string>

#include "config/run_config.hpp"
#include "dstrain/engine.hpp"

namespace dstrain {

/// A run as it was.
struct BatchFacts {
  const RunConfig& config;
  const EngineOptions& options;
  const ModelSpec& spec;
  int ranks = 1;
  int ranks_on_node = 1;
  std::int64_t rows = 0;        ///< of the training set
  std::int64_t free_bytes = 0;  ///< of the node with the least, before the run took any
  double mfu = 0.0;             ///< share of the measured matrix peak, of the whole run
};

/// One sentence, or nothing where the run was busy, its memory used, or its micro-batches are large already.
///
/// With gradient_accumulation_steps above 1 the hint keeps the global batch: fewer and larger micro-batches, the same
/// steps. Else a larger micro-batch is a larger step, and the sentence says what that changes. Plans are computed as
/// for `dstrain plan`: nothing is allocated. Local.
std::string batch_hint(const BatchFacts& facts);

}  // namespace dstrain
