// SPDX-License-Identifier: Apache-2.0
#include "train/step_profile.hpp"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "core/system_memory.hpp"

namespace dstrain {
namespace {

constexpr std::array<const char*, step_phases> phase_names = {"data", "forward", "backward", "optimizer"};

/// steps_per_print: Infinity means no lines.
std::int64_t interval_of(const RunConfig& config, std::int64_t logging_steps) {
  if (!config.steps_per_print) return logging_steps;
  return std::isfinite(*config.steps_per_print) ? static_cast<std::int64_t>(*config.steps_per_print) : 0;
}

}  // namespace

double StepTimes::total() const noexcept { return std::accumulate(phase.begin(), phase.end(), 0.0); }

std::string times_text(const StepTimes& times) {
  const double per_step = times.steps > 0 ? 1e3 / static_cast<double>(times.steps) : 0.0;
  std::string text;
  for (std::size_t i = 0; i < times.phase.size(); ++i) {
    text += fmt::format("{} {:.2f} | ", phase_names[i], times.phase[i] * per_step);
  }
  return text + fmt::format("step {:.2f}; communication, inside these, {:.2f}", times.total() * per_step,
                            times.communication * per_step);
}

bool measures_steps(const RunConfig& config) {
  return config.wall_clock_breakdown || config.memory_breakdown || config.comms_logger ||
         config.flops_profiler_step > 0;
}

void StepProfile::begin_step() {
  last_ = {};
  work_ = {};
  communication_before_ = comm_.seconds();
  mark_ = Clock::now();
}

void StepProfile::lap(StepPhase phase) {
  const auto now = Clock::now();
  last_.phase[static_cast<std::size_t>(phase)] += std::chrono::duration<double>(now - mark_).count();
  mark_ = now;
}

void StepProfile::count(const MicroBatch& batch) noexcept {
  work_.tokens += batch.tokens;
  ++work_.micro_batches;
  for (std::size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    const std::int64_t length = batch.cu_seqlens[i + 1] - batch.cu_seqlens[i];
    work_.attention_pairs += length * (length + 1) / 2;
  }
}

void StepProfile::end_step() {
  last_.communication = comm_.seconds() - communication_before_;
  last_.steps = 1;
  for (std::size_t i = 0; i < last_.phase.size(); ++i) sum_.phase[i] += last_.phase[i];
  sum_.communication += last_.communication;
  ++sum_.steps;
}

std::string StepProfile::lines_due(std::int64_t step, std::int64_t logging_steps) {
  const std::int64_t interval = interval_of(config_, logging_steps);
  if (interval < 1 || step % interval != 0) return {};
  std::string lines;
  if (config_.wall_clock_breakdown) {
    lines = fmt::format("step {}: time (ms) of rank 0, mean of {} steps: {}", step, sum_.steps, times_text(sum_));
  }
  if (config_.memory_breakdown) {
    lines += fmt::format("{}step {}: memory of rank 0: {} resident, {} at the peak, {} of the machine still free",
                         lines.empty() ? "" : "\n", step, format_bytes(resident_bytes()),
                         format_bytes(peak_resident_bytes()), format_bytes(available_host_bytes()));
  }
  sum_ = {};
  return lines;
}

}  // namespace dstrain
