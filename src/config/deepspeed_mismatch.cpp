// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_mismatch.hpp"

#include <fmt/core.h>

#include "config/key_schema.hpp"

namespace dstrain {

bool same_for_key(std::string_view key, const ConfigValue& a, const ConfigValue& b) {
  const auto* row = find_key(key);
  if (row != nullptr && row->type == ValueType::boolean)
    return to_bool(a).value_or(false) == to_bool(b).value_or(false);
  if (row != nullptr && row->type == ValueType::number && a.is_null()) return to_number(b) == 0.0;
  return same_value(a, b);
}

void DeepSpeedOffers::offer(std::string_view key, const std::string& path, const ConfigValue& value,
                            std::string_view hf_name) {
  const auto* ours = trainer_.given(key);
  if (ours == nullptr) return trainer_.set(key, value);
  if (same_for_key(key, *ours, value)) return;
  if (!hf_name.empty()) return differ(path, value, hf_name, ours->shown());
  if (ours->origin.source == Origin::Source::command_line) {
    trainer_.note(
        fmt::format("{}: {} (command line) overrides {} ({})", key, ours->shown(), value.shown(), value.origin.text()));
  } else {
    trainer_.problem(value.origin, fmt::format("DeepSpeed says {}={}, {} says {}; say it once", key, value.shown(),
                                               ours->origin.text(), ours->shown()));
  }
}

void DeepSpeedOffers::differ(const std::string& path, const ConfigValue& theirs, std::string_view hf_name,
                             const std::string& ours) {
  if (pairs_.empty()) first_ = theirs.origin;
  pairs_ += fmt::format("\n- ds {}={} vs hf {}={}", path, theirs.shown(), hf_name, ours);
}

void DeepSpeedOffers::report(const std::string& remark) {
  if (pairs_.empty()) return;
  trainer_.problem(
      first_,
      fmt::format("Please correct the following DeepSpeed config values that mismatch TrainingArguments values:{}"
                  "{}\nThe easiest method is to set these DeepSpeed config values to 'auto'.",
                  pairs_, remark));
}

}  // namespace dstrain
