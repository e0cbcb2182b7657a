// SPDX-License-Identifier: Apache-2.0
/// Initial weights of a model that is trained from scratch.
#pragma once

#include <cstdint>

#include "model/model_spec.hpp"

namespace dstrain {

/// Elements [begin, begin + count) of `tensor` as a new model has them: matrices N(0, initializer_range), norms 1
/// (0 where they multiply by 1 + w), biases 0. Adapters as PEFT's: A uniform in +-1 / sqrt(in) (kaiming_uniform_
/// with a = sqrt 5), B 0.
///
/// Local. A value depends on (seed, tensor, element) alone, so that every rank makes its own slices. The distribution
/// is transformers' (`_init_weights`), the numbers are dstrain's own.
void fill_initial(const ModelSpec& spec, const TensorLayout& tensor, std::int64_t begin, std::int64_t count, float* out,
                  std::uint64_t seed);

}  // namespace dstrain
