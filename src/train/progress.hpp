// SPDX-License-Identifier: Apache-2.0
/// What a person sees while a run goes on: a bar on a terminal, plain lines otherwise. Rank 0 only.
#pragma once

#include <chrono>
#include <cstdint>

#include "train/trainer_log.hpp"

namespace dstrain {

class Progress {
 public:
  /// @param bar  draw a bar (stderr is a terminal and disable_tqdm is not set)
  Progress(std::int64_t first_step, std::int64_t total_steps, bool bar);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// After each step. Redraws at most ten times a second.
  void step(std::int64_t step, double loss);
  /// A logging step: one line, above the bar.
  void log(const LogEntry& entry);
  /// An evaluation: the same.
  void evaluation(std::int64_t step, const Metrics& metrics);

 private:
  void draw(std::int64_t step, double loss);
  void clear();

  std::int64_t first_;
  std::int64_t total_;
  bool bar_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_draw_;
};

/// True where stderr is a terminal. Local.
bool on_terminal() noexcept;

}  // namespace dstrain
