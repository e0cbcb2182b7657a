// SPDX-License-Identifier: Apache-2.0
#include "comm/whereabouts.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

#include "comm/rank_list.hpp"

namespace dstrain {
namespace {

/// Groups in messages; a job that is in more different places than these is told the first ones.
constexpr std::size_t most_groups = 12;

std::string call_text(const Whereabouts& where) {
  return describe({.sequence = where.sequence, .op = where.op, .label = where.label.data(), .peer = where.peer});
}

/// Ranks of which the same can be said.
struct Group {
  std::vector<int> ranks;
  Whereabouts where;  ///< with the largest age
};

std::string sentence(const std::string& who, bool several, const Group& group, const Whereabouts& own) {
  const double age_s = static_cast<double>(group.where.age_ns) * 1e-9;
  if (group.where.meets(own)) return fmt::format("{} {} there too", who, several ? "wait" : "waits");
  const char* is = several ? "are" : "is";
  if (group.where.inside != 0) return fmt::format("{} {} in {}, for {:.3g} s", who, is, call_text(group.where), age_s);
  if (group.where.sequence == 0) return fmt::format("{} {} in no call so far", who, is);
  return fmt::format("{} {} in no call for {:.3g} s, after {}", who, is, age_s, call_text(group.where));
}

}  // namespace

bool Whereabouts::meets(const Whereabouts& other) const noexcept {
  return inside != 0 && other.inside != 0 && sequence == other.sequence && op == other.op && label == other.label &&
         op != CommOp::send && op != CommOp::recv;
}

Whereabouts whereabouts(const FlightEntry& entry) noexcept {
  Whereabouts where;
  where.sequence = entry.sequence;
  where.op = entry.op;
  where.inside = entry.open() ? 1 : 0;
  where.peer = entry.peer;
  where.age_ns = FlightRecorder::now_ns() - (entry.open() ? entry.begin_ns : entry.end_ns);
  std::strncpy(where.label.data(), entry.label, where.label.size() - 1);
  return where;
}

Whereabouts whereabouts(const FlightRecorder& recorder) noexcept {
  FlightEntry entry;
  if (recorder.oldest_open(entry) || recorder.newest(entry)) return whereabouts(entry);
  return {};
}

std::string describe_others(int rank, const Whereabouts& own, std::span<const RankReport> reports,
                            const std::vector<std::string>& hosts) {
  using Key = std::tuple<int, std::uint64_t, CommOp, std::string, std::int32_t>;
  std::map<Key, Group> groups;  // in the order of the message: who waits, who does not answer, who is elsewhere
  for (std::size_t r = 0; r < reports.size(); ++r) {
    if (static_cast<int>(r) == rank || !reports[r].asked) continue;
    const auto& answer = reports[r].answer;
    const Whereabouts where = answer.value_or(Whereabouts{});
    const int order = !answer ? 1 : (where.meets(own) ? 0 : (where.inside != 0 ? 3 : 2));
    Group& group = groups[{order, where.sequence, where.op, where.label.data(), where.peer}];
    if (group.ranks.empty() || where.age_ns > group.where.age_ns) group.where = where;
    group.ranks.push_back(static_cast<int>(r));
  }
  std::string text;
  std::size_t told = 0;
  for (const auto& [key, group] : groups) {
    if (++told > most_groups) return text + fmt::format("; and {} more", groups.size() - most_groups);
    const std::string who = name_ranks(group.ranks, hosts);
    const bool several = group.ranks.size() > 1;
    if (std::get<0>(key) == 1) {
      text += fmt::format("; {} {} not answer ({} stopped, or cannot be reached)", who, several ? "do" : "does",
                          several ? "they are" : "it is");
    } else {
      text += "; " + sentence(who, several, group, own);
    }
  }
  return text;
}

}  // namespace dstrain
