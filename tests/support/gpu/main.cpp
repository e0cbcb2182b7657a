// SPDX-License-Identifier: Apache-2.0
/// main of the tests that need a GPU: without one they are skipped, visibly.
#include <gtest/gtest.h>

#include <cstdio>

#include "core/device_runtime.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  dstrain::DeviceRuntime* runtime = dstrain::device_runtime();
  if (runtime == nullptr || runtime->count() == 0) {
    std::printf("[  SKIPPED ] every test: %s\n",
                runtime == nullptr ? "no CUDA in this build" : runtime->why_none().c_str());
    return 77;
  }
  std::printf("on %s\n", runtime->describe(0).c_str());
  return RUN_ALL_TESTS();
}
