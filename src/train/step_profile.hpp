// SPDX-License-Identifier: Apache-2.0
/// Where the time of steps goes: wall_clock_breakdown, memory_breakdown and the profile of one step.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "comm/logged_communicator.hpp"
#include "config/run_config.hpp"
#include "model/micro_batch.hpp"

namespace dstrain {

enum class StepPhase : std::uint8_t { data, forward, backward, optimizer };
inline constexpr int step_phases = 4;

/// Seconds of some steps by phase, as this rank sees them. `communication` lies inside the phases.
struct StepTimes {
  std::array<double, step_phases> phase{};
  double communication = 0.0;
  std::int64_t steps = 0;

  [[nodiscard]] double of(StepPhase p) const noexcept { return phase[static_cast<std::size_t>(p)]; }
  [[nodiscard]] double total() const noexcept;
};

/// What one rank computes in a step.
struct StepWork {
  std::int64_t tokens = 0;
  std::int64_t attention_pairs = 0;  ///< (query, key) pairs of causal attention, within each segment
  std::int64_t micro_batches = 0;
};

/// "data 0.1 | forward 12.3 | ..." in milliseconds per step. Local, pure.
std::string times_text(const StepTimes& times);

/// Whether a key asks for numbers that a run without it does not take.
bool measures_steps(const RunConfig& config);

/// The stopwatch of a run. Exists only where measures_steps(); nothing is allocated in a step.
class StepProfile {
 public:
  /// @param comm  what the run communicates through; must outlive this
  StepProfile(const RunConfig& config, const LoggedCommunicator& comm) : config_(config), comm_(comm) {}

  // In a step. Local.
  void begin_step();
  /// The time since the last lap belongs to `phase`.
  void lap(StepPhase phase);
  /// A micro-batch that this rank computes.
  void count(const MicroBatch& batch) noexcept;
  void end_step();

  /// What is due after step `step`, as lines for the log; empty where nothing is. Rank 0.
  /// @param logging_steps  where steps_per_print is not set
  std::string lines_due(std::int64_t step, std::int64_t logging_steps);
  /// Whether step `step` is the one that flops_profiler_step names.
  [[nodiscard]] bool is_profiled(std::int64_t step) const noexcept { return step == config_.flops_profiler_step; }
  /// The times of the last step alone, and what this rank computed in it.
  [[nodiscard]] const StepTimes& last_step() const noexcept { return last_; }
  [[nodiscard]] const StepWork& last_work() const noexcept { return work_; }

 private:
  using Clock = std::chrono::steady_clock;

  const RunConfig& config_;
  const LoggedCommunicator& comm_;
  Clock::time_point mark_;
  double communication_before_ = 0.0;
  StepTimes last_;
  StepTimes sum_;  ///< since the last line
  StepWork work_;
};

}  // namespace dstrain
