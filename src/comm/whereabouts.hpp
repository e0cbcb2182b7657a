// SPDX-License-Identifier: Apache-2.0
/// Where ranks are in the row of calls, in a form that travels between them, and in words.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/flight_recorder.hpp"

namespace dstrain {

/// Where a rank is, as it says itself. Plain bytes: it is sent as it is.
struct Whereabouts {
  std::uint64_t sequence = 0;  ///< of the call it is in, or of the last one; 0: none yet
  std::int64_t age_ns = 0;     ///< since the call began, or since the last one ended
  CommOp op = CommOp::barrier;
  std::uint8_t inside = 0;       ///< 1: it is in that call now
  std::int32_t peer = -1;        ///< of a message
  std::array<char, 48> label{};  ///< cut to fit, ends in 0

  /// Whether both are in the same call at the same time.
  [[nodiscard]] bool meets(const Whereabouts& other) const noexcept;
};

/// What a recorder says about its own rank: the call that has been open longest, else the last one. Local.
Whereabouts whereabouts(const FlightRecorder& recorder) noexcept;
Whereabouts whereabouts(const FlightEntry& entry) noexcept;

/// What is known about another rank.
struct RankReport {
  bool asked = false;
  std::optional<Whereabouts> answer = {};
};

/// The other ranks beside a waiting one, for its message: "; ranks 2, 4-6 wait there too; rank 3 does not answer (its
/// process is stopped, or its host cannot be reached); rank 7 is in all_gather #1841, weights to all, for 9 s". Ranks
/// that were not asked are left out. Local, pure.
/// @param reports  of every rank, the own one is ignored
std::string describe_others(int rank, const Whereabouts& own, std::span<const RankReport> reports,
                            const std::vector<std::string>& hosts);

}  // namespace dstrain
