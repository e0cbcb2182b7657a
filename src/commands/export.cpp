// SPDX-License-Identifier: Apache-2.0
/// `dstrain export`: a merged model, or one with random weights, as a Hugging Face folder.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "commands/commands.hpp"
#include "commands/export_merged.hpp"
#include "commands/local_model.hpp"
#include "commands/words.hpp"
#include "core/system_memory.hpp"
#include "io/hf_folder/hf_folder.hpp"
#include "io/safetensors/writer.hpp"
#include "model/initialise.hpp"
#include "train/model_source.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kExportHelp =
    "usage: dstrain export cfg.yaml [key=value ...]   keys: model_name_or_path, adapter_name_or_path, adapter_folder, "
    "export_dir,\n"
    "                                                 export_size (GB), infer_dtype\n"
    "Merges the adapters into the model, as PEFT's merge_and_unload, and writes a model folder.\n"
    "       dstrain export preset:NAME DIR [--seed 42] [--dtype float32|bfloat16|float16]\n"
    "       dstrain export CONFIG.json DIR ...      the same for any architecture\n"
    "Writes config.json and model.safetensors: matrices N(0, initializer_range), norms 1, biases 0. `dstrain train` "
    "with the same\n"
    "preset and seed starts from the same weights. Presets: nano, 15m, 110m, 0.5b, 1.5b, 1b, 7b, 8b, 70b.\n";

constexpr std::array<FlagSpec, 2> kExportFlags = {{{"seed"}, {"dtype"}}};
constexpr std::array<std::string_view, 2> kExportPositions = {"preset:NAME", "DIR"};
constexpr std::int64_t piece_elements = 1 << 20;

/// Somebody's trained model is not to be replaced by noise.
void refuse_model_folder(const std::filesystem::path& folder) {
  for (const char* name : {"config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"}) {
    if (std::filesystem::exists(folder / name)) {
      throw ConfigError(fmt::format("{} already holds {}", folder.string(), name), folder.string(),
                        "give a folder without a model");
    }
  }
}

void write_weights(const ModelSpec& spec, const ModelLayout& layout, const std::filesystem::path& folder, DType dtype,
                   std::uint64_t seed) {
  std::vector<TensorInfo> tensors;
  for (const TensorLayout& tensor : layout.tensors) tensors.push_back({tensor.name, tensor.shape});
  SafetensorsModelWriter writer(folder, tensors, dtype);
  std::vector<float> piece(static_cast<std::size_t>(piece_elements));
  for (const TensorLayout& tensor : layout.tensors) {
    for (std::int64_t begin = 0; begin < tensor.count; begin += piece_elements) {
      const std::int64_t count = std::min(piece_elements, tensor.count - begin);
      fill_initial(spec, tensor, begin, count, piece.data(), seed);
      writer.write(tensor.index, begin, count, piece.data());
    }
  }
  writer.commit();
}

}  // namespace

ExitCode export_model(const Words& words) {
  if (asks_for_help(words)) {
    fmt::print("{}", kExportHelp);
    return ExitCode::good;
  }
  if (asks_for_merge(words)) return export_merged(words);
  const ParsedWords parsed(words, kExportFlags, kExportPositions);
  const ModelSource source = open_model(parsed.position(0));
  if (source.has_weights) {
    throw ConfigError(fmt::format("{} has weights; this command makes random ones", parsed.position(0)), "command line",
                      "give preset:NAME or the path of a config.json");
  }
  const std::filesystem::path folder = parsed.position(1);
  refuse_model_folder(folder);
  const DType dtype = dtype_of_flag(parsed.text("dtype").value_or("float32"));
  const std::int64_t seed = parsed.integer_or("seed", 42);
  if (seed < 0) throw ConfigError(fmt::format("--seed is {}", seed), "command line", "give 0 or more");

  const ModelLayout layout = make_layout(source.spec);
  write_weights(source.spec, layout, folder, dtype, static_cast<std::uint64_t>(seed));
  // Last: a folder with config.json is complete.
  HfFolder files;
  files.config_json = source.spec.config_json;
  write_hf_folder(folder, files, dtype);
  fmt::print("{}: {} parameters, {}\n", folder.string(), layout.parameters,
             format_bytes(layout.parameters * static_cast<std::int64_t>(size_of(dtype))));
  return ExitCode::good;
}

}  // namespace dstrain::commands
