// SPDX-License-Identifier: Apache-2.0
/// PEFT adapter folders: adapter_config.json and adapter_model.safetensors. Rank 0 only.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/safetensors/model.hpp"
#include "io/safetensors/writer.hpp"
#include "io/weights/weight_source.hpp"
#include "model/adapters/adapter_config.hpp"

namespace dstrain {

/// An adapter folder that was opened: its configuration, and its tensors under the names of the model's layout
/// ("model.layers.0.self_attn.q_proj.lora_A.weight", "lm_head.weight").
class AdapterFolder final : public WeightSource {
 public:
  /// Reads the configuration and the header. Local. @throws IoError, ConfigError naming the file and what to do
  static AdapterFolder open(const std::filesystem::path& folder);

  [[nodiscard]] const AdapterConfig& config() const noexcept { return config_; }
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override;
  [[nodiscard]] std::string where() const override { return path_.string(); }
  /// Index of the tensor called `name`, or -1.
  [[nodiscard]] std::int32_t find(const std::string& name) const noexcept;
  /// The whole tensor. @throws IoError  it is missing
  [[nodiscard]] std::vector<float> values(const std::string& name) const;

 private:
  AdapterConfig config_;
  std::filesystem::path path_;
  std::vector<TensorInfo> tensors_;
  std::vector<SafetensorsModel> file_;  ///< one
};

/// "base_model.model." in front of a layout's name: PEFT's name.
std::string peft_name(const std::string& layout_name);

/// Writes an adapter folder: the tensors as they come, the configuration last (a folder that has it is complete).
class AdapterWriter final : public WeightSink {
 public:
  /// @param tensors     under the layout's names; f32 in the file
  /// @param durability  of commit(); later: for a checkpoint, whose completion fsyncs every file in it
  AdapterWriter(std::filesystem::path folder, AdapterConfig config, const std::vector<TensorInfo>& tensors,
                Durability durability = Durability::now);
  void write(std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* from) override;
  void commit() override;

 private:
  std::filesystem::path folder_;
  AdapterConfig config_;
  Durability durability_;
  std::unique_ptr<SafetensorsWriter> file_;
};

/// The difference of two adapters of one configuration as one plain LoRA of twice the rank: A' = [A; A0], B' = [B,
/// -B0], alpha and r so that the scale stays. What a PiSSA adapter becomes for the model that it was split from.
/// @throws IoError, ConfigError  the adapters do not fit together
void write_difference(const AdapterFolder& trained, const AdapterFolder& initial, const std::filesystem::path& folder);

}  // namespace dstrain
