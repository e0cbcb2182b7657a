// SPDX-License-Identifier: Apache-2.0
#include "config/describe.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "config/key_schema.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

std::string joined(std::string_view words) {
  std::string out;
  for (const auto word : split_words(words)) out += (out.empty() ? "" : ", ") + std::string(word);
  return out;
}

/// What dstrain does with the key, as a sentence.
std::string effect_of(const KeySpec& key) {
  switch (key.action) {
    case KeyClass::runs: {
      std::string out = "runs";
      if (!key.choice_list.empty()) out += fmt::format("; one of {}", joined(key.choice_list));
      if (!key.not_yet_list.empty())
        out += fmt::format("; not yet: {} ({})", joined(key.not_yet_list), key.not_yet_why);
      return out;
    }
    case KeyClass::noted:
      return fmt::format("no effect: {}", key.why);
    case KeyClass::refused:
      return fmt::format("only the default: {}", key.why);
  }
  return {};
}

/// A cell of a Markdown table: a bar would end it.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string group_table(KeyGroup group) {
  std::string out =
      fmt::format("\n## {}\n\n| key | value | default | what dstrain does with it | meaning |\n|---|---|---|---|---|\n",
                  title_of(group));
  for (const auto& key : all_keys()) {
    if (group_of(key) != group) continue;
    out += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", key.name, type_text(key), cell(default_text(key)),
                       cell(effect_of(key)), cell(key.meaning));
  }
  return out;
}

/// What is done with a key of another dialect.
std::string effect_of_foreign(const KeySpec& key) {
  std::string out;
  switch (key.action) {
    case KeyClass::runs:
      out = fmt::format("runs: {}", key.target);
      break;
    case KeyClass::noted:
      out = fmt::format("no effect: {}", key.why);
      break;
    case KeyClass::refused:
      out = fmt::format("only {}{}: {}", key.initial, key.off_list.empty() ? "" : ", " + joined(key.off_list), key.why);
      break;
  }
  if (!key.choice_list.empty()) out += fmt::format("; one of {}", joined(key.choice_list));
  if (!key.not_yet_list.empty()) out += fmt::format("; not {} ({})", joined(key.not_yet_list), key.not_yet_why);
  return out;
}

std::string dialect_table(Dialect dialect, std::string_view title, std::string_view text) {
  std::string out = fmt::format(
      "\n## {}\n\n{}\n\n| key | value | default | what dstrain does with it | meaning |\n|---|---|---|---|---|\n",
      title, text);
  for (const auto& key : dialect_keys(dialect)) {
    out += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", key.name, type_text(key), cell(key.initial),
                       cell(effect_of_foreign(key)), cell(key.meaning));
  }
  return out;
}

std::string dialect_tables() {
  return dialect_table(
             Dialect::deepspeed, "DeepSpeed's file (`deepspeed:`, `--deepspeed_config`, or the file itself)",
             "JSON, also with comments and trailing commas; a path, the mapping itself, or base64. `auto` takes the "
             "value of this page's key.\nWhat is not `auto` must equal what the trainer's file says; where that "
             "says nothing, DeepSpeed's value is taken. Unknown keys\nare errors.") +
         dialect_table(
             Dialect::accelerate, "accelerate's file (`--config_file`, or the file itself)",
             "Placement is MPI's; precision, DeepSpeed and FSDP sections count as long as the trainer's keys do "
             "not say otherwise.") +
         dialect_table(Dialect::gdgpt, "gdGPT's file", "Beside DeepSpeed's keys, in one YAML file.") +
         dialect_table(
             Dialect::deepspeed_chat, "DeepSpeed-Chat's flags (step 1)",
             "Understood where one of `data_path`, `max_seq_len`, `num_warmup_steps`, `lora_dim` is given; the "
             "recipe's own defaults then hold\n(learning_rate 1e-3, one epoch, loss on prompts, fp16, ...).") +
         dialect_table(Dialect::launcher, "Options of launchers", "Left over in front of a script's name.");
}

}  // namespace

std::string explain_key(std::string_view name) {
  std::string out;
  if (const auto* alias = find_alias(name); alias != nullptr && find_key(name) == nullptr) {
    out = fmt::format("{} is now called {}{}{}\n", name, alias->name, alias->note.empty() ? "" : "; ", alias->note);
    name = alias->name;
  }
  if (const auto* key = find_key(name)) {
    out += fmt::format("{}: {}\n  default: {}\n  {}\n  {}\n", key->name, type_text(*key), default_text(*key),
                       key->meaning, effect_of(*key));
  }
  for (const auto dialect :
       {Dialect::deepspeed, Dialect::accelerate, Dialect::gdgpt, Dialect::deepspeed_chat, Dialect::launcher}) {
    const auto* key = find_key(dialect, name);
    if (key == nullptr) continue;
    out += fmt::format("{} ({}): {}\n  default: {}\n  {}\n  {}\n", key->name, title_of(dialect), type_text(*key),
                       key->initial, key->meaning, effect_of_foreign(*key));
  }
  if (!out.empty()) return out;
  const auto near = nearest_key(name);
  throw ConfigError(
      fmt::format("unknown key '{}'", name), "",
      near.empty() ? "`dstrain config --keys-markdown` lists all" : fmt::format("did you mean {}?", near));
}

std::string keys_help(const std::vector<KeyGroup>& groups) {
  std::string out;
  KeyGroup group = KeyGroup::other;
  for (const auto& key : all_keys()) {
    const auto now = group_of(key);
    if (key.action != KeyClass::runs) continue;
    if (!groups.empty() && std::find(groups.begin(), groups.end(), now) == groups.end()) continue;
    if (out.empty() || now != group) out += fmt::format("\n{}:\n", title_of(now));
    group = now;
    std::string words = key.choice_list.empty() ? "" : fmt::format(" {{{}}}", joined(key.choice_list));
    if (words.size() > 80) words.clear();  // optimizers: `dstrain config --explain optim` lists them
    out += fmt::format("  --{:<30} {} [{}]{}\n", key.name, key.meaning, default_text(key), words);
  }
  return out;
}

std::string keys_markdown() {
  std::string out =
      "# Configuration keys\n\n"
      "Printed by `dstrain config --keys-markdown`; a test keeps this page equal to it.\n\n"
      "A configuration is LLaMA-Factory's YAML (or JSON, or the same keys as flags). `dstrain cfg.yaml key=value "
      "a.b=value` overrides\n"
      "the file. Relative paths are looked for in the working directory first, then beside the configuration file. "
      "Numbers may be\n"
      "written `1e-5`; yes, no, on and off are booleans. An unknown key is an error that names the nearest known one\n"
      "(`ALLOW_EXTRA_ARGS=1`: a note). A key that \"runs\" has its effect; \"no effect\" is accepted and said once; "
      "\"only the default\"\n"
      "means that any other value stops the run before it starts.\n";
  for (const auto group : {KeyGroup::dstrain, KeyGroup::model, KeyGroup::data, KeyGroup::finetuning, KeyGroup::training,
                           KeyGroup::generation, KeyGroup::other}) {
    out += group_table(group);
  }
  out += "\n## Old and second names\n\n| name | now | |\n|---|---|---|\n";
  for (const auto& alias : all_aliases())
    out += fmt::format("| `{}` | `{}` | {} |\n", alias.old_name, alias.name, cell(alias.note));
  return out + dialect_tables();
}

std::string config_table(const ResolvedConfig& resolved) {
  struct Row {
    KeyGroup group;
    std::string key, value, origin;
  };
  std::vector<Row> rows;
  std::size_t key_width = 0, value_width = 0;
  for (const auto& key : all_keys()) {
    if (key.action != KeyClass::runs) continue;
    rows.push_back(
        {group_of(key), std::string(key.name), value_text(key, resolved.config), resolved.origin(key.name).text()});
    key_width = std::max(key_width, rows.back().key.size());
    value_width = std::max(value_width, std::min<std::size_t>(rows.back().value.size(), 40));
  }
  std::string out;
  KeyGroup group = KeyGroup::other;
  for (const auto& row : rows) {
    if (row.group != group) {
      out += fmt::format("{}{}\n", out.empty() ? "" : "\n", title_of(row.group));
      group = row.group;
    }
    out += fmt::format("  {:<{}}  {:<{}}  {}\n", row.key, key_width, row.value, value_width, row.origin);
  }
  for (const auto& note : resolved.notes)
    out += fmt::format("{}note: {}\n", &note == &resolved.notes.front() ? "\n" : "", note);
  return out;
}

std::string config_json(const ResolvedConfig& resolved) {
  nlohmann::ordered_json out;
  for (const auto& key : all_keys()) {
    if (key.action != KeyClass::runs) continue;
    out["config"][std::string(key.name)] = {{"value", nlohmann::ordered_json::parse(value_json(key, resolved.config))},
                                            {"origin", resolved.origin(key.name).text()}};
  }
  out["notes"] = resolved.notes;
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace dstrain
