// SPDX-License-Identifier: Apache-2.0
#include "config/key_schema.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <unordered_map>

#include "core/error.hpp"

namespace dstrain {
namespace {

struct Table {
  std::vector<KeySpec> rows;
  std::vector<KeyGroup> groups;  // same index as rows
  std::unordered_map<std::string_view, std::size_t> by_name;

  void add(KeyGroup group, const std::vector<KeySpec>& more) {
    for (const auto& row : more) {
      const bool fresh = by_name.emplace(row.name, rows.size()).second;
      DSTRAIN_CHECK(fresh, "key '{}' stands twice in the schema", row.name);
      rows.push_back(row);
      groups.push_back(group);
    }
  }
};

const Table& table() {
  static const Table built = [] {
    Table t;
    t.add(KeyGroup::dstrain, keys::own());
    t.add(KeyGroup::dstrain, keys::measuring());
    t.add(KeyGroup::model, keys::model());
    t.add(KeyGroup::model, keys::model_unused());
    t.add(KeyGroup::data, keys::data());
    t.add(KeyGroup::finetuning, keys::finetuning());
    t.add(KeyGroup::finetuning, keys::finetuning_methods());
    t.add(KeyGroup::training, keys::training());
    t.add(KeyGroup::training, keys::training_output());
    t.add(KeyGroup::training, keys::training_unused());
    t.add(KeyGroup::generation, keys::generation());
    t.add(KeyGroup::other, keys::other());
    t.add(KeyGroup::other, keys::other_versions());
    return t;
  }();
  return built;
}

/// The rows of one dialect; none for the trainer, whose table is the other one.
std::vector<KeySpec> rows_of(Dialect dialect) {
  const auto join = [](std::initializer_list<std::vector<KeySpec>> parts) {
    std::vector<KeySpec> rows;
    for (const auto& part : parts) rows.insert(rows.end(), part.begin(), part.end());
    return rows;
  };
  switch (dialect) {
    case Dialect::trainer:
      return {};
    case Dialect::deepspeed:
      return join(
          {keys::deepspeed_engine(), keys::deepspeed_zero(), keys::deepspeed_sections(), keys::deepspeed_unused()});
    case Dialect::accelerate:
      return join({keys::accelerate(), keys::accelerate_sections()});
    case Dialect::gdgpt:
      return keys::gdgpt();
    case Dialect::deepspeed_chat:
      return keys::deepspeed_chat();
    case Dialect::launcher:
      return keys::launcher();
  }
  return {};
}

constexpr std::string_view kLora = "with finetuning_type: full give it as model_name_or_path instead";
constexpr KeyAlias kAliases[] = {
    {"checkpoint_dir", "adapter_name_or_path", false, kLora},
    {"num_layer_trainable", "freeze_trainable_layers", false, {}},
    {"name_module_trainable", "freeze_trainable_modules", false, {}},
    {"resume_lora_training", "create_new_adapter", true, "with the opposite meaning"},
    {"dpo_beta", "pref_beta", false, {}},
    {"dpo_loss", "pref_loss", false, {}},
    {"dpo_ftx", "pref_ftx", false, {}},
    {"sft_packing", "packing", false, {}},
    {"system_prompt", "default_system", false, {}},
    {"neft_alpha", "neftune_noise_alpha", false, {}},
    {"evaluation_strategy", "eval_strategy", false, {}},
    {"hf_auth_token", "hf_hub_token", false, {}},
    {"use_auth_token", "hf_hub_token", false, {}},
    {"prompt_template", "template", false, {}},
    {"dev_ratio", "val_size", false, {}},
    {"lora_modules_to_save", "additional_target", false, {}},
    {"modules_to_save", "additional_target", false, "PEFT's name"},
    {"cache_path", "tokenized_path", false, {}},
    {"image_dir", "media_dir", false, {}},
    {"orpo_beta", "pref_beta", false, {}},
    {"kto_beta", "pref_beta", false, {}},
    {"simpo_beta", "pref_beta", false, {}},
    {"kto_ftx", "pref_ftx", false, {}},
    {"xpu_backend", "ddp_backend", false, {}},
    {"no_cuda", "use_cpu", false, {}},
    {"cpu", "use_cpu", false, "accelerate's flag"},
    {"full_determinism", "reproducible", false, "dstrain's own name for it"},
    {"deepspeed_config", "deepspeed", false, "DeepSpeed's own flag"},
    {"prefetch_bucket_size", "stage3_prefetch_bucket_size", false, {}},
};

/// Edits (insert, delete, replace, swap of neighbours) from a to b: Damerau and Levenshtein's restricted distance.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, last(b.size() + 1), now(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = std::min(now[j], before[j - 2] + 1);
    }
    before = last;
    last = now;
  }
  return last[b.size()];
}

}  // namespace

namespace keys {

ValueType type_of(const Member& member) {
  struct Visitor {
    ValueType operator()(std::monostate) const { return ValueType::any; }
    ValueType operator()(bool RunConfig::*) const { return ValueType::boolean; }
    ValueType operator()(std::optional<bool> RunConfig::*) const { return ValueType::boolean; }
    ValueType operator()(int RunConfig::*) const { return ValueType::integer; }
    ValueType operator()(std::optional<int> RunConfig::*) const { return ValueType::integer; }
    ValueType operator()(std::int64_t RunConfig::*) const { return ValueType::integer; }
    ValueType operator()(std::optional<std::int64_t> RunConfig::*) const { return ValueType::integer; }
    ValueType operator()(double RunConfig::*) const { return ValueType::number; }
    ValueType operator()(std::optional<double> RunConfig::*) const { return ValueType::number; }
    ValueType operator()(std::string RunConfig::*) const { return ValueType::text; }
    ValueType operator()(std::optional<std::string> RunConfig::*) const { return ValueType::text; }
    ValueType operator()(std::vector<std::string> RunConfig::*) const { return ValueType::list; }
    ValueType operator()(std::optional<DeepSpeedSection> RunConfig::*) const { return ValueType::any; }
    ValueType operator()(std::optional<Fp16Options> RunConfig::*) const { return ValueType::any; }
    ValueType operator()(std::optional<NamedArguments> RunConfig::*) const { return ValueType::any; }
  };
  return std::visit(Visitor{}, member);
}

KeySpec runs(std::string_view name, Member member, std::string_view meaning) {
  KeySpec key;
  key.name = name;
  key.action = KeyClass::runs;
  key.type = type_of(member);
  key.member = member;
  key.meaning = meaning;
  return key;
}

KeySpec becomes(std::string_view name, ValueType type, std::string_view initial, std::string_view meaning,
                std::string_view target) {
  KeySpec key;
  key.name = name;
  key.action = KeyClass::runs;
  key.type = type;
  key.initial = initial;
  key.meaning = meaning;
  key.target = target;
  return key;
}

KeySpec noted(std::string_view name, ValueType type, std::string_view initial, std::string_view meaning,
              std::string_view why) {
  KeySpec key;
  key.name = name;
  key.action = KeyClass::noted;
  key.type = type;
  key.initial = initial;
  key.meaning = meaning;
  key.why = why;
  return key;
}

KeySpec refused(std::string_view name, ValueType type, std::string_view initial, std::string_view meaning,
                std::string_view why) {
  auto key = noted(name, type, initial, meaning, why);
  key.action = KeyClass::refused;
  return key;
}

}  // namespace keys

std::span<const KeySpec> all_keys() { return table().rows; }
std::span<const KeyAlias> all_aliases() { return kAliases; }

std::span<const KeySpec> dialect_keys(Dialect dialect) {
  static const auto tables = [] {
    std::map<Dialect, std::vector<KeySpec>> built;
    for (const auto one : {Dialect::trainer, Dialect::deepspeed, Dialect::accelerate, Dialect::gdgpt,
                           Dialect::deepspeed_chat, Dialect::launcher}) {
      built.emplace(one, rows_of(one));
    }
    return built;
  }();
  return dialect == Dialect::trainer ? all_keys() : std::span<const KeySpec>(tables.at(dialect));
}

const KeySpec* find_key(Dialect dialect, std::string_view path) {
  const auto rows = dialect_keys(dialect);
  const auto exact = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == path; });
  if (exact != rows.end()) return &*exact;
  const auto section = std::find_if(rows.begin(), rows.end(), [&](const auto& row) {
    return row.name.ends_with(".*") && path.starts_with(row.name.substr(0, row.name.size() - 1));
  });
  return section == rows.end() ? nullptr : &*section;
}

bool is_section(Dialect dialect, std::string_view path) {
  const auto rows = dialect_keys(dialect);
  return std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
    return row.name.size() > path.size() && row.name.starts_with(path) && row.name[path.size()] == '.';
  });
}

std::string_view title_of(Dialect dialect) {
  switch (dialect) {
    case Dialect::trainer:
      return "the trainer";
    case Dialect::deepspeed:
      return "DeepSpeed";
    case Dialect::accelerate:
      return "accelerate";
    case Dialect::gdgpt:
      return "gdGPT";
    case Dialect::deepspeed_chat:
      return "DeepSpeed-Chat";
    case Dialect::launcher:
      return "a launcher";
  }
  return {};
}

KeyGroup group_of(const KeySpec& key) { return table().groups[table().by_name.at(key.name)]; }

std::string_view title_of(KeyGroup group) {
  switch (group) {
    case KeyGroup::dstrain:
      return "dstrain's own";
    case KeyGroup::model:
      return "Model";
    case KeyGroup::data:
      return "Data";
    case KeyGroup::finetuning:
      return "Fine-tuning";
    case KeyGroup::training:
      return "Training";
    case KeyGroup::generation:
      return "Generation";
    case KeyGroup::other:
      return "Other versions and launchers";
  }
  return {};
}

const KeySpec* find_key(std::string_view name) {
  const auto it = table().by_name.find(name);
  return it == table().by_name.end() ? nullptr : &table().rows[it->second];
}

const KeyAlias* find_alias(std::string_view name) {
  const auto* it =
      std::find_if(std::begin(kAliases), std::end(kAliases), [&](const auto& a) { return a.old_name == name; });
  return it == std::end(kAliases) ? nullptr : it;
}

std::string nearest_word(std::string_view word, const std::vector<std::string_view>& words) {
  if (word.size() > 100) return {};  // the distance costs the product of the lengths, and this is no typing slip
  std::size_t best = std::max<std::size_t>(2, word.size() / 3) + 1;
  std::string_view nearest;
  for (const auto candidate : words) {
    const auto distance = edit_distance(word, candidate);
    if (distance < best && distance < candidate.size()) {
      best = distance;
      nearest = candidate;
    }
  }
  return std::string(nearest);
}

std::string nearest_key(std::string_view name) {
  std::vector<std::string_view> names;
  for (const auto& key : all_keys()) names.push_back(key.name);
  for (const auto& alias : all_aliases()) names.push_back(alias.old_name);
  return nearest_word(name, names);
}

std::string nearest_key(Dialect dialect, std::string_view path) {
  std::vector<std::string_view> names;
  for (const auto& row : dialect_keys(dialect)) {
    names.push_back(row.name.ends_with(".*") ? row.name.substr(0, row.name.size() - 2) : row.name);
    for (auto dot = row.name.find('.'); dot != std::string_view::npos; dot = row.name.find('.', dot + 1)) {
      names.push_back(row.name.substr(0, dot));
    }
  }
  return nearest_word(path, names);
}

std::vector<std::string_view> split_words(std::string_view list) {
  std::vector<std::string_view> words;
  while (!list.empty()) {
    const auto bar = list.find('|');
    words.push_back(list.substr(0, bar));
    list = bar == std::string_view::npos ? std::string_view{} : list.substr(bar + 1);
  }
  return words;
}

}  // namespace dstrain
