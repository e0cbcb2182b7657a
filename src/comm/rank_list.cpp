// SPDX-License-Identifier: Apache-2.0
#include "comm/rank_list.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace dstrain {

std::string rank_list(const std::vector<int>& ranks) {
  std::string text;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", ranks[i]);
    if (last > i) text += fmt::format("-{}", ranks[last]);
    i = last + 1;
  }
  return text;
}

std::string name_ranks(const std::vector<int>& ranks, const std::vector<std::string>& hosts) {
  constexpr std::size_t most_hosts = 3;
  const std::string text = fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", rank_list(ranks));
  if (std::all_of(hosts.begin(), hosts.end(), [&](const auto& host) { return host == hosts.front(); })) return text;
  std::vector<std::string> places;
  for (const int rank : ranks) {
    const auto& host = hosts.at(static_cast<std::size_t>(rank));
    if (std::find(places.begin(), places.end(), host) == places.end()) places.push_back(host);
  }
  if (places.size() > most_hosts) return text;
  std::string list;
  for (const auto& place : places) list += (list.empty() ? "" : ", ") + place;
  return fmt::format("{} ({})", text, list);
}

}  // namespace dstrain
