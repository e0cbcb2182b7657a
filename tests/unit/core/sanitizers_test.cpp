// SPDX-License-Identifier: Apache-2.0
/// The sanitizers that a preset asks for do stop a program: a flag that is lost on the way would let every test pass.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace dstrain::test {
namespace {

volatile int result = 0;
volatile int one = 1;     // the compiler knows no value
volatile int forty = 40;  // bits of a shift, and an index
int values[4] = {1, 2, 3, 4};

TEST(Sanitizers, StopUndefinedBehaviour) {
  EXPECT_DEATH(result = std::numeric_limits<int>::max() + one, "");
  EXPECT_DEATH(result = one << forty, "");
  EXPECT_DEATH(result = values[forty / 10], "");
}

TEST(Sanitizers, StopWritesBehindTheEnd) {
  std::vector<int> four(4);
  EXPECT_DEATH(four.data()[forty / 10] = 1, "heap-buffer-overflow");
}

}  // namespace
}  // namespace dstrain::test
