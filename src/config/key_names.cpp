// SPDX-License-Identifier: Apache-2.0
/// Old names of keys, and the known name that is nearest to an unknown one.
#include <algorithm>
#include <numeric>

#include "config/key_schema.hpp"

namespace dstrain {
namespace {

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

std::span<const KeyAlias> all_aliases() { return kAliases; }

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
