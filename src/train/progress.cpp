// SPDX-License-Identifier: Apache-2.0
#include "train/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "core/system_memory.hpp"

namespace dstrain {

bool on_terminal() noexcept { return isatty(STDERR_FILENO) == 1; }

Progress::Progress(std::int64_t first_step, std::int64_t total_steps, bool bar)
    : first_(first_step), total_(total_steps), bar_(bar) {}

Progress::~Progress() {
  if (drawn_) std::fputc('\n', stderr);
}

void Progress::step(std::int64_t step, double loss) {
  if (!bar_) return;
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && step < total_ && now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  draw(step, loss);
}

void Progress::draw(std::int64_t step, double loss) {
  constexpr int width = 30;
  const double share = static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(total_, 1));
  const int filled = std::clamp(static_cast<int>(share * width), 0, width);
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const auto done = static_cast<double>(std::max<std::int64_t>(step - first_, 1));
  const auto text =
      fmt::format("\r{:3.0f}% [{}{}] {}/{} [{}<{}, {:.2f} s/step, loss {:.4f}]\033[K", share * 100.0,
                  std::string(static_cast<std::size_t>(filled), '#'),
                  std::string(static_cast<std::size_t>(width - filled), ' '), step, total_, format_duration(elapsed),
                  format_duration(elapsed / done * static_cast<double>(total_ - step)), elapsed / done, loss);
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void Progress::log(const LogEntry& e) {
  clear();
  auto line = fmt::format("step {:>6}/{}  epoch {:.2f}  loss {:.4f}", e.step, total_, e.epoch, e.loss);
  if (e.grad_norm >= 0) line += fmt::format("  grad_norm {:.4f}", e.grad_norm);
  line += fmt::format("  lr {:.3e}  {:.0f} tokens/s", e.learning_rate, e.tokens_per_second);
  if (e.mfu > 0) line += fmt::format("  MFU {:.1f} %", e.mfu * 100.0);
  line += fmt::format("  {}\n", format_bytes(e.memory_bytes));
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

void Progress::evaluation(std::int64_t step, const Metrics& metrics) {
  clear();
  auto line = fmt::format("step {:>6}/{}", step, total_);
  for (const auto& [name, value] : metrics) {
    if (name.ends_with("_per_second")) continue;
    line += name.ends_with("_runtime") ? fmt::format("  {} {:.2f} s", name, value)
                                       : fmt::format("  {} {:.4f}", name, value);
  }
  std::fputs((line + "\n").c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace dstrain
