// SPDX-License-Identifier: Apache-2.0
#include "cluster/hostfile_line.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

namespace dstrain {

namespace {

constexpr int most_slots = 4096;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Column, in characters of UTF-8, of byte `at` of `line`.
int column_of(std::string_view line, std::size_t at) {
  const auto before = line.substr(0, std::min(at, line.size()));
  const auto continued = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; };
  return 1 + static_cast<int>(before.size() - static_cast<std::size_t>(std::ranges::count_if(before, continued)));
}

/// The number at the start of `text`; -1 where there is none or it is too large to be one.
std::int64_t leading_number(std::string_view text) {
  std::int64_t number = -1;
  const auto end = std::ranges::find_if_not(text, is_digit);
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + (end - text.begin()), number);
  return error == std::errc() && stopped != text.data() ? number : -1;
}

/// Digits anywhere in `text`: what a misspelt slots entry meant.
std::int64_t any_number(std::string_view text) {
  const auto at = std::ranges::find_if(text, is_digit);
  return at == text.end() ? -1 : leading_number(text.substr(static_cast<std::size_t>(at - text.begin())));
}

/// x.x.x.x and its like: an address that someone was to fill in.
bool is_placeholder(std::string_view name) {
  if (name.find_first_of("<>{}$") != std::string_view::npos) return true;
  const bool dotted = std::ranges::count(name, '.') == 3;
  return dotted && std::ranges::all_of(name, [](char c) { return c == '.' || c == 'x' || c == 'X' || c == '*'; });
}

/// `host:4` and the like: name and number that someone ran together. Empty where it is no such thing.
std::string name_with_count(std::string_view word) {
  const auto colon = word.find(':');
  if (colon == std::string_view::npos || colon == 0 || leading_number(word.substr(colon + 1)) < 1) return {};
  return fmt::format("{} slots={}", word.substr(0, colon), leading_number(word.substr(colon + 1)));
}

HostfileProblem bad_name(std::string_view line, std::size_t at, std::string_view name) {
  const auto first = std::ranges::find_if_not(name, is_ascii);
  const auto offset = at + static_cast<std::size_t>(first - name.begin());
  return {column_of(line, offset), fmt::format("host name \"{}\" has a character that no host name has", name), {}};
}

/// What stands where `slots=N` belongs, and is not that.
HostfileProblem bad_slots(std::string_view line, std::size_t at, std::string_view name, std::string_view rest) {
  const std::int64_t number = any_number(rest.substr(0, rest.find('#')));
  std::string meant = number >= 1 && number <= most_slots ? fmt::format("{} slots={}", name, number) : std::string();
  const auto word = rest.substr(0, std::min(rest.find_first_of(" \t#"), rest.size()));
  return {column_of(line, at), fmt::format("\"{}\" where slots=N belongs", word.empty() ? rest : word), meant};
}

/// What stands behind the name. @param[out] slots  set where nothing is wrong
std::optional<HostfileProblem> parse_slots(std::string_view line, std::size_t start, std::string_view text,
                                           std::size_t name_end, int& slots, std::string& note) {
  const std::string_view name = text.substr(0, name_end);
  const std::string_view rest = trimmed(text.substr(name_end));
  const auto rest_at = static_cast<std::size_t>(rest.data() - line.data());
  if (rest.empty() || rest.front() == '#') {
    std::string meant = name_with_count(name);
    const int column = column_of(line, start + (meant.empty() ? name.size() : name.find(':')));
    return HostfileProblem{column, "slots=N is missing: how many ranks this host takes",
                           meant.empty() ? fmt::format("{} slots=1", name) : meant};
  }
  constexpr std::string_view key = "slots=";
  if (!rest.starts_with(key)) return bad_slots(line, rest_at, name, rest);
  const std::int64_t number = leading_number(rest.substr(key.size()));
  if (number < 0) return bad_slots(line, rest_at, name, rest);
  if (number < 1 || number > most_slots) {
    return HostfileProblem{column_of(line, rest_at + key.size()),
                           fmt::format("slots={}: a host takes 1 to {} ranks", number, most_slots),
                           number == 0 ? fmt::format("# {} slots=0", name) : std::string()};
  }
  const auto behind = std::ranges::find_if_not(rest.substr(key.size()), is_digit);
  const auto tail = trimmed(std::string_view(behind, rest.end()));
  if (!tail.empty() && tail.front() != '#') note = fmt::format("\"{}\" behind slots={} is ignored", tail, number);
  slots = static_cast<int>(number);
  return std::nullopt;
}

}  // namespace

HostfileLine parse_hostfile_line(std::string_view line, std::string& note) {
  const std::string_view text = trimmed(line);
  if (text.empty() || text.front() == '#') return EmptyLine{};
  const auto start = static_cast<std::size_t>(text.data() - line.data());

  const auto name_end = std::min(text.find_first_of(" \t\v\f"), text.size());
  const std::string_view name = text.substr(0, name_end);
  std::vector<HostfileProblem> problems;
  if (!std::ranges::all_of(name, is_ascii)) {
    problems.push_back(bad_name(line, start, name));
  } else if (is_placeholder(name)) {
    problems.push_back(
        {column_of(line, start), fmt::format("\"{}\" is a placeholder: write the host's name or address", name), {}});
  }
  int slots = 0;
  auto wrong = parse_slots(line, start, text, name_end, slots, note);
  if (wrong) problems.push_back(std::move(*wrong));
  if (!problems.empty()) return problems;
  return Host{std::string(name), slots, 0};
}

}  // namespace dstrain
