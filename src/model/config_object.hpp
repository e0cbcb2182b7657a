// SPDX-License-Identifier: Apache-2.0
/// A JSON object of config.json whose values are asked for by name and kind; what is wrong is said with the key.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

/// Borrows the JSON value. All functions are local and throw ConfigError naming file and key. `null` counts as absent.
class ConfigObject {
 public:
  /// @param prefix  put before keys in messages, e.g. "rope_scaling."
  ConfigObject(const nlohmann::json& object, std::string where, std::string prefix = {});

  [[nodiscard]] bool has(const char* key) const;
  /// The key is there and its value is null.
  [[nodiscard]] bool is_null(const char* key) const;
  [[nodiscard]] const std::string& where() const noexcept { return where_; }

  /// A whole number in [low, high]. A float without a fraction ("2048.0") is one.
  [[nodiscard]] std::int64_t integer(const char* key, std::int64_t low, std::int64_t high) const;
  [[nodiscard]] std::int64_t integer_or(const char* key, std::int64_t fallback, std::int64_t low,
                                        std::int64_t high) const;
  [[nodiscard]] double number(const char* key, double low, double high) const;
  [[nodiscard]] double number_or(const char* key, double fallback, double low, double high) const;
  [[nodiscard]] std::optional<double> maybe_number(const char* key, double low, double high) const;
  [[nodiscard]] bool flag_or(const char* key, bool fallback) const;
  [[nodiscard]] std::string text_or(const char* key, std::string fallback) const;
  /// One whole number or a list of them.
  [[nodiscard]] std::vector<std::int64_t> integers_or_one(const char* key, std::int64_t low, std::int64_t high) const;
  [[nodiscard]] std::vector<double> numbers(const char* key, double low, double high) const;
  [[nodiscard]] std::vector<std::string> texts(const char* key) const;
  [[nodiscard]] ConfigObject object(const char* key) const;

  /// @throws ConfigError("<file>: <key> <problem>", hint)
  [[noreturn]] void refuse(const char* key, const std::string& problem, const std::string& hint = {}) const;

 private:
  [[nodiscard]] const nlohmann::json* find(const char* key) const;
  [[nodiscard]] std::int64_t whole(const char* key, const nlohmann::json& value, std::int64_t low,
                                   std::int64_t high) const;

  const nlohmann::json& object_;
  std::string where_;
  std::string prefix_;
};

}  // namespace dstrain
