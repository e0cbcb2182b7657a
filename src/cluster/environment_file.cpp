// SPDX-License-Identifier: Apache-2.0
#include "cluster/environment_file.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "core/error.hpp"
#include "io/files/file.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t file_limit = 1 << 20;

bool is_blank_in_file(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view trimmed_value(std::string_view text) {
  while (!text.empty() && is_blank_in_file(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank_in_file(text.back())) text.remove_suffix(1);
  return text;
}

bool is_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
  return !name.empty() && letter(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// The value as a shell reads it. @param[out] note  what was cut off
std::string value_of(std::string_view text, std::string& note) {
  if (!text.empty() && (text.front() == '"' || text.front() == '\'')) {
    const auto end = text.find(text.front(), 1);
    if (end != std::string_view::npos) return std::string(text.substr(1, end - 1));
  }
  const auto comment = std::min(text.find(" #"), text.find("\t#"));
  std::string_view value = trimmed_value(text.substr(0, comment));
  if (comment != std::string_view::npos)
    note = fmt::format("\"{}\" is taken as a comment", trimmed_value(text.substr(comment)));
  while (!value.empty() && value.back() == ';') value = trimmed_value(value.substr(0, value.size() - 1));
  return std::string(value);
}

void put(std::vector<EnvironmentVariable>& variables, std::string name, std::string value) {
  const auto at = std::ranges::find(variables, name, &EnvironmentVariable::first);
  if (at == variables.end()) {
    variables.emplace_back(std::move(name), std::move(value));
  } else {
    at->second = std::move(value);
  }
}

}  // namespace

EnvironmentFile parse_environment_file(std::string_view text, const std::string& where) {
  EnvironmentFile file;
  std::string problems;
  for (int number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = trimmed_value(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    if (line.starts_with("export ") || line.starts_with("export\t")) line = trimmed_value(line.substr(7));
    const auto equals = line.find('=');
    const std::string_view name = trimmed_value(line.substr(0, equals));
    if (equals == std::string_view::npos || !is_name(name)) {
      problems += fmt::format("{}{}:{}: \"{}\" is not NAME=VALUE", problems.empty() ? "" : "\n  ", where, number, line);
      continue;
    }
    std::string note;
    std::string value = value_of(trimmed_value(line.substr(equals + 1)), note);
    if (value.find('\0') != std::string::npos) {
      problems += fmt::format("{}{}:{}: a value with a zero byte", problems.empty() ? "" : "\n  ", where, number);
      continue;
    }
    if (!note.empty()) file.notes.push_back(fmt::format("{}:{}: {}", where, number, note));
    put(file.variables, std::string(name), std::move(value));
  }
  if (!problems.empty()) throw ConfigError(problems, {}, "one NAME=VALUE a line, for example NCCL_SOCKET_IFNAME=eth0");
  return file;
}

EnvironmentFile read_environment_files() {
  const char* named = std::getenv("DS_ENV_FILE");
  const std::filesystem::path name = named != nullptr && *named != '\0' ? named : ".deepspeed_env";
  EnvironmentFile all;
  std::vector<std::filesystem::path> places;
  if (const char* home = std::getenv("HOME"); home != nullptr && !name.is_absolute()) places.push_back(home / name);
  places.push_back(name);
  for (const auto& place : places) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(place, ignored)) continue;
    EnvironmentFile file = parse_environment_file(read_file(place, file_limit), place.string());
    for (auto& [key, value] : file.variables) put(all.variables, key, value);
    std::ranges::move(file.notes, std::back_inserter(all.notes));
  }
  return all;
}

bool is_handed_on(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 9> prefixes = {"NCCL_", "UCX_",   "OMPI_MCA_", "CUDA_", "DSTRAIN_",
                                                        "OMP_",  "MLFLOW", "PYTHON",    "MV2"};
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace dstrain
