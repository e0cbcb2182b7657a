// SPDX-License-Identifier: Apache-2.0
/// When a waiting rank asks the others where they are, and which of the waiting ranks says it aloud. Only for the .cpp
/// files of comm/.
#pragma once

#include <cstdint>
#include <string>

#include "comm/flight_recorder.hpp"
#include "comm/wait_board.hpp"

namespace dstrain {

/// Seconds, all derived from the timeout.
struct WaitTiming {
  double timeout_s = 0;
  double notice_s = 0;    ///< a call this long is told to the person: 10 s, at most half the timeout
  double patience_s = 0;  ///< a rank that has not answered by then counts as silent

  static WaitTiming of(double timeout_s);
};

/// Follows one rank's longest call. At 10, 20, 40 ... s, and shortly before the timeout, it asks the others in a round
/// of questions. Of all ranks that wait the lowest one that answers speaks for the others. Questions go to few ranks at
/// first, to all only from the one that speaks.
class WaitNotice {
 public:
  WaitNotice(WaitBoard& board, WaitTiming timing) : board_(board), timing_(timing) {}

  /// Looks at the open call `entry`, which is `age_s` old. Called again and again. Local; never waits.
  /// @return what to print now; mostly nothing
  std::string look(const FlightEntry& entry, double age_s);

  /// What is known about the others, for the message of the timeout. Local.
  [[nodiscard]] std::string others(const FlightEntry& entry) const;
  /// Whether no rank of some other host answers. Local.
  [[nodiscard]] bool host_lost() const;
  /// Whether another rank tells it.
  [[nodiscard]] bool silent() const noexcept { return silent_; }

 private:
  enum class Progress : std::uint8_t { undecided, another_speaks, complete };

  void follow(const FlightEntry& entry);
  void begin_round(double age_s);
  void end_round(double age_s);
  Progress progress(double age_s);
  void ask_more(int end, double age_s);
  [[nodiscard]] bool all_answered(int end) const;
  [[nodiscard]] bool another_speaks() const;
  [[nodiscard]] double last_round_s() const noexcept { return timing_.timeout_s - 4 * timing_.patience_s; }

  WaitBoard& board_;
  WaitTiming timing_;
  std::int64_t begin_ns_ = 0;  ///< of the call that is followed
  double next_round_s_ = 0;    ///< ages of the call, as all below
  double round_at_s_ = 0;
  double asked_at_s_ = 0;
  int asked_ = 0;  ///< ranks below this one were asked in this round
  bool in_round_ = false;
  bool silent_ = false;
};

}  // namespace dstrain
