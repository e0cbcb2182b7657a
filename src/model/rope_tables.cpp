// SPDX-License-Identifier: Apache-2.0
#include "model/rope_tables.hpp"

#include <algorithm>

namespace dstrain {

RopeTables::RopeTables(const ModelSpec& spec, float* cos, float* sin, std::int64_t capacity)
    : spec_(spec), cos_(cos), sin_(sin), capacity_(capacity) {}

void RopeTables::use(const Exec& exec, std::int64_t seq_len) {
  // Up to the trained length all batches share one table.
  const bool dynamic = spec_.rope.kind == RopeKind::dynamic;
  const std::int64_t length = dynamic ? std::max(seq_len, spec_.max_position_embeddings) : 0;
  if (length == made_for_) return;
  const RopeFrequencies frequencies = rope_frequencies(spec_, length);
  ops::rope_table(exec, cos_, sin_, frequencies.inv_freq.data(), capacity_, spec_.rope.rotary_dim / 2,
                  frequencies.attention_factor);
  made_for_ = length;
}

}  // namespace dstrain
