// SPDX-License-Identifier: Apache-2.0
#include "model/initialise.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "model/adapters/adapter_names.hpp"

namespace dstrain {

void fill_initial(const ModelSpec& spec, const TensorLayout& tensor, std::int64_t begin, std::int64_t count, float* out,
                  std::uint64_t seed) {
  DSTRAIN_CHECK(begin >= 0 && count >= 0 && begin + count <= tensor.count, "elements [{}, {}) of '{}', which has {}",
                begin, begin + count, tensor.name, tensor.count);
  // A look-up begins without a change too, but there it is A that is zero.
  if (tensor.name.ends_with(b_suffix) || tensor.name.ends_with(lookup_a_suffix)) {
    std::fill_n(out, count, 0.0F);
    return;
  }
  if (tensor.shape.size() < 2) {
    // Where norms multiply by 1 + w, their w starts at 0.
    const bool zero = tensor.name.ends_with(".bias") || spec.norm == NormKind::rms_plus_one;
    std::fill_n(out, count, zero ? 0.0F : 1.0F);
    return;
  }
  const Rng rng(seed, RngSite::weights, 0, static_cast<std::uint32_t>(tensor.index));
  if (tensor.name.ends_with(a_suffix)) {
    const float bound = 1.0F / std::sqrt(static_cast<float>(tensor.shape[1]));
    parallel_for(count, 4096, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i)
        out[i] = bound * (2.0F * rng.uniform(static_cast<std::uint64_t>(begin + i)) - 1.0F);
    });
    return;
  }
  if (tensor.name.ends_with(lookup_b_suffix)) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = rng.normal(static_cast<std::uint64_t>(begin + i));
    return;
  }
  // GPT-2 makes what joins the residual stream smaller, by the number of times that happens.
  const bool joins = spec.transposed_weights && tensor.name.ends_with("c_proj.weight");
  const double joined = joins ? std::sqrt(2.0 * static_cast<double>(spec.num_hidden_layers)) : 1.0;
  const auto deviation = static_cast<float>(spec.initializer_range / joined);
  parallel_for(count, 4096, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) out[i] = deviation * rng.normal(static_cast<std::uint64_t>(begin + i));
  });
}

}  // namespace dstrain
