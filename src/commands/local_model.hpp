// SPDX-License-Identifier: Apache-2.0
/// A model folder opened by one process: weights in a store, memory by a plan.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/local_communicator.hpp"
#include "model/model_spec.hpp"
#include "zero/zero_store.hpp"

namespace dstrain::commands {

/// "float32", "bfloat16" or "float16" (also "f32", "bf16", "f16"). @throws ConfigError
DType dtype_of_flag(const std::string& text);

/// The device of a command on one process that `text` ("auto", "cpu" or "cuda") asks for; it is in use afterwards.
/// Local. @throws ConfigError  there is no such device
Device device_of_flag(const std::string& text);

/// A store over planned memory, filled from `folder`.
class LocalModel {
 public:
  using PlanMore = std::function<void(MemoryPlan& plan, const ModelSpec& spec)>;

  /// Reads config.json, plans (with what `plan_more` enters), allocates, reads the weights with `adapters` merged.
  /// Local.
  /// @param device  where the weights lie and kernels run
  /// @throws ConfigError, IoError naming the file;  RefusedError  the folder has no weights, or they do not fit into
  /// memory
  LocalModel(const std::string& folder, const ZeroOptions& options, Device device, const PlanMore& plan_more,
             const std::vector<std::filesystem::path>& adapters = {});

  [[nodiscard]] const ModelSpec& spec() const noexcept { return spec_; }
  [[nodiscard]] const ModelLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const Arena& arena() const noexcept { return *arena_; }
  [[nodiscard]] ZeroStore& store() noexcept { return *store_; }

 private:
  ModelSpec spec_;
  ModelLayout layout_;
  LocalCommunicator comm_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<ZeroStore> store_;
};

}  // namespace dstrain::commands
