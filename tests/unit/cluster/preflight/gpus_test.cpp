// SPDX-License-Identifier: Apache-2.0
/// Reading GPUs from a management library; the one loaded here is pretended_nvml.c.
#include "cluster/preflight/gpus.hpp"

#include <gtest/gtest.h>

namespace dstrain {
namespace {

TEST(Gpus, AreReadFromTheManagementLibrary) {
  const auto list = list_gpus();

  EXPECT_EQ(list.driver, "570.86.15");
  ASSERT_EQ(list.devices.size(), 2U);
  EXPECT_EQ(list.devices[0],
            (GpuFacts{"8ca5e6f20", "NVIDIA H100 80GB HBM3", std::int64_t{80} << 30, std::int64_t{79} << 30}));
  EXPECT_EQ(list.devices[1].uuid, "8ca5e6f21");
  EXPECT_EQ(list.devices[1].model, "");
  EXPECT_EQ(list.devices[1].free_bytes, std::int64_t{1} << 30);
}

}  // namespace
}  // namespace dstrain
