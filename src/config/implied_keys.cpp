// SPDX-License-Identifier: Apache-2.0
#include "config/implied_keys.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

bool alias_of_adamw(std::string_view optim) {
  return optim == "adamw_hf" || optim == "adamw_apex_fused" || optim == "adamw_torch_xla" ||
         optim == "adamw_torch_npu_fused";
}

}  // namespace

void follow_second_keys(RunConfig& c, bool bucket_is_said, std::vector<std::string>& notes) {
  if (c.train_sampling_strategy == "sequential") c.disable_shuffling = true;
  if (c.train_sampling_strategy == "group_by_length") c.group_by_length = true;
  if (c.ddp_bucket_cap_mb && !bucket_is_said) {
    constexpr std::int64_t floats_in_a_mebibyte = 1 << 18;
    c.reduce_bucket_size = std::clamp<std::int64_t>(*c.ddp_bucket_cap_mb, 1, 1 << 20) * floats_in_a_mebibyte;
  }
  if (!c.resize_vocab && !(c.add_tokens.empty() && c.add_special_tokens.empty())) {
    c.resize_vocab = true;
    notes.emplace_back("tokens are added, so resize_vocab is true");
  }
}

void note_substitutes(const RunConfig& c, std::vector<std::string>& notes) {
  if (c.optim.starts_with("adamw_") && alias_of_adamw(c.optim)) {
    notes.push_back(fmt::format("optim: {} is taken as adamw_torch", c.optim));
  }
  if (c.optim.starts_with("paged_")) {
    notes.push_back(fmt::format("optim: {} is taken as {}: states are not paged here", c.optim,
                                c.optim == "paged_adamw_32bit" ? "adamw_torch" : c.optim.substr(6)));
  }
  if (c.use_muon && c.deepspeed_optimizer)
    notes.emplace_back("use_muon: true counts more than DeepSpeed's optimizer section");
  std::string elsewhere;
  for (const auto& logger : c.report_to) {
    if (logger != "none" && logger != "all" && logger != "tensorboard")
      elsewhere += (elsewhere.empty() ? "" : ", ") + logger;
  }
  if (!elsewhere.empty()) {
    notes.push_back(fmt::format("report_to: {} has no effect (nothing is sent over the network)", elsewhere));
  }
}

std::string divide_batches(RunConfig& c, int ranks) {
  if (c.deepspeed) return "DeepSpeed's file counts each rank's rows: leave it out";
  for (const int rows : {c.per_device_train_batch_size, c.per_device_eval_batch_size}) {
    if (rows % ranks != 0) return fmt::format("a batch of {} rows cannot be shared by {} ranks", rows, ranks);
  }
  c.per_device_train_batch_size /= ranks;
  c.per_device_eval_batch_size /= ranks;
  return {};
}

std::vector<std::string> read_special_tokens(const std::string& file, const FileAccess& files) {
  const auto text = files.read(file);
  if (!text) throw ConfigError("cannot be read", file);
  const ConfigValue tokens = read_yaml(*text, file, Origin::Source::file);
  if (!tokens.is_map()) throw ConfigError("is no mapping of token: description", file);
  std::vector<std::string> list;
  for (const auto& [token, description] : tokens.members) list.push_back(token);
  return list;
}

}  // namespace dstrain
