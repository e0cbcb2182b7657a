// SPDX-License-Identifier: Apache-2.0
#include "core/system_memory.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace dstrain {
namespace {

TEST(SystemMemory, FiguresAreConsistent) {
  EXPECT_GT(available_host_bytes(), 0);
  EXPECT_GT(total_host_bytes(), std::int64_t{64} << 20);
  EXPECT_LE(available_host_bytes(), total_host_bytes());
  EXPECT_GT(resident_bytes(), 0);
  EXPECT_GE(peak_resident_bytes(), resident_bytes());
  EXPECT_GE(free_shared_memory_bytes(), 0);
}

TEST(SystemMemory, ResidentBytesFollowWhatIsTouched) {
  const std::int64_t before = resident_bytes();

  const std::vector<char> touched(std::size_t{32} << 20, 1);

  EXPECT_GT(resident_bytes() - before, std::int64_t{28} << 20);
  EXPECT_EQ(touched.back(), 1);
}

TEST(FormatBytes, ReadsLikeAPerson) {
  EXPECT_EQ(format_bytes(640), "640 B");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(std::int64_t{12} << 20), "12.0 MiB");
  EXPECT_EQ(format_bytes(std::int64_t{5} << 40), "5.00 TiB");
}

}  // namespace
}  // namespace dstrain
