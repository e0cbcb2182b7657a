// SPDX-License-Identifier: Apache-2.0
/// What stands in a checkpoint, and whether it is still what was written: the data behind `dstrain inspect`.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io/checkpoint/content.hpp"

namespace dstrain {

struct TensorSummary {
  TensorInfo info;
  std::array<bool, checkpoint_kinds> has{};  ///< by CheckpointKind
  int shards = 0;                            ///< that hold a part of its parameter values
};

struct ShardSummary {
  std::string file;
  std::int64_t bytes = 0;                              ///< as the manifest says
  std::array<std::int64_t, checkpoint_kinds> count{};  ///< elements by CheckpointKind
};

struct CheckpointSummary {
  std::int64_t step = 0;
  std::int64_t bytes = 0;       ///< of all files
  std::int64_t parameters = 0;  ///< elements
  std::vector<TensorSummary> tensors;
  std::vector<ShardSummary> shards;
  std::map<std::string, std::string> metadata;
};

/// Tables of a checkpoint. Local. @throws IoError  manifest or checkpoint.h5 is missing or damaged (shards are not
/// looked at)
[[nodiscard]] CheckpointSummary summarize_checkpoint(const std::filesystem::path& folder);

/// One thing that is wrong with a checkpoint.
struct Damage {
  std::string file;
  std::string tensor;   ///< empty where no tensor's values are concerned
  std::string problem;  ///< a sentence
};

/// Reads every byte and compares all digests, then every tensor through checkpoint.h5. Local; goes on after damage, so
/// that one call names all of it.
/// @param progress  called now and then with bytes done and bytes in all; may be empty
/// @return empty for a sound checkpoint. @throws IoError only where the manifest itself cannot be believed
[[nodiscard]] std::vector<Damage> verify_checkpoint(
    const std::filesystem::path& folder, const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace dstrain
