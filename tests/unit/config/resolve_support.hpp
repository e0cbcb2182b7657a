// SPDX-License-Identifier: Apache-2.0
/// Resolving without a disk: files are a map, and problems come back as text.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/resolve.hpp"
#include "core/error.hpp"

namespace dstrain::test {

using Files = std::map<std::string, std::string>;

/// A disk that holds just `files`. A folder exists where a file below it does.
inline FileAccess in_memory(const Files& files) {
  FileAccess access;
  access.read = [files](const std::filesystem::path& path) -> std::optional<std::string> {
    const auto it = files.find(path.lexically_normal().string());
    return it == files.end() ? std::nullopt : std::optional(it->second);
  };
  access.exists = [files](const std::filesystem::path& path) {
    const std::string name = path.lexically_normal().string();
    for (const auto& [file, text] : files) {
      if (file == name || file.starts_with(name + "/")) return true;
    }
    return false;
  };
  return access;
}

/// The smallest configuration that resolves.
inline const std::string kMinimal =
    "model_name_or_path: /model\nstage: sft\ndo_train: true\nfinetuning_type: full\ndataset: demo\noutput_dir: out\n";

inline ResolvedConfig resolve(const std::vector<std::string>& words, const Files& files = {},
                              const ResolveOptions& options = {}) {
  return resolve_config(parse_arguments(words), in_memory(files), options);
}

/// Resolves kMinimal with `more` lines behind it.
inline ResolvedConfig resolve_with(const std::string& more, std::vector<std::string> words = {}, Files files = {},
                                   const ResolveOptions& options = {}) {
  files["cfg.yaml"] = kMinimal + more;
  files["/model/config.json"] = "{}";
  words.insert(words.begin(), "cfg.yaml");
  return resolve(words, files, options);
}

/// "what (where)" of the ConfigError that `step` throws, or "no error".
template <typename Step>
std::string error_of(const Step& step) {
  try {
    step();
  } catch (const ConfigError& error) {
    return error.where().empty() ? error.what() : std::string(error.what()) + " (" + error.where() + ")";
  }
  return "no error";
}

inline std::string error_with(const std::string& more, const std::vector<std::string>& words = {},
                              const Files& files = {}, const ResolveOptions& options = {}) {
  return error_of([&] { resolve_with(more, words, files, options); });
}

/// Whether any note holds `part`.
inline bool has_note(const ResolvedConfig& resolved, const std::string& part) {
  for (const auto& note : resolved.notes) {
    if (note.find(part) != std::string::npos) return true;
  }
  return false;
}

}  // namespace dstrain::test
