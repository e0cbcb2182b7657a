// SPDX-License-Identifier: Apache-2.0
#include "core/memory_plan.hpp"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/error.hpp"
#include "support/random.hpp"

namespace dstrain {
namespace {

bool overlap(const PlannedBuffer& a, const PlannedBuffer& b) {
  return a.offset < b.offset + b.bytes() && b.offset < a.offset + a.bytes();
}

TEST(MemoryPlan, DisjointPhasesShareBytes) {
  MemoryPlan plan;
  const auto forward = plan.add("a/forward", 1 << 20, DType::f32, phase_forward);
  const auto save = plan.add("a/save", 1 << 20, DType::f32, phase_save);
  const auto always = plan.add("a/always", 1 << 10, DType::f32);

  plan.finalize();

  EXPECT_EQ(plan[forward].offset, plan[save].offset);
  EXPECT_FALSE(overlap(plan[forward], plan[always]));
  EXPECT_EQ(plan.arena_bytes(), (std::int64_t{4} << 20) + 4096);
  EXPECT_EQ(plan.arena_bytes(MemoryKind::device), 0);
}

TEST(MemoryPlan, KindsAreArenasOfTheirOwn) {
  MemoryPlan plan;
  const auto host = plan.add("a", 100, DType::f32);
  const auto registered = plan.add("b", 100, DType::bf16, phase_always, MemoryKind::registered);

  plan.finalize();

  EXPECT_EQ(plan[host].offset, 0);
  EXPECT_EQ(plan[registered].offset, 0);
  EXPECT_EQ(plan.arena_bytes(MemoryKind::host), 4096);
  EXPECT_EQ(plan.arena_bytes(MemoryKind::registered), 4096);
}

// The two promises of a plan, on a few hundred random buffers: who lives together is apart, and the layout repeats.
TEST(MemoryPlan, RandomBuffersNeverMeetAndLayoutsRepeat) {
  constexpr std::uint32_t phases[] = {phase_load, phase_forward, phase_backward, phase_optimizer,
                                      phase_save, phase_step,    phase_always};
  const auto sizes = test::uniform(400, 11, 0, 300'000), which = test::uniform(400, 12, 0, 7);
  const auto make = [&] {
    MemoryPlan plan;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      plan.add(fmt::format("b{}", i), static_cast<std::int64_t>(sizes[i]), i % 3 == 0 ? DType::bf16 : DType::f32,
               phases[static_cast<std::size_t>(which[i])]);
    }
    plan.finalize();
    return plan;
  };

  const MemoryPlan one = make(), two = make();

  std::int64_t sum = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto& a = one.buffers()[i];
    sum += a.bytes();
    EXPECT_EQ(a.offset, two.buffers()[i].offset);
    EXPECT_EQ(a.offset % (a.bytes() >= 65536 ? 4096 : 64), 0);
    EXPECT_LE(a.offset + a.bytes(), one.arena_bytes());
    for (std::size_t j = 0; j < i; ++j) {
      const auto& b = one.buffers()[j];
      ASSERT_FALSE((a.phases & b.phases) != 0 && overlap(a, b)) << a.name << " and " << b.name;
    }
  }
  EXPECT_LT(one.arena_bytes(), sum);  // something was shared
}

TEST(MemoryPlan, EmptyBuffersTakeNoPlace) {
  MemoryPlan plan;
  const auto empty = plan.add("a/empty", 0, DType::f32);

  plan.finalize();

  EXPECT_EQ(plan.arena_bytes(), 0);
  EXPECT_EQ(plan[empty].bytes(), 0);
}

TEST(MemoryPlan, RefusesWhatCannotBe) {
  MemoryPlan plan;
  EXPECT_THROW(plan.add("negative", -1, DType::f32), Error);
  EXPECT_THROW(plan.add("too large", std::numeric_limits<std::int64_t>::max() / 2, DType::f32), Error);
  EXPECT_THROW(plan.add("never", 1, DType::f32, 0), Error);
  plan.add("half", std::numeric_limits<std::int64_t>::max() / 8, DType::u8);
  plan.add("other half", std::numeric_limits<std::int64_t>::max() / 6, DType::u8);
  EXPECT_THROW(plan.finalize(), Error);
  MemoryPlan final;
  final.finalize();
  EXPECT_THROW(final.add("late", 1, DType::f32), Error);
  EXPECT_THROW(final.finalize(), Error);
}

}  // namespace
}  // namespace dstrain
