// SPDX-License-Identifier: Apache-2.0
/// From the keys of a run to what is trained.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "config/run_config.hpp"
#include "model/adapters/tuning.hpp"

namespace dstrain {

/// What is trained, and the adapter folders that the weights start from.
struct TuningSetup {
  Tuning tuning;                              ///< all ranks
  std::vector<std::filesystem::path> merged;  ///< rank 0: these become part of the base weights
  std::filesystem::path adapter;              ///< rank 0: the one that is trained on; empty: a new one
};

/// Local; rank 0 only where adapter folders are given: a continued adapter's own configuration decides over lora_rank
/// and the like, as in LLaMA-Factory.
/// @throws ConfigError, IoError
TuningSetup open_tuning(const RunConfig& config, const ModelSpec& spec);

/// open_tuning() on rank 0, its result on all. Collective.
TuningSetup setup_tuning(Communicator& comm, const RunConfig& config, const ModelSpec& spec);

/// adapter_name_or_path with adapter_folder.
std::vector<std::filesystem::path> adapter_folders(const RunConfig& config);

/// LoRA+ (Hayou et al., arXiv:2402.12354), LLaMA-Factory's groups: B matrices and vectors learn at loraplus_lr_ratio
/// times the rate. Empty without loraplus_lr_ratio.
std::function<double(const std::string& name, const std::vector<std::int64_t>& shape)> lr_factors(
    const RunConfig& config);

}  // namespace dstrain
