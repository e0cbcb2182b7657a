// SPDX-License-Identifier: Apache-2.0
#include "model/adapters/module_patterns.hpp"

#include <algorithm>
#include <optional>
#include <regex>
#include <vector>

#include "core/error.hpp"
#include "model/adapters/adapter_config.hpp"

namespace dstrain {

namespace {

constexpr std::size_t longest_pattern = 4096;

std::regex compiled(const std::string& pattern) {
  if (pattern.size() > longest_pattern) {
    throw ConfigError(fmt::format("a module pattern has {} characters", pattern.size()), {},
                      fmt::format("give at most {}", longest_pattern));
  }
  try {
    return std::regex(pattern, std::regex::ECMAScript);
  } catch (const std::regex_error&) {
    throw ConfigError(fmt::format("\"{}\" is not a regular expression", pattern), {},
                      "give names, or an expression such as .*\\.(q|v)_proj");
  }
}

bool in_list(const std::vector<std::string>& names, const std::string& module) {
  return std::any_of(names.begin(), names.end(), [&](const auto& name) { return is_or_ends_in(module, name); });
}

/// The number of the layer that a path names: the first part that is one, behind layers_pattern where that is given.
std::optional<std::int64_t> layer_of(const AdapterConfig& config, const std::string& module) {
  std::vector<std::string> patterns;
  for (const auto& pattern : config.layers_pattern) patterns.push_back("(?:^|.*?\\.)" + pattern + "\\.(\\d+)\\..*");
  if (patterns.empty()) patterns.emplace_back(".*?\\.[^.]*\\.(\\d+)\\..*");
  for (const auto& pattern : patterns) {
    std::smatch match;
    if (std::regex_match(module, match, compiled(pattern)) && match[1].length() < 10) return std::stoll(match[1].str());
  }
  return std::nullopt;
}

}  // namespace

std::string module_of(std::string_view tensor_name) {
  const auto dot = tensor_name.rfind('.');
  return std::string(dot == std::string_view::npos ? tensor_name : tensor_name.substr(0, dot));
}

std::string_view last_part(std::string_view module) noexcept {
  const auto dot = module.rfind('.');
  return dot == std::string_view::npos ? module : module.substr(dot + 1);
}

bool is_or_ends_in(std::string_view module, std::string_view name) noexcept {
  if (module == name) return true;
  return !name.empty() && module.size() > name.size() && module.ends_with(name) &&
         module[module.size() - name.size() - 1] == '.';
}

bool matches_whole(const std::string& pattern, const std::string& module) {
  return std::regex_match(module, compiled(pattern));
}

bool matches_tail(const std::string& pattern, const std::string& module) {
  return std::regex_match(module, compiled("(?:.*\\.)?(?:" + pattern + ")"));
}

void check_pattern(const std::string& pattern, const std::string& where) {
  try {
    (void)compiled(pattern);
  } catch (const ConfigError& e) {
    throw ConfigError(e.what(), where, e.hint());
  }
}

bool is_saved_whole(const AdapterConfig& config, const std::string& module) {
  return std::any_of(config.modules_to_save.begin(), config.modules_to_save.end(), [&](const std::string& name) {
    for (std::string path = module; !path.empty(); path = path.find('.') == std::string::npos ? "" : module_of(path)) {
      if (!name.empty() && path.ends_with(name)) return true;
    }
    return false;
  });
}

bool is_target(const AdapterConfig& config, const std::string& module) {
  const bool excluded = config.exclude_is_regex ? matches_whole(config.exclude_modules.front(), module)
                                                : in_list(config.exclude_modules, module);
  if (excluded || is_saved_whole(config, module)) return false;
  if (config.target_is_regex) return matches_whole(config.target_modules.front(), module);
  const auto& names = config.target_modules;
  if (std::find(names.begin(), names.end(), module) != names.end()) return true;  // a whole path: no further rule
  if (!in_list(names, module)) return false;
  if (config.layers_to_transform.empty()) return true;
  const auto layer = layer_of(config, module);
  return layer && std::find(config.layers_to_transform.begin(), config.layers_to_transform.end(), *layer) !=
                      config.layers_to_transform.end();
}

}  // namespace dstrain
