// SPDX-License-Identifier: Apache-2.0
/// `dstrain export cfg.yaml`: a model with its adapters merged in, as llamafactory-cli export writes it.
#include "commands/export_merged.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "config/resolve.hpp"
#include "core/log.hpp"
#include "core/system_memory.hpp"
#include "io/hf_folder/hf_folder.hpp"
#include "io/safetensors/model.hpp"
#include "io/safetensors/writer.hpp"
#include "train/grown_vocab.hpp"
#include "train/merged_weights.hpp"
#include "train/model_source.hpp"
#include "train/tuning_setup.hpp"

namespace dstrain::commands {
namespace {

constexpr std::int64_t merged_piece_elements = 4 << 20;
constexpr std::int64_t gigabyte = 1'000'000'000;

DType dtype_by_name(const std::string& name) {
  if (name == "float16") return DType::f16;
  if (name == "bfloat16") return DType::bf16;
  return DType::f32;
}

/// infer_dtype, else what config.json says, else what the files hold.
DType export_dtype(const RunConfig& config, const ModelSource& source) {
  if (config.infer_dtype != "auto") return dtype_by_name(config.infer_dtype);
  if (!source.spec.torch_dtype.empty()) return dtype_by_name(source.spec.torch_dtype);
  return SafetensorsModel::open(source.folder).dtype(0);
}

/// An adapter that changes one of two tied matrices gives the model two.
std::string config_of_untied(const std::string& config_json) {
  auto config = nlohmann::ordered_json::parse(config_json);
  config["tie_word_embeddings"] = false;
  return config.dump(2);
}

}  // namespace

bool asks_for_merge(const Words& words) {
  return std::any_of(words.begin(), words.end(), [](const std::string& word) {
    return word.ends_with(".yaml") || word.ends_with(".yml") || word.find("export_dir") != std::string::npos;
  });
}

ExitCode export_merged(const Words& words) {
  const ResolvedConfig resolved = resolve_config(words, FileAccess::local(), {.inputs_must_exist = true});
  const RunConfig& config = resolved.config;
  if (!config.export_dir) throw ConfigError("Please specify `export_dir` to save model.", "command line");
  ModelSource source = open_model(config.model_name_or_path);
  if (!source.has_weights) {
    throw ConfigError(fmt::format("{} has no weights to export", config.model_name_or_path), {},
                      "give a model folder with model.safetensors");
  }
  HfFolder files = read_hf_folder(source.folder);
  const VocabGrowth growth = resize_vocab(config, source.folder, source.spec, files);
  const auto adapters = adapter_folders(config);
  ModelSpec tuned = source.spec;
  for (const auto& folder : adapters) {
    Tuning tuning;
    tuning.kind = TuningKind::lora;
    tuning.adapter = AdapterFolder::open(folder).config();
    tuned = merged_spec(std::move(tuned), tuning);
  }
  const auto weights = open_merged(source.folder, source.spec, tuned, adapters, growth);
  const ModelLayout layout = make_layout(tuned);
  std::vector<TensorInfo> tensors;
  for (const TensorLayout& tensor : layout.tensors) tensors.push_back({tensor.name, tensor.shape});
  const DType dtype = export_dtype(config, source);
  const std::filesystem::path folder = *config.export_dir;
  SafetensorsModelWriter writer(folder, tensors, dtype, config.export_size * gigabyte);
  std::vector<float> scratch(static_cast<std::size_t>(merged_piece_elements));
  copy_weights(*weights, tensors, writer, scratch);

  if (source.spec.tie_word_embeddings && !tuned.tie_word_embeddings) {
    log::warning("an adapter changes only one of the tied embedding and head: the exported model has both");
    files.config_json = config_of_untied(files.config_json);
  }
  write_hf_folder(folder, files, dtype);
  fmt::print("{}: {} adapter(s) merged, {} parameters, {}\n", folder.string(), adapters.size(), layout.parameters,
             format_bytes(layout.parameters * static_cast<std::int64_t>(size_of(dtype))));
  return ExitCode::good;
}

}  // namespace dstrain::commands
