// SPDX-License-Identifier: Apache-2.0
/// One shard of all ranks, written while they wait: through rank 0, or by parallel HDF5.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/checkpoint/content.hpp"
#include "io/checkpoint/layout.hpp"

namespace dstrain {

/// Rank 0 receives what the other ranks bring, piece by piece, and writes it into the shard that it created.
/// Collective; the other ranks need not see the folder. Holds one piece in memory.
/// @return the digests of this rank's pieces
/// @throws IoError (exit code 1) on all ranks
std::vector<std::string> write_through_rank0(Communicator& comm, const std::filesystem::path& part,
                                             CheckpointLayout& layout, const CheckpointContent& content,
                                             std::int64_t piece_count);

/// All ranks create the one shard and write their slices with collective calls of parallel HDF5. Collective; the ranks
/// are those of MPI_COMM_WORLD.
/// @return the digests of this rank's pieces
/// @throws IoError (exit code 1) on all ranks
std::vector<std::string> write_collectively(Communicator& comm, const std::filesystem::path& part,
                                            CheckpointLayout& layout, const CheckpointContent& content,
                                            std::int64_t piece_count);

}  // namespace dstrain
