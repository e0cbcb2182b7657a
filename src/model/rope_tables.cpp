// SPDX-License-Identifier: Apache-2.0
#include "model/rope_tables.hpp"

namespace dstrain {

RopeTables::RopeTables(const ModelSpec& spec, float* cos, float* sin, std::int64_t capacity)
    : spec_(spec), cos_(cos), sin_(sin), capacity_(capacity) {}

void RopeTables::use(const Exec& exec, std::int64_t seq_len) {
  if (spec_.rope.rotary_dim == 0) return;
  const std::int64_t length = rope_length(spec_, seq_len);
  if (length == made_for_) return;
  const RopeFrequencies frequencies = rope_frequencies(spec_, length);
  ops::rope_table(exec, cos_, sin_, frequencies.inv_freq.data(), capacity_, spec_.rope.rotary_dim / 2,
                  frequencies.attention_factor);
  made_for_ = length;
}

}  // namespace dstrain
