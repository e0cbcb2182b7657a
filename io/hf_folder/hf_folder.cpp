// SPDX-License-Identifier: Apache-2.0
#include "io/hf_folder/hf_folder.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t max_config_bytes = 16 * 1024 * 1024;
constexpr std::int64_t max_tokenizer_file_bytes = 256 * 1024 * 1024;

constexpr std::array<std::string_view, 16> tokenizer_names{"tokenizer.json",
                                                           "tokenizer.model",
                                                           "tokenizer_config.json",
                                                           "special_tokens_map.json",
                                                           "added_tokens.json",
                                                           "vocab.json",
                                                           "merges.txt",
                                                           "vocab.txt",
                                                           "chat_template.jinja",
                                                           "chat_template.json",
                                                           "spiece.model",
                                                           "sentencepiece.bpe.model",
                                                           "ice_text.model",
                                                           "qwen.tiktoken",
                                                           "tiktoken.model",
                                                           "preprocessor_config.json"};

bool belongs_to_tokenizer(std::string_view name) {
  if (std::find(tokenizer_names.begin(), tokenizer_names.end(), name) != tokenizer_names.end()) return true;
  // Models with remote code name these files in config.json; without them the folder does not load.
  const bool own_code =
      name.starts_with("tokenization_") || name.starts_with("configuration_") || name.starts_with("modeling_");
  return own_code && name.ends_with(".py");
}

}  // namespace

std::string_view torch_name(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "float64";
    case DType::f32:
      return "float32";
    case DType::f16:
      return "float16";
    case DType::bf16:
      return "bfloat16";
    default:
      throw Error(fmt::format("weights are not stored as {}", name_of(dtype)));
  }
}

HfFolder read_hf_folder(const std::filesystem::path& folder) {
  if (!std::filesystem::is_regular_file(folder / "config.json")) {
    throw ConfigError("holds no config.json", folder.string(),
                      "model_name_or_path must be a Hugging Face model folder");
  }
  HfFolder content;
  content.config_json = read_file(folder / "config.json", max_config_bytes);
  if (std::filesystem::is_regular_file(folder / "generation_config.json")) {
    content.generation_config_json = read_file(folder / "generation_config.json", max_config_bytes);
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (entry.is_regular_file() && belongs_to_tokenizer(name)) {
      content.tokenizer_files.push_back({name, read_file(entry.path(), max_tokenizer_file_bytes)});
    }
  }
  std::sort(content.tokenizer_files.begin(), content.tokenizer_files.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return content;
}

std::string config_with_dtype(const std::string& config_json, DType dtype) {
  auto config = nlohmann::ordered_json::parse(config_json, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) throw ConfigError("is not a JSON object", "config.json");
  config.erase("dtype");  // the newer spelling of the same key: one of them only
  config["torch_dtype"] = torch_name(dtype);
  return config.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

void write_tokenizer_files(const std::filesystem::path& folder, const HfFolder& content) {
  create_folder(folder);
  for (const auto& file : content.tokenizer_files) {
    DSTRAIN_CHECK(is_plain_file_name(file.name), "\"{}\" is no file name", file.name);
    write_file_atomically(folder / file.name, file.bytes);
  }
}

void write_hf_folder(const std::filesystem::path& folder, const HfFolder& content, DType weights_dtype) {
  const auto config = config_with_dtype(content.config_json, weights_dtype);
  write_tokenizer_files(folder, content);
  if (content.generation_config_json)
    write_file_atomically(folder / "generation_config.json", *content.generation_config_json);
  write_file_atomically(folder / "config.json", config);
}

}  // namespace dstrain
