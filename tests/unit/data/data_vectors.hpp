// SPDX-License-Identifier: Apache-2.0
/// The shared test data, as the tests of this folder want it.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "data/tokenizer.hpp"
#include "support/shared_data.hpp"

namespace dstrain::test {

/// The shared data laid out; none where there is no ../shared.
inline std::optional<std::filesystem::path> unpacked_data() {
  static const auto data = shared_data_unpacked(DSTRAIN_TEST_TMP);
  return data;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// qwen3 is qwen2's vocabulary with its own added tokens.
inline TokenizerFiles make_tokenizer_files(const std::filesystem::path& data, const std::string& name) {
  if (name == "stories260K") return read_tokenizer_files(data / name);
  if (name != "qwen3") return read_tokenizer_files(data / "tokenizers" / name);
  auto files = read_tokenizer_files(data / "tokenizers" / "qwen2");
  std::string& json = files.at("tokenizer.json");  // as text: parsing it takes seconds under sanitizers
  const auto begin = json.find('[', json.find("\"added_tokens\""));
  const auto end = json.find(']', begin) + 1;
  json.replace(begin, end - begin, read_text(data / "tokenizers" / "qwen3" / "added_tokens.json"));
  files["tokenizer_config.json"] = read_text(data / "tokenizers" / "qwen3" / "tokenizer_config.json");
  return files;
}

/// The files of a tokenizer the vectors name, read once per program.
inline const TokenizerFiles& vector_tokenizer_files(const std::filesystem::path& data, const std::string& name) {
  static std::map<std::string, TokenizerFiles> files;
  if (const auto it = files.find(name); it != files.end()) return it->second;
  return files.emplace(name, make_tokenizer_files(data, name)).first->second;
}

/// Read once per program: copies share the model.
inline Tokenizer vector_tokenizer(const std::filesystem::path& data, const std::string& name) {
  static std::map<std::string, Tokenizer> tokenizers;
  if (const auto it = tokenizers.find(name); it != tokenizers.end()) return it->second;
  return tokenizers.emplace(name, load_tokenizer(vector_tokenizer_files(data, name))).first->second;
}

inline Tokenizer bare_sentencepiece(const std::filesystem::path& data, const std::string& name) {
  const TokenizerFiles& files = vector_tokenizer_files(data, name);
  Tokenizer tokenizer = load_tokenizer({{"tokenizer.model", files.at("tokenizer.model")}});
  tokenizer.set_split_special_tokens(true);
  return tokenizer;
}

/// The stand-in for ChatGLM3: ChatGLM2's vocabulary with the role tokens behind it. Its own code does not look for them
/// in texts.
inline Tokenizer chatglm3_tokenizer(const std::filesystem::path& data) {
  auto files = vector_tokenizer_files(data, "chatglm2");
  files["added_tokens.json"] =
      R"({"<|system|>": 64794, "<|user|>": 64795, "<|assistant|>": 64796, "<|observation|>": 64797})";
  Tokenizer tokenizer = load_tokenizer(files);
  tokenizer.set_split_special_tokens(true);
  return tokenizer;
}

}  // namespace dstrain::test
