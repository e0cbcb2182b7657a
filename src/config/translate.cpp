// SPDX-License-Identifier: Apache-2.0
#include "config/translate.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "config/config_paths.hpp"
#include "config/dialects.hpp"
#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

ConfigValue read_config_file(const std::string& name, const FileAccess& files) {
  const auto text = files.read(name);
  if (!text)
    throw ConfigError("cannot read the configuration file", name,
                      "is the path right, seen from the working directory?");
  auto tree = read_yaml(*text, name);
  if (!tree.is_map() && !tree.is_null()) {
    throw ConfigError("is no configuration: its top level is not 'key: value' lines", name);
  }
  tree.origin.file = name;
  return tree;
}

class Translator {
 public:
  Translator(const Arguments& arguments, const FileAccess& files, TrainerKeys& trainer)
      : files_(files), trainer_(trainer) {
    out_.arguments = arguments;
    if (arguments.config_file) out_.file = read_config_file(*arguments.config_file, files);
  }

  TranslatedInput run() {
    translate_file();
    translate_flags();
    return std::move(out_);
  }

 private:
  void translate_file() {
    const auto dialect = dialect_of(out_.file);
    if (dialect == Dialect::trainer) return;
    if (dialect == Dialect::deepspeed) {
      out_.deepspeed = out_.file;
      trainer_.note(fmt::format("{} is DeepSpeed's file; a run also needs the trainer's keys", out_.file.origin.file));
    } else if (dialect == Dialect::accelerate) {
      add(translate_accelerate(out_.file, trainer_));
    } else {
      add(translate_gdgpt(out_.file, trainer_));
    }
    out_.partial = dialect != Dialect::gdgpt;
    out_.file = {};
  }

  void add(Translation translation) {
    for (auto& entry : translation.entries) out_.base.push_back(std::move(entry));
    if (!translation.deepspeed.is_null()) out_.deepspeed = std::move(translation.deepspeed);
    out_.trainers_decay = out_.trainers_decay || translation.trainers_decay;
  }

  /// Takes out of the flags what is accelerate's, DeepSpeed-Chat's or a launcher's.
  void translate_flags() {
    for (const auto& [name, value] : out_.file.members) given_.push_back(name);
    for (const auto& [name, value] : out_.arguments.overrides) given_.push_back(name);
    const bool is_chat = says("data_path") || says("max_seq_len") || says("num_warmup_steps") || says("lora_dim");
    ConfigValue chat, accelerate;
    chat.kind = accelerate.kind = ConfigValue::Kind::map;
    std::string launchers;
    std::erase_if(out_.arguments.overrides, [&](const auto& pair) {
      const auto& [name, value] = pair;
      if (name == "config_file") {
        accelerate = read_accelerate(value);
      } else if (name == "mixed_precision") {
        put_at(accelerate, name, value);
      } else if (is_chat && find_key(Dialect::deepspeed_chat, name) != nullptr) {
        put_at(chat, name, value);
      } else if (find_key(name) == nullptr && find_alias(name) == nullptr &&
                 find_key(Dialect::launcher, name) != nullptr) {
        launchers += (launchers.empty() ? "" : ", ") + name;
      } else {
        return false;
      }
      return true;
    });
    if (!launchers.empty()) {
      trainer_.note(
          fmt::format("options of a launcher have no effect: {} (mpirun or srun place the ranks)", launchers));
    }
    if (!chat.members.empty()) add(translate_deepspeed_chat(chat, given_, trainer_));
    if (!accelerate.members.empty()) add_accelerate(std::move(accelerate));
  }

  [[nodiscard]] bool says(std::string_view key) const {
    return std::find(given_.begin(), given_.end(), key) != given_.end();
  }

  ConfigValue read_accelerate(const ConfigValue& name) {
    try {
      return read_config_file(find_path(name.text, out_.arguments.config_file, files_).path, files_);
    } catch (const ConfigError& wrong) {
      trainer_.problem(name.origin, fmt::format("key 'config_file': {} ({})", wrong.what(), wrong.where()));
      return {};
    }
  }

  /// transformers sets its own precision and DeepSpeed file over accelerate's.
  void add_accelerate(ConfigValue tree) {
    if (tree.origin.file.empty()) put_at(tree, "distributed_type", ConfigValue::scalar("NO"));  // flags alone
    auto translation = translate_accelerate(tree, trainer_);
    std::erase_if(translation.entries, [&](const Entry& entry) {
      return (entry.name == "fp16" && says("bf16")) || (entry.name == "bf16" && says("fp16"));
    });
    if (says("deepspeed") && !translation.deepspeed.is_null()) {
      trainer_.note("accelerate's deepspeed_config is not used: `deepspeed` names a file");
      translation.deepspeed = {};
    }
    add(std::move(translation));
  }

  const FileAccess& files_;
  TrainerKeys& trainer_;
  std::vector<std::string> given_;
  TranslatedInput out_;
};

}  // namespace

TranslatedInput translate_input(const Arguments& arguments, const FileAccess& files, TrainerKeys& trainer) {
  return Translator(arguments, files, trainer).run();
}

}  // namespace dstrain
