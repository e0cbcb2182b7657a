// SPDX-License-Identifier: Apache-2.0
#include "config/resolve.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <system_error>
#include <tuple>

#include "config/deepspeed_config.hpp"
#include "config/entries.hpp"
#include "config/key_schema.hpp"
#include "config/validate.hpp"
#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

/// Passwords are never shown, not even in an error.
bool is_secret(std::string_view key) {
  return key.ends_with("_token") || key.ends_with("_api_key") || key.ends_with("_secret") || key.ends_with("_url");
}

class Resolver {
 public:
  Resolver(const Arguments& arguments, const FileAccess& files, const ResolveOptions& options)
      : arguments_(arguments), files_(files), options_(options) {}

  ResolvedConfig run() {
    ConfigValue file;
    if (arguments_.config_file) file = read_file(*arguments_.config_file);
    for (const auto& entry : merge_entries(file, arguments_, out_.notes, problems_)) take(entry);
    resolve_paths();
    if (!deepspeed_.is_null()) apply_deepspeed(deepspeed_, options_, out_, problems_);
    settle();
    validate(out_, problems_);
    for (auto& wrong : problems_) {
      if (wrong.origin.source != Origin::Source::initial) continue;  // a key that is missing has no line
      wrong.origin = {Origin::Source::file, arguments_.config_file.value_or("command line"), 0};
    }
    throw_problems(problems_);
    return std::move(out_);
  }

 private:
  void problem(const Origin& origin, std::string text) { problems_.push_back({origin, std::move(text)}); }

  ConfigValue read_file(const std::string& name) {
    const auto text = files_.read(name);
    if (!text)
      throw ConfigError("cannot read the configuration file", name,
                        "is the path right, seen from the working directory?");
    auto tree = read_yaml(*text, name);
    if (!tree.is_map() && !tree.is_null()) {
      throw ConfigError("is no configuration: its top level is not 'key: value' lines", name);
    }
    return tree;
  }

  void take(const Entry& entry) {
    const auto* key = find_key(entry.name);
    if (key == nullptr) return unknown(entry);
    switch (key->action) {
      case KeyClass::runs:
        return take_running(*key, entry.value);
      case KeyClass::noted:
      case KeyClass::refused:
        return take_idle(*key, entry.value);
    }
  }

  void unknown(const Entry& entry) {
    const auto near = nearest_key(entry.name);
    if (options_.allow_extra_args) {
      out_.notes.push_back(fmt::format("unknown key '{}' is left out (ALLOW_EXTRA_ARGS)", entry.name));
      return;
    }
    problem(entry.value.origin,
            fmt::format("unknown key '{}'{}", entry.name, near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }

  void take_running(const KeySpec& key, ConfigValue value) {
    if (key.name == "deepspeed" && value.is_map()) {
      deepspeed_ = value;
      value = ConfigValue::scalar("(in the configuration)", value.origin);
    }
    if (key.name == "max_grad_norm" && value.is_null()) value = ConfigValue::scalar("0", value.origin);
    if (key.name == "warmup_steps" && is_share(value)) return take_running(*find_key("warmup_ratio"), value);
    if (auto wrong = assign(key, value, out_.config); !wrong.empty()) {
      return problem(value.origin, fmt::format("key '{}': {}", key.name, wrong));
    }
    const bool kept = value.is_null() && default_text(key) != "null" && default_text(key) != "[]";
    if (kept) out_.notes.push_back(fmt::format("key '{}' is empty: the default {} stays", key.name, default_text(key)));
    out_.origins[std::string(key.name)] = value.origin;
  }

  /// transformers 5 writes a share of the steps where a count used to be.
  static bool is_share(const ConfigValue& value) {
    const auto number = to_number(value);
    return number && *number > 0 && *number < 1;
  }

  void take_idle(const KeySpec& key, const ConfigValue& value) {
    if (is_off(key, value)) return;
    if (auto wrong = type_problem(key, value); !wrong.empty()) {
      return problem(value.origin,
                     fmt::format("key '{}': {}", key.name, is_secret(key.name) ? "is not a text" : wrong));
    }
    if (key.action == KeyClass::refused) {
      return problem(value.origin, fmt::format("key '{}': {}", key.name, refusal(value, key.why)));
    }
    out_.notes.push_back(fmt::format("key '{}' has no effect in dstrain ({})", key.name, key.why));
  }

  void resolve_paths() {
    for (const auto& key : all_keys()) {
      if (!key.is_path) continue;
      if (const auto* plain = std::get_if<std::string RunConfig::*>(&key.member)) {
        resolve_path(key.name, out_.config.*(*plain));
      } else if (const auto* optional = std::get_if<std::optional<std::string> RunConfig::*>(&key.member)) {
        if (auto& value = out_.config.*(*optional)) resolve_path(key.name, *value);
      } else if (const auto* list = std::get_if<std::vector<std::string> RunConfig::*>(&key.member)) {
        for (auto& value : out_.config.*(*list)) resolve_path(key.name, value);
      }
    }
    if (out_.config.deepspeed && deepspeed_.is_null()) read_deepspeed(*out_.config.deepspeed);
  }

  /// The working directory first, then beside the configuration file; absolute paths and words that are no path stay.
  void resolve_path(std::string_view key, std::string& value) {
    const std::filesystem::path path = value;
    if (value.empty() || path.is_absolute() || !out_.origins.contains(key) || is_word(key, value)) {
      if (path.is_absolute() && key == "model_name_or_path" && !files_.exists(path)) missing_model(value);
      return;
    }
    if (files_.exists(path)) {
      if (arguments_.config_file)
        out_.notes.push_back(fmt::format("{}: {} is taken from the working directory", key, value));
      return;
    }
    if (arguments_.config_file) {
      const auto beside = (std::filesystem::path(*arguments_.config_file).parent_path() / path).lexically_normal();
      if (files_.exists(beside)) {
        out_.notes.push_back(
            fmt::format("{}: {} is taken from the configuration file's folder: {}", key, value, beside.string()));
        value = beside.string();
        return;
      }
    }
    if (key == "model_name_or_path") missing_model(value);
  }

  /// Values of path keys that are not paths.
  static bool is_word(std::string_view key, const std::string& value) {
    if (key == "model_name_or_path") return value.starts_with("preset:");
    if (key == "dataset_dir") return value == "ONLINE" || value.starts_with("REMOTE:");
    if (key == "resume_from_checkpoint") return to_bool(ConfigValue::scalar(value)).has_value();
    return value == "(in the configuration)";
  }

  void missing_model(const std::string& value) {
    const std::string text =
        fmt::format("model_name_or_path: {} is no local folder; there is no hub access, give a local path", value);
    if (options_.inputs_must_exist) {
      problem(out_.origin("model_name_or_path"), text);
    } else {
      out_.notes.push_back(text);
    }
  }

  void read_deepspeed(const std::string& name) {
    const auto text = files_.read(name);
    if (!text)
      return problem(out_.origin("deepspeed"),
                     fmt::format("key 'deepspeed': cannot read {} (looked in the working directory{})", name,
                                 arguments_.config_file ? " and beside the configuration file" : ""));
    try {
      deepspeed_ = read_yaml(*text, name, Origin::Source::deepspeed);
    } catch (const ConfigError& wrong) {
      return problem(out_.origin("deepspeed"), fmt::format("key 'deepspeed': {} ({})", wrong.what(), wrong.where()));
    }
    if (!deepspeed_.is_map()) {
      problem(out_.origin("deepspeed"), fmt::format("key 'deepspeed': {} is no mapping", name));
      deepspeed_ = {};
    }
  }

  /// What LLaMA-Factory derives after reading, and notes that depend on values.
  void settle() {
    auto& c = out_.config;
    if (c.neat_packing && !c.packing) c.packing = true;
    if (!c.packing && c.stage == "pt") c.packing = true;
    if (c.use_cpu && c.device == "auto") c.device = "cpu";
    if (c.optim != "adamw_torch" && c.optim != "adamw_torch_fused") {
      out_.notes.push_back(fmt::format("optim: {} is taken as adamw_torch", c.optim));
    }
    std::string elsewhere;
    for (const auto& logger : c.report_to) {
      if (logger != "none" && logger != "all") elsewhere += (elsewhere.empty() ? "" : ", ") + logger;
    }
    if (!elsewhere.empty()) {
      out_.notes.push_back(fmt::format("report_to: {} has no effect (nothing is sent over the network)", elsewhere));
    }
    if (c.resume_from_checkpoint) {
      const auto on = to_bool(ConfigValue::scalar(*c.resume_from_checkpoint));
      if (on) c.resume_from_checkpoint = *on ? "true" : "false";
    }
  }

  const Arguments& arguments_;
  const FileAccess& files_;
  const ResolveOptions& options_;
  ResolvedConfig out_;
  ConfigValue deepspeed_;
  std::vector<ConfigProblem> problems_;
};

}  // namespace

FileAccess FileAccess::local() {
  FileAccess files;
  files.exists = [](const std::filesystem::path& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
  };
  files.read = [](const std::filesystem::path& path) -> std::optional<std::string> {
    constexpr std::uintmax_t kLargest = std::uintmax_t{1} << 20;
    std::error_code problem;
    if (!std::filesystem::is_regular_file(path, problem) || std::filesystem::file_size(path, problem) > kLargest ||
        problem) {
      return std::nullopt;
    }
    std::ifstream in(path, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    return in.bad() || !in.is_open() ? std::nullopt : std::optional(std::move(text));
  };
  return files;
}

void throw_problems(std::vector<ConfigProblem> problems) {
  if (problems.empty()) return;
  constexpr const char* kHint = "`dstrain config --explain KEY` tells what a key does";
  if (problems.size() == 1) throw ConfigError(problems.front().text, problems.front().origin.text(), kHint);
  std::stable_sort(problems.begin(), problems.end(), [](const auto& a, const auto& b) {
    return std::tie(a.origin.file, a.origin.line) < std::tie(b.origin.file, b.origin.line);
  });
  std::string text = fmt::format("{} problems in the configuration:", problems.size());
  for (const auto& problem : problems) text += fmt::format("\n  {}: {}", problem.origin.text(), problem.text);
  throw ConfigError(text, "", kHint);
}

ResolvedConfig resolve_config(const Arguments& arguments, const FileAccess& files, const ResolveOptions& options) {
  return Resolver(arguments, files, options).run();
}

ResolvedConfig resolve_config(const std::vector<std::string>& words, const FileAccess& files, ResolveOptions options) {
  if (const char* extra = std::getenv("ALLOW_EXTRA_ARGS")) {
    options.allow_extra_args = to_bool(ConfigValue::scalar(extra)).value_or(false);
  }
  return resolve_config(parse_arguments(words), files, options);
}

}  // namespace dstrain
