// SPDX-License-Identifier: Apache-2.0
/// The host's side of a GPU, on one that is emulated: memory, order of streams and events, the choice of a device.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "core/host_mirror.hpp"
#include "core/memory_plan.hpp"
#include "support/emulated/emulated_device.hpp"

namespace dstrain::test {
namespace {

constexpr Device gpu{DeviceKind::cuda, 0};

TEST(DeviceArena, LiesInTheMemoryThatThePlanNames) {
  WithEmulatedDevice device;
  {
    MemoryPlan plan(DeviceKind::cuda);
    const auto weights = plan.add("parameters/weights", 1000, DType::f32);
    const auto shared = plan.add("gradients/bucket", 100, DType::f32, phase_step, MemoryKind::registered);
    const auto losses = plan.add("staging/losses", 8, DType::f64, phase_always, plan.host_visible());
    plan.finalize();
    EXPECT_EQ(plan.arena_bytes(MemoryKind::host), 0);
    EXPECT_GE(plan.arena_bytes(MemoryKind::registered), 400);
    EXPECT_GE(plan.arena_bytes(MemoryKind::device), 4000);
    EXPECT_GE(plan.arena_bytes(MemoryKind::pinned), 64);

    EXPECT_THROW(Arena{plan}, Error) << "the communicator gives what it reaches";
    void* given = nullptr;
    const Arena arena(plan, [&](std::int64_t bytes) { return given = device->allocate(bytes); });

    arena[losses].as<double>()[7] = 1.0;  // the host may
    std::vector<float> seen(1000, 1.0F);
    copy_bytes(Stream(gpu, nullptr), seen.data(), arena[weights].data, 4000);
    EXPECT_EQ(seen, std::vector<float>(1000, 0.0F)) << "device memory starts as zeros";
    EXPECT_EQ(arena[shared].data, given);
    copy_bytes(Stream(gpu, nullptr), seen.data(), given, 400);
    EXPECT_EQ(seen, std::vector<float>(1000, 0.0F)) << "so does the communicator's";
    EXPECT_EQ(arena.allocated_bytes(MemoryKind::device), plan.arena_bytes(MemoryKind::device));
    EXPECT_EQ(device->alive(), 3U);
    device->release(given);
  }
  EXPECT_EQ(device->alive(), 0U) << "the arena gives back what it took";
}

TEST(DeviceArena, ThePlanOfACpuKnowsNoOtherMemory) {
  MemoryPlan plan;
  plan.add("a", 10, DType::f32, phase_always, plan.host_visible());
  plan.finalize();

  EXPECT_EQ(plan.arena_bytes(MemoryKind::pinned), 0);
  EXPECT_GE(plan.arena_bytes(MemoryKind::host), 40);
}

TEST(DeviceArena, AHostThatTouchesDeviceMemoryDies) {
  WithEmulatedDevice device;
  auto* memory = static_cast<volatile char*>(device->allocate(4096));

  EXPECT_DEATH(memory[0] = 1, "");

  device->release(const_cast<char*>(memory));
}

TEST(StreamOrder, WorkWaitsForEventsAndNothingElse) {
  WithEmulatedDevice device;
  const OwnedStream compute(gpu);
  const OwnedStream gather(gpu);
  Event fetched;
  Event used;

  used.make_wait(gather.get());  // nothing was recorded: nothing to wait for
  copy_bytes(gather.get(), nullptr, nullptr, 0);
  fetched.record(gather.get());
  fetched.make_wait(compute.get());
  used.record(compute.get());
  used.make_wait(gather.get());

  const std::vector<std::string> expected = {"record e3 s2", "wait s1 e3", "record e4 s1", "wait s2 e4"};
  EXPECT_EQ(device->log(), expected);
}

TEST(StreamOrder, OwnersGiveBackWhatTheyMade) {
  WithEmulatedDevice device;
  {
    OwnedStream a(gpu);
    OwnedStream b(std::move(a));
    Event event;
    event.record(b.get());
    Event moved(std::move(event));
    EXPECT_EQ(device->alive(), 2U);
  }
  EXPECT_EQ(device->alive(), 0U);
}

TEST(StreamOrder, OnTheCpuEverythingIsDoneAtOnce) {
  std::array<int, 2> values{1, 2};
  Event event;

  copy_bytes(Stream{}, values.data(), values.data() + 1, 4);
  event.record(Stream{});
  event.make_wait(Stream{});
  Stream{}.synchronize();
  zero_bytes(Stream{}, values.data() + 1, 4);

  EXPECT_EQ(values, (std::array<int, 2>{2, 0}));
}

TEST(HostMirrorOfADevice, BringsBackWhatTheHostChanged) {
  WithEmulatedDevice device;
  auto* memory = static_cast<float*>(device->allocate(4096));
  const Stream stream(gpu, nullptr);
  zero_bytes(stream, memory, 4096);
  HostMirror mirror(stream);

  float* seen = mirror.fetch(memory, 4096);
  ASSERT_NE(seen, memory);
  EXPECT_EQ(seen[5], 0.0F);
  seen[5] = 2.0F;
  mirror.store();

  float value = 0.0F;
  copy_bytes(stream, &value, memory + 5, 4);
  EXPECT_EQ(value, 2.0F);
  float host = 1.0F;
  EXPECT_EQ(HostMirror(Stream{}).fetch(&host, 4), &host);
  device->release(memory);
}

TEST(DeviceChoiceOfARank, TakesTheDeviceOfItsPlaceOnTheNode) {
  for (const int local_rank : {0, 1, 3}) {
    const auto choice = choose_device(DeviceWish::automatic, local_rank, 4, 4, "", false);
    EXPECT_EQ(choice.device.kind, DeviceKind::cuda);
    EXPECT_EQ(choice.device.index, local_rank);
    EXPECT_FALSE(choice.shared);
  }
  EXPECT_EQ(choose_device(DeviceWish::cuda, 3, 4, 1, "", false).device.index, 0) << "a launcher gave it one of its own";
}

TEST(DeviceChoiceOfARank, FallsBackToTheCpuOnlyWhereNothingElseIsAskedFor) {
  EXPECT_EQ(choose_device(DeviceWish::automatic, 0, 1, 0, "no driver", false).device.kind, DeviceKind::cpu);
  EXPECT_EQ(choose_device(DeviceWish::cpu, 0, 1, 8, "", false).device.kind, DeviceKind::cpu);
  try {
    (void)choose_device(DeviceWish::cuda, 0, 1, 0, "this machine has no CUDA driver", false);
    FAIL() << "no device, no error";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "device: cuda is asked for, but this machine has no CUDA driver");
    EXPECT_EQ(error.exit_code(), ExitCode::usage);
  }
}

TEST(DeviceChoiceOfARank, RanksShareADeviceOnlyWhereTheyMay) {
  EXPECT_THROW((void)choose_device(DeviceWish::cuda, 2, 3, 2, "", false), ConfigError);
  const auto choice = choose_device(DeviceWish::cuda, 2, 3, 2, "", true);
  EXPECT_EQ(choice.device.index, 0);
  EXPECT_TRUE(choice.shared);
  EXPECT_THROW((void)parse_device_wish("gpu"), ConfigError);
}

}  // namespace
}  // namespace dstrain::test
