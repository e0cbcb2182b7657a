// SPDX-License-Identifier: Apache-2.0
#include "comm/wait_notice.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string_view>

#include "core/log.hpp"

namespace dstrain {
namespace {

/// Ranks asked at a time until it is clear who speaks: n ranks that wait send 16 n questions, not n^2.
constexpr int ranks_per_round = 16;

}  // namespace

WaitTiming WaitTiming::of(double timeout_s) {
  return {
      .timeout_s = timeout_s, .notice_s = std::min(10.0, timeout_s / 2), .patience_s = std::min(2.0, timeout_s / 10)};
}

std::string WaitNotice::look(const FlightEntry& entry, double age_s) {
  if (entry.begin_ns != begin_ns_) follow(entry);
  if (!in_round_) {
    if (age_s >= next_round_s_) begin_round(age_s);
    return {};
  }
  switch (progress(age_s)) {
    case Progress::undecided:
      return {};
    case Progress::another_speaks:
      end_round(age_s);
      silent_ = true;
      return {};
    case Progress::complete:
      break;
  }
  const bool last = round_at_s_ >= last_round_s();
  end_round(age_s);
  if (last) return {};  // the timeout's message says it
  return fmt::format("rank {} waits {:.3g} s in {}{}", log::tag(), age_s, describe(entry), others(entry));
}

std::string WaitNotice::others(const FlightEntry& entry) const {
  return describe_others(board_.rank(), whereabouts(entry), board_.reports(), board_.hosts());
}

bool WaitNotice::host_lost() const {
  if (asked_ < board_.size()) return false;
  const auto& hosts = board_.hosts();
  std::map<std::string_view, bool> answers;
  for (std::size_t r = 0; r < hosts.size(); ++r) {
    const bool here = static_cast<int>(r) == board_.rank();
    answers[hosts[r]] |= here || board_.reports()[r].answer.has_value();
  }
  return std::any_of(answers.begin(), answers.end(), [](const auto& host) { return !host.second; });
}

void WaitNotice::follow(const FlightEntry& entry) {
  begin_ns_ = entry.begin_ns;
  next_round_s_ = timing_.notice_s;
  in_round_ = silent_ = false;
  board_.forget();
}

void WaitNotice::begin_round(double age_s) {
  in_round_ = true;
  silent_ = false;
  round_at_s_ = age_s;
  asked_ = 0;
  board_.forget();
  ask_more(ranks_per_round, age_s);
}

void WaitNotice::end_round(double age_s) {
  in_round_ = false;
  const bool last = round_at_s_ >= last_round_s();
  next_round_s_ =
      last ? std::numeric_limits<double>::infinity() : std::min(2 * round_at_s_, std::max(last_round_s(), age_s));
}

WaitNotice::Progress WaitNotice::progress(double age_s) {
  if (another_speaks()) return Progress::another_speaks;
  const bool decided = age_s - asked_at_s_ >= timing_.patience_s || all_answered(asked_);
  if (!decided) return Progress::undecided;
  if (asked_ == board_.size()) return Progress::complete;
  // No rank below the last one asked speaks: whoever is above it asks on, who is below is the speaker and asks all.
  ask_more(asked_ < board_.rank() ? asked_ + ranks_per_round : board_.size(), age_s);
  return Progress::undecided;
}

void WaitNotice::ask_more(int end, double age_s) {
  for (; asked_ < std::min(end, board_.size()); ++asked_) {
    if (asked_ != board_.rank()) board_.ask(asked_);
  }
  asked_at_s_ = age_s;
}

bool WaitNotice::all_answered(int end) const {
  for (int r = 0; r < end; ++r) {
    if (r != board_.rank() && !board_.reports()[static_cast<std::size_t>(r)].answer) return false;
  }
  return true;
}

/// A rank below this one that has waited about as long comes to the same point by itself.
bool WaitNotice::another_speaks() const {
  for (int r = 0; r < std::min(asked_, board_.rank()); ++r) {
    const auto& answer = board_.reports()[static_cast<std::size_t>(r)].answer;
    if (answer && answer->inside != 0 && static_cast<double>(answer->age_ns) * 1e-9 >= timing_.notice_s / 2)
      return true;
  }
  return false;
}

}  // namespace dstrain
