// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <utility>

#include "commands/commands.hpp"
#include "core/error.hpp"

namespace dstrain::test {

/// What `run` prints to stdout.
inline std::pair<ExitCode, std::string> printed(ExitCode (*run)(const commands::Words&), const commands::Words& words) {
  testing::internal::CaptureStdout();
  ExitCode code = ExitCode::failed;
  try {
    code = run(words);
  } catch (...) {
    (void)testing::internal::GetCapturedStdout();
    throw;
  }
  std::fflush(stdout);
  return {code, testing::internal::GetCapturedStdout()};
}

}  // namespace dstrain::test
