// SPDX-License-Identifier: Apache-2.0
#include "train/stop_signal.hpp"

#include <array>
#include <csignal>

namespace dstrain {

namespace {

constexpr std::array stop_signals{SIGTERM, SIGUSR1, SIGINT};

volatile std::sig_atomic_t received_signal = 0;
volatile std::sig_atomic_t interrupted = 0;

void note_signal(int number) {
  if (number == SIGINT && interrupted != 0) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  if (number == SIGINT) interrupted = 1;
  received_signal = number;
}

}  // namespace

StopSignal::StopSignal() {
  received_signal = 0;
  interrupted = 0;
  for (const int number : stop_signals) std::signal(number, note_signal);
}

StopSignal::~StopSignal() {
  for (const int number : stop_signals) std::signal(number, SIG_DFL);
}

int StopSignal::received() noexcept { return received_signal; }

void StopSignal::let_go() noexcept {
  for (const int number : stop_signals) std::signal(number, SIG_DFL);
  if (received_signal != 0) std::raise(received_signal);
}

}  // namespace dstrain
