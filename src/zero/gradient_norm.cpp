// SPDX-License-Identifier: Apache-2.0
#include "zero/gradient_norm.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/ops/elementwise.hpp"

namespace dstrain {

namespace {

/// `sums` are zeros: chunks of padding stay so and change no sum.
void sum_own_chunks(const ZeroMemory& memory, double* sums, const Exec& exec) {
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
  std::fill_n(own.as<double>(), row, 0.0);
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

const double* queue_gradient_norm(const NormQueue& queue, const ScaleRule& rule, const double* losses,
                                  std::int64_t count, std::int64_t ld) {
  const auto& [memory, comm, exec, timeline] = queue;
  const std::int64_t chunks = memory.buffers().rows.chunks;
  const std::int64_t row = chunks + 1;  // and the rank's loss
  const View whole = memory.view(memory.buffers().chunk_sums);
  const View all = whole.slice(0, row * comm.size());
  const View own = all.slice(row * comm.rank(), row);
  ops::fill_zero(exec, {own.data, DType::f32}, row * 2);  // the bits of a double's zero are two of a float's
  sum_own_chunks(memory, own.as<double>(), exec);
  if (losses != nullptr) ops::add_in_order(exec, own.as<double>() + chunks, losses, count, ld, 1, false);
  if (comm.size() > 1) {
    timeline.order(timeline.compute(), timeline.communication());
    comm.all_gather(own, all, timeline.communication(), "gradient norm");
    timeline.order(timeline.communication(), timeline.compute());
  }

  double* squares = whole.as<double>() + all.count;
  double* scale = squares + 1;
  if (comm.size() == 1) {  // one rank's chunks lie in the order of units
    ops::add_in_order(exec, squares, all.as<double>(), 1, row, chunks, false);
  } else {
    bool added = false;
    for (int u = 0; u < memory.units(); ++u) {
      const PartPlace& place = memory.unit(u).trainable();
      if (place.part.count == 0) continue;
      ops::add_in_order(exec, squares, all.as<double>() + memory.unit(u).chunk_at, comm.size(), row,
                        place.slices.shard / place.part.chunk, added);
      added = true;
    }
  }
  auto* norm = memory.view(memory.buffers().gradient_norm).as<double>();
  const double* all_losses = losses != nullptr ? all.as<double>() + chunks : nullptr;
  ops::update_scale(exec, norm, scale, squares, all_losses, comm.size(), row, rule);
  return scale;
}

}  // namespace dstrain
