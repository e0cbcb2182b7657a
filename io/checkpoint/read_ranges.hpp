// SPDX-License-Identifier: Apache-2.0
/// What every rank wants of a checkpoint, also where only rank 0 has it.
#pragma once

#include <cstdint>
#include <span>

#include "comm/communicator.hpp"
#include "io/checkpoint/read.hpp"

namespace dstrain {

/// Elements [begin, begin + count) of one kind of a tensor, and where they go.
struct WantedRange {
  CheckpointKind kind = CheckpointKind::parameter;
  std::int32_t tensor = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
  void* to = nullptr;
};

/// Reads what each rank wants. Collective. Where all ranks see the folder each reads for itself; else rank 0 reads for
/// one rank after the other and sends it what it asks for.
/// @param scratch  for pieces that are only partly wanted, and to send through; not empty
/// @throws as CheckpointReader::read(), on all ranks
void read_ranges(Communicator& comm, CheckpointReader& reader, std::span<const WantedRange> wanted,
                 std::span<float> scratch);

}  // namespace dstrain
