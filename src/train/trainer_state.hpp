// SPDX-License-Identifier: Apache-2.0
/// What a checkpoint keeps of the trainer, besides tensors and the step number.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "config/run_config.hpp"
#include "data/dataset_digest.hpp"

namespace dstrain {

/// Rows of one optimizer step over all ranks: what a resume must keep.
std::int64_t global_batch(const RunConfig& config, int ranks);

struct TrainerState {
  double epoch = 0.0;
  std::int64_t tokens_seen = 0;  ///< as transformers counts input tokens: padding included
  double total_flos = 0.0;
  std::int64_t global_batch = 0;
  std::int64_t seed = 0;           ///< of the order of samples
  std::string trainer_state_json;  ///< rank 0
  std::string schedule;            ///< Schedule::state()
  std::string data;                ///< rank 0: DataState::to_text(); empty: not kept

  [[nodiscard]] std::map<std::string, std::string> to_map() const;
  /// @throws IoError  an entry is missing or no number; `where` names the checkpoint
  static TrainerState parse(const std::map<std::string, std::string>& entries, const std::string& where);

  /// @throws RefusedError  the global batch differs: with both numbers and the virtual_ranks that keeps it
  void check_batch(const RunConfig& config, int ranks) const;
  /// Warns where only keys that shape the rows changed. Rank 0.
  /// @throws RefusedError  the files of the data changed: with their names
  void check_data(const DataState& now, const std::string& where) const;
};

}  // namespace dstrain
