// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/error.hpp"
#include "core/memory_plan.hpp"
#include "core/system_memory.hpp"

namespace dstrain {
namespace {

MemoryPlan plan_of(std::int64_t bytes, MemoryKind kind) {
  MemoryPlan plan;
  plan.add("parameters/all", bytes, DType::u8, phase_always, kind);
  plan.finalize();
  return plan;
}

TEST(Arena, GivesZeroedAlignedViewsOfThePlan) {
  MemoryPlan plan;
  const auto a = plan.add("a", 1000, DType::f32), b = plan.add("b", 100'000, DType::bf16),
             none = plan.add("c", 0, DType::f32);
  plan.finalize();

  const Arena arena(std::move(plan));

  EXPECT_EQ(arena[a].count, 1000);
  EXPECT_EQ(arena[b].dtype, DType::bf16);
  EXPECT_EQ(arena[none].data, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena[a].data) % 64, 0U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena[b].data) % 4096, 0U);
  const auto* floats = arena[a].as<float>();
  EXPECT_TRUE(std::all_of(floats, floats + 1000, [](float v) { return v == 0.0F; }));
  std::fill_n(arena[a].as<float>(), 1000, 1.0F);
  std::fill_n(arena[b].as<std::uint16_t>(), 100'000, std::uint16_t{7});
  EXPECT_EQ(floats[999], 1.0F);
}

// Planned = measured: the pages are there after construction, and gone after destruction.
TEST(Arena, TakesThePlannedMemoryAtOnceAndGivesItBack) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "skipped: ThreadSanitizer keeps as much memory again beside it";
#endif
  constexpr std::int64_t bytes = std::int64_t{96} << 20, slack = std::int64_t{8} << 20;
  const std::int64_t before = resident_bytes();
  {
    const Arena arena(plan_of(bytes, MemoryKind::host));
    EXPECT_EQ(arena.allocated_bytes(), bytes);
    EXPECT_NEAR(static_cast<double>(resident_bytes() - before), static_cast<double>(bytes), static_cast<double>(slack));
  }
  EXPECT_LT(resident_bytes() - before, slack);
}

TEST(Arena, SaysWhatIsTooLarge) {
  MemoryPlan plan;
  plan.add("optimizer/exp_avg", std::int64_t{1} << 50, DType::u8);
  plan.add("small", 16, DType::u8);
  plan.finalize();

  try {
    const Arena arena(std::move(plan));
    FAIL() << "a pebibyte was given";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("optimizer/exp_avg"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("1.00 PiB"), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(Arena, RefusesKindsOfMemoryThatAreNotThere) {
  EXPECT_THROW(Arena(plan_of(1, MemoryKind::device)), Error);
  EXPECT_THROW(Arena(plan_of(1, MemoryKind::pinned)), Error);
}

TEST(Arena, TakesRegisteredMemoryFromItsGiver) {
  constexpr std::int64_t bytes = 10'000;
  alignas(4096) static char given[12'288];
  std::int64_t asked = 0;
  MemoryPlan plan;
  const auto id = plan.add("gathered/unit", bytes, DType::u8, phase_always, MemoryKind::registered);
  plan.finalize();

  const Arena arena(std::move(plan), [&](std::int64_t wanted) -> void* {
    asked = wanted;
    return given;
  });

  EXPECT_EQ(asked, 12'288);
  EXPECT_EQ(arena[id].data, given);
  EXPECT_THROW(Arena(plan_of(1, MemoryKind::registered), [](std::int64_t) -> void* { return nullptr; }), Error);
  const Arena alone(plan_of(bytes, MemoryKind::registered));  // one rank: plain memory
  EXPECT_NE(alone[BufferId{0}].data, nullptr);
}

}  // namespace
}  // namespace dstrain
