// SPDX-License-Identifier: Apache-2.0
/// What readers of other dialects see of the configuration that is being resolved, and how they put values into it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/run_config.hpp"
#include "config/value.hpp"

namespace dstrain {

/// The trainer's keys while they are resolved. Implemented by the resolver; tests of a dialect go through it as well.
class TrainerKeys {
 public:
  TrainerKeys() = default;
  TrainerKeys(const TrainerKeys&) = delete;
  TrainerKeys& operator=(const TrainerKeys&) = delete;
  virtual ~TrainerKeys() = default;

  /// What the user wrote for the key in the trainer's own words, or nullptr.
  [[nodiscard]] virtual const ConfigValue* given(std::string_view key) const = 0;
  /// The values as they stand.
  [[nodiscard]] virtual RunConfig& config() = 0;
  /// The ranks whose batches make an update (virtual_ranks, or the world size), or 0 where that is not known.
  [[nodiscard]] virtual int ranks() const = 0;
  /// hidden_size of the model's config.json, where that can be read.
  [[nodiscard]] virtual std::optional<std::int64_t> hidden_size() const = 0;

  /// Takes `value` for `key` as if the user had written it at value.origin: its type, choices and class count.
  virtual void set(std::string_view key, const ConfigValue& value) = 0;
  /// Says where a value came from that was put into config() directly.
  virtual void set_origin(std::string_view key, const Origin& origin) = 0;
  virtual void note(std::string text) = 0;
  virtual void problem(const Origin& origin, std::string text) = 0;
};

}  // namespace dstrain
