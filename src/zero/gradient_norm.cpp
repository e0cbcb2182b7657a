// SPDX-License-Identifier: Apache-2.0
#include "zero/gradient_norm.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/ops/optimizer.hpp"

namespace dstrain {

namespace {

void sum_own_chunks(const ZeroMemory& memory, double* sums, const Exec& exec) {
  std::fill_n(sums, memory.buffers().rows.chunks, 0.0);  // chunks of padding stay zero and change no sum
  for (int u = 0; u < memory.units(); ++u) {
    const PartPlace& place = memory.unit(u).trainable();
    const std::int64_t count = place.slices.end(memory.rank()) - place.slices.begin(memory.rank());
    if (count == 0) continue;
    ops::sum_of_squares(exec, sums + memory.unit(u).chunk_at, memory.gradient_shard(u).as<float>(), count,
                        place.part.chunk);
  }
}

}  // namespace

double gradient_norm(const ZeroMemory& memory, Communicator& comm, const Exec& exec) {
  const View all = memory.view(memory.buffers().chunk_sums);
  const std::int64_t row = memory.buffers().rows.chunks;
  const View own = all.slice(row * comm.rank(), row);
  sum_own_chunks(memory, own.as<double>(), exec);
  exec.stream.synchronize();  // from here on the sums are the host's
  if (comm.size() > 1) comm.all_gather(own, all, Stream{}, "gradient norm");

  double sum = 0.0;
  for (int u = 0; u < memory.units(); ++u) {
    const PartPlace& place = memory.unit(u).trainable();
    if (place.part.count == 0) continue;
    const std::int64_t chunks = place.slices.shard / place.part.chunk;  // of one rank
    for (int rank = 0; rank < comm.size(); ++rank) {
      const double* sums = all.as<double>() + row * rank + memory.unit(u).chunk_at;
      for (std::int64_t c = 0; c < chunks; ++c) sum += sums[c];
    }
  }
  return std::sqrt(sum);
}

}  // namespace dstrain
