// SPDX-License-Identifier: Apache-2.0
/// A checkpoint before there is one: would it fit, may it be written, and how fast?
#pragma once

#include <filesystem>

#include "comm/communicator.hpp"
#include "io/checkpoint/content.hpp"
#include "io/checkpoint/writers.hpp"

namespace dstrain {

/// Writes and removes a sample: at most 32 MiB per writer, and no longer than about a second where the disk is slow.
/// The whole size is reserved for a moment where the file system can do that without writing (which quotas notice,
/// unlike its free bytes). Collective. Creates output_dir.
/// @throws IoError, RefusedError (exit code 3) on all ranks: too little space, no rights, no common file system
CheckpointTrial try_checkpoint(Communicator& comm, const std::filesystem::path& output_dir,
                               const CheckpointContent& content, CheckpointWriters writers);

}  // namespace dstrain
