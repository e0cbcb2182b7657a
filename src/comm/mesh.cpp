// SPDX-License-Identifier: Apache-2.0
#include "comm/mesh.hpp"

#include "core/error.hpp"

namespace dstrain {

MeshPlace place_of(int rank, const MeshShape& shape) {
  MeshPlace place;
  place.tp = rank % shape.tp;
  rank /= shape.tp;
  place.cp = rank % shape.cp;
  rank /= shape.cp;
  place.dp = rank % shape.dp;
  place.pp = rank / shape.dp;
  return place;
}

int rank_of(const MeshPlace& place, const MeshShape& shape) {
  return ((place.pp * shape.dp + place.dp) * shape.cp + place.cp) * shape.tp + place.tp;
}

Mesh::Mesh(Communicator& world, const MeshShape& others) : world_(world), shape_(others) {
  const struct {
    const char* key;
    int size;
  } axes[] = {
      {"tensor_parallel_size", others.tp}, {"pipeline_parallel_size", others.pp}, {"context_parallel_size", others.cp}};
  for (const auto& [key, size] : axes) {
    if (size == 1) continue;
    if (size < 1) throw ConfigError(fmt::format("{} is {}; it must be 1 or more", key, size), key);
    throw ConfigError(fmt::format("{}: {} is not supported yet", key, size), key,
                      "use 1 and a higher zero_stage to save memory");
  }
  shape_.dp = world.size();
  place_ = place_of(world.rank(), shape_);
}

}  // namespace dstrain
