// SPDX-License-Identifier: Apache-2.0
/// A micro-batch is checked once before kernels index with it.
#pragma once

#include <cstdint>

#include "model/micro_batch.hpp"

namespace dstrain {

struct BatchLimits {
  std::int64_t tokens;     ///< rows that were planned
  std::int64_t positions;  ///< rows of the RoPE tables
  std::int64_t vocab_size;
};

/// Local.
/// @throws ConfigError  a token id outside the vocabulary (tokenizer and model do not belong together);
///         ShapeError  anything else that does not fit
void check_batch(const MicroBatch& batch, const BatchLimits& limits);

}  // namespace dstrain
