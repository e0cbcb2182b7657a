// SPDX-License-Identifier: Apache-2.0
/// Every key that dstrain knows, once: name, type, default, meaning, and what dstrain does with it.
///
/// The rows stand in keys_<group>.cpp. Reading, checking, printing, `--help`, docs/config.md and the text that rank 0
/// sends to the others all walk this table.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/run_config.hpp"
#include "config/value.hpp"

namespace dstrain {

/// Where a key's value lands in RunConfig; monostate for keys that land nowhere.
using Member = std::variant<std::monostate, bool RunConfig::*, int RunConfig::*, std::int64_t RunConfig::*,
                            double RunConfig::*, std::string RunConfig::*, std::vector<std::string> RunConfig::*,
                            std::optional<bool> RunConfig::*, std::optional<int> RunConfig::*,
                            std::optional<std::int64_t> RunConfig::*, std::optional<double> RunConfig::*,
                            std::optional<std::string> RunConfig::*, std::optional<DeepSpeedSection> RunConfig::*,
                            std::optional<Fp16Options> RunConfig::*, std::optional<NamedArguments> RunConfig::*>;

/// What a value of the key looks like. `any` takes mappings too.
enum class ValueType { boolean, integer, number, text, list, any };

/// What dstrain does with a key.
enum class KeyClass {
  runs,    ///< has its effect
  noted,   ///< accepted, has no effect here; said once where the value is not the default
  refused  ///< an error where the value is not the default
};

enum class KeyGroup { model, data, finetuning, generation, training, dstrain, other };

/// Whose file or command line a key belongs to. `trainer`: LLaMA-Factory's and dstrain's own, the ones that count.
enum class Dialect { trainer, deepspeed, accelerate, gdgpt, deepspeed_chat, launcher };

/// One row of the schema. Build it with runs(), becomes(), noted() or refused() and the refinements below.
struct KeySpec {
  std::string_view name;  ///< dotted where the dialect has sections; "section.*": everything in it
  KeyClass action = KeyClass::noted;
  ValueType type = ValueType::text;
  Member member;             ///< runs only
  std::string_view initial;  ///< default as text; for `runs` it is the member's initialiser and this stays empty
  std::string_view meaning;
  std::string_view why;           ///< noted: why it has no effect; refused: why, and what to use
  std::string_view choice_list;   ///< runs: the words that run, separated by '|'; empty: any
  std::string_view not_yet_list;  ///< runs: words that are legal elsewhere but refused here, separated by '|'
  std::string_view not_yet_why;
  std::string_view off_list;  ///< refused, noted: further values that mean "off", separated by '|'
  std::string_view target;    ///< other dialects, runs: the trainer keys that the value goes to
  bool is_path = false;       ///< resolved against the working directory, then the config file's folder

  [[nodiscard]] constexpr KeySpec choices(std::string_view words) const {
    auto k = *this;
    k.choice_list = words;
    return k;
  }
  [[nodiscard]] constexpr KeySpec not_yet(std::string_view words, std::string_view reason) const {
    auto k = *this;
    k.not_yet_list = words;
    k.not_yet_why = reason;
    return k;
  }
  [[nodiscard]] constexpr KeySpec off(std::string_view words) const {
    auto k = *this;
    k.off_list = words;
    return k;
  }
  [[nodiscard]] constexpr KeySpec path() const {
    auto k = *this;
    k.is_path = true;
    return k;
  }
};

namespace keys {
ValueType type_of(const Member& member);
KeySpec runs(std::string_view name, Member member, std::string_view meaning);
/// A key of another dialect that runs: its value goes to the trainer's `target`.
KeySpec becomes(std::string_view name, ValueType type, std::string_view initial, std::string_view meaning,
                std::string_view target);
KeySpec noted(std::string_view name, ValueType type, std::string_view initial, std::string_view meaning,
              std::string_view why);
KeySpec refused(std::string_view name, ValueType type, std::string_view initial, std::string_view meaning,
                std::string_view why);

// The rows, one function per file.
std::vector<KeySpec> model();
std::vector<KeySpec> model_unused();
std::vector<KeySpec> data();
std::vector<KeySpec> finetuning();
std::vector<KeySpec> finetuning_methods();
std::vector<KeySpec> generation();
std::vector<KeySpec> training();
std::vector<KeySpec> training_output();
std::vector<KeySpec> training_unused();
std::vector<KeySpec> own();
std::vector<KeySpec> measuring();
std::vector<KeySpec> other();
std::vector<KeySpec> other_versions();
// The other dialects.
std::vector<KeySpec> deepspeed_engine();
std::vector<KeySpec> deepspeed_zero();
std::vector<KeySpec> deepspeed_sections();
std::vector<KeySpec> deepspeed_unused();
std::vector<KeySpec> accelerate();
std::vector<KeySpec> accelerate_sections();
std::vector<KeySpec> gdgpt();
std::vector<KeySpec> deepspeed_chat();
std::vector<KeySpec> launcher();
}  // namespace keys

/// An old or second name of a key.
struct KeyAlias {
  std::string_view old_name;
  std::string_view name;
  bool negated = false;   ///< resume_lora_training: true is create_new_adapter: false
  std::string_view note;  ///< what to say besides "is now called"
};

/// The trainer's keys in the order of the documentation. Local; built on first use.
std::span<const KeySpec> all_keys();
/// The keys of another dialect, in the order of the documentation. Local; built on first use.
std::span<const KeySpec> dialect_keys(Dialect dialect);
/// The row of `dialect` for a dotted path, "section.*" included, or nullptr. Local.
const KeySpec* find_key(Dialect dialect, std::string_view path);
/// Whether rows of `dialect` stand below `path`.
bool is_section(Dialect dialect, std::string_view path);
/// "DeepSpeed's file" and so on.
std::string_view title_of(Dialect dialect);
std::span<const KeyAlias> all_aliases();
/// The group a row belongs to, and its title.
KeyGroup group_of(const KeySpec& key);
std::string_view title_of(KeyGroup group);

/// The trainer's row of that name, or nullptr; old names are not looked up. Local.
const KeySpec* find_key(std::string_view name);
const KeyAlias* find_alias(std::string_view name);
/// The nearest known name of `dialect` within a third of its length in edits, or empty. Local.
std::string nearest_key(Dialect dialect, std::string_view path);
/// The nearest known name of the trainer's (old ones too) within a third of its length in edits, or empty. Local.
std::string nearest_key(std::string_view name);
/// The word of `words` that is nearest to `word` by the same rule, or empty.
std::string nearest_word(std::string_view word, const std::vector<std::string_view>& words);

/// "a|b|c" as its parts.
std::vector<std::string_view> split_words(std::string_view list);

/// The key's default as YAML text. Local.
std::string default_text(const KeySpec& key);
/// The key's value in `config` as YAML text that reads back to the same value; null where an optional is empty.
std::string value_text(const KeySpec& key, const RunConfig& config);
/// The key's value as JSON text (infinite numbers as strings, as JSON has none).
std::string value_json(const KeySpec& key, const RunConfig& config);
/// "true or false", "a whole number", ... for messages and the documentation.
std::string type_text(const KeySpec& key);

/// Puts `value` into the key's member. Returns what is wrong (then `config` is unchanged), or empty.
///
/// Local. Null gives an optional member no value and any other member its default. Choices are checked here, ranges and
/// what depends on several keys in validate.hpp.
std::string assign(const KeySpec& key, const ConfigValue& value, RunConfig& config);
/// What is wrong with `value` by the key's choices, or empty.
std::string choice_problem(const KeySpec& key, const ConfigValue& value);
/// What is wrong with `value` for the key's type alone, or empty. For keys without a member.
std::string type_problem(const KeySpec& key, const ConfigValue& value);
/// "VALUE is not supported yet; use ..." or "VALUE is not supported: use ...", from a row's `why`.
std::string refusal(const ConfigValue& value, std::string_view why);
/// Whether `value` is the key's default or one of its off values.
bool is_off(const KeySpec& key, const ConfigValue& value);

}  // namespace dstrain
