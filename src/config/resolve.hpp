// SPDX-License-Identifier: Apache-2.0
/// Command line, configuration file and DeepSpeed file to the one RunConfig of a run.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/arguments.hpp"
#include "config/run_config.hpp"
#include "config/value.hpp"

namespace dstrain {

/// How files are seen: only rank 0 has a disk, and tests need none.
struct FileAccess {
  std::function<std::optional<std::string>(const std::filesystem::path&)>
      read;  ///< contents, or none where it cannot be read
  std::function<bool(const std::filesystem::path&)> exists;

  /// The disk of this process, relative paths from the working directory; files over 1 MiB are not read.
  static FileAccess local();
};

/// One thing that is wrong, in the words of what the user wrote.
struct ConfigProblem {
  Origin origin;
  std::string text;
};

/// The outcome: values, where each came from, and what the user should know.
struct ResolvedConfig {
  RunConfig config;
  std::map<std::string, Origin, std::less<>> origins;  ///< by key; keys that keep their default are absent
  std::vector<std::string> notes;                      ///< say each once in the log
  std::vector<ConfigProblem> missing;                  ///< what a run still needs (ResolveOptions::may_be_incomplete)

  /// Where the key's value came from.
  [[nodiscard]] Origin origin(std::string_view key) const;
  /// The resolved_config.yaml of output_dir: every key that runs, with its origin as a comment. dstrain reads it back
  /// to the same RunConfig.
  [[nodiscard]] std::string to_yaml() const;
};

struct ResolveOptions {
  int world_size = 0;              ///< 0: not known; DeepSpeed's train_batch_size is then not checked
  bool may_be_incomplete = false;  ///< keys that every run needs may be missing: they are listed, not errors
  bool inputs_must_exist =
      false;  ///< a model_name_or_path that is nowhere is an error (train) instead of a note (config)
  bool allow_extra_args = false;  ///< unknown keys are notes: LLaMA-Factory's environment variable ALLOW_EXTRA_ARGS
};

/// Reads everything the command line names and checks it.
///
/// Local; call it on one rank and send serialize(config) to the others. Overrides win over the file, relative paths are
/// looked for in the working directory first and then beside the configuration file.
/// @throws ConfigError  every problem at once, each with its file:line
ResolvedConfig resolve_config(const Arguments& arguments, const FileAccess& files, const ResolveOptions& options = {});

/// The same from the words of the command line, with ALLOW_EXTRA_ARGS taken from the environment.
ResolvedConfig resolve_config(const std::vector<std::string>& words, const FileAccess& files,
                              ResolveOptions options = {});

/// A RunConfig as text for the other ranks: one `key: value` per line, every member, exact.
std::string serialize(const RunConfig& config);
/// The inverse. @throws ConfigError  the text is not serialize()'s
RunConfig deserialize(const std::string& text);

/// Throws ConfigError where there are problems: one as it is, several as a list in the order of the files' lines.
void throw_problems(std::vector<ConfigProblem> problems);

}  // namespace dstrain
