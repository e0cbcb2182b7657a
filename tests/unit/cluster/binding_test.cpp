// SPDX-License-Identifier: Apache-2.0
#include "cluster/binding.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include "cluster/gpu_locality.hpp"
#include "core/error.hpp"

namespace dstrain::binding_test {
namespace {

constexpr const char* two_sockets = "numa:2 core:4 pu:2";  // 16 hardware threads, 0-7 on the first socket

std::vector<int> range(int begin, int end) {
  std::vector<int> values(static_cast<std::size_t>(end - begin));
  std::iota(values.begin(), values.end(), begin);
  return values;
}

BindingRequest wish(CpuBinding binding, int place, int count, std::vector<int> near = {}) {
  return {.binding = binding, .place = place, .count = count, .near = std::move(near)};
}

TEST(Binding, AutoGivesEachRankItsNumaNode) {
  const MachineTopology machine(two_sockets);

  const auto first = machine.plan(range(0, 16), wish(CpuBinding::automatic, 0, 4));
  const auto last = machine.plan(range(0, 16), wish(CpuBinding::automatic, 3, 4));

  ASSERT_TRUE(first && last);
  EXPECT_EQ(first->cpus, range(0, 8));
  EXPECT_EQ(last->cpus, range(8, 16));
  EXPECT_EQ(last->what, "NUMA node 1");
}

TEST(Binding, AutoLeavesAloneWhatCannotBeSharedEvenly) {
  EXPECT_FALSE(MachineTopology(two_sockets).plan(range(0, 16), wish(CpuBinding::automatic, 0, 3)));
  EXPECT_FALSE(MachineTopology(two_sockets).plan(range(0, 16), wish(CpuBinding::automatic, 0, 1)));
  EXPECT_FALSE(MachineTopology(two_sockets).plan(range(0, 8), wish(CpuBinding::automatic, 0, 2))) << "one node is left";
  EXPECT_FALSE(MachineTopology("core:8 pu:1").plan(range(0, 8), wish(CpuBinding::automatic, 0, 2)));
}

TEST(Binding, MoreNodesThanRanksAreSharedOut) {
  const auto plan = MachineTopology("numa:4 core:2 pu:1").plan(range(0, 8), wish(CpuBinding::automatic, 1, 2));

  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->cpus, range(4, 8));
  EXPECT_EQ(plan->what, "NUMA nodes 2,3");
}

TEST(Binding, CoresAreCoveredOnceByAllRanks) {
  const MachineTopology machine(two_sockets);
  for (const int count : {1, 2, 3, 5, 8}) {
    std::multiset<int> seen;
    for (int place = 0; place < count; ++place) {
      const auto plan = machine.plan(range(0, 16), wish(CpuBinding::core, place, count));
      ASSERT_TRUE(plan) << count;
      EXPECT_EQ(plan->cpus.size() % 2, 0U) << "both hardware threads of a core go to the same rank";
      seen.insert(plan->cpus.begin(), plan->cpus.end());
    }
    EXPECT_EQ(std::vector<int>(seen.begin(), seen.end()), range(0, 16)) << count;
  }
  EXPECT_FALSE(machine.plan(range(0, 16), wish(CpuBinding::core, 0, 9))) << "more ranks than cores";
}

TEST(Binding, StaysInsideWhatALauncherAllows) {
  const auto plan = MachineTopology(two_sockets).plan({2, 3, 10, 11}, wish(CpuBinding::core, 1, 2));

  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->cpus, (std::vector<int>{10, 11}));
}

TEST(Binding, NearTheGpuComesFirst) {
  const MachineTopology machine(two_sockets);

  const auto plan = machine.plan(range(0, 16), wish(CpuBinding::automatic, 0, 2, range(8, 16)));

  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->cpus, range(8, 16));
  EXPECT_EQ(plan->what, "near its GPU");
  EXPECT_FALSE(machine.plan(range(0, 8), wish(CpuBinding::automatic, 0, 2, range(8, 16)))) << "not allowed there";
  EXPECT_FALSE(machine.plan(range(0, 16), wish(CpuBinding::none, 0, 2, range(8, 16))));
}

TEST(Binding, WordsOfTheKey) {
  EXPECT_EQ(parse_cpu_binding("numa"), CpuBinding::numa);
  EXPECT_THROW(parse_cpu_binding("socket"), ConfigError);
}

TEST(Binding, ThisThreadCanBeBoundAndFreed) {
  const auto before = allowed_cpus();
  ASSERT_FALSE(before.empty());

  ASSERT_TRUE(bind_to({before.back()}));
  EXPECT_EQ(allowed_cpus(), std::vector<int>{before.back()});

  ASSERT_TRUE(bind_to(before));
  EXPECT_EQ(allowed_cpus(), before);
}

class Gpus : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(DSTRAIN_TEST_TMP) / "gpu-locality";
    std::filesystem::remove_all(root_);
    add("0000:3B:00.0", "GPU-aaaa1111", "0-7,16-23");
    add("0000:af:00.0", "GPU-bbbb2222", "8-15,24-31");
  }
  void add(const std::string& pci, const std::string& uuid, const std::string& cpus) {
    const auto driver = root_ / "proc/driver/nvidia/gpus" / pci;
    std::filesystem::create_directories(driver);
    std::ofstream(driver / "information") << "Model: \t\t H100\nGPU UUID: \t " << uuid << "\nDevice Minor: \t 0\n";
    std::string lower = pci;
    for (auto& c : lower) c = static_cast<char>(std::tolower(c));
    const auto device = root_ / "sys/bus/pci/devices" / lower;
    std::filesystem::create_directories(device);
    std::ofstream(device / "local_cpulist") << cpus << "\n";
  }
  std::filesystem::path root_;
};

TEST_F(Gpus, RanksFindTheirsAndTheCoresNearIt) {
  const auto gpus = gpus_of_machine(root_);
  ASSERT_EQ(gpus.size(), 2U);
  EXPECT_EQ(gpus[0].uuid, "GPU-aaaa1111");

  EXPECT_EQ(gpu_of_rank(gpus, {}, 1)->pci, "0000:af:00.0");
  EXPECT_EQ(gpu_of_rank(gpus, "1,0", 0)->pci, "0000:af:00.0");
  EXPECT_EQ(gpu_of_rank(gpus, "GPU-bbbb", 5)->pci, "0000:af:00.0") << "each rank was given one";
  EXPECT_FALSE(gpu_of_rank(gpus, "", 0));
  EXPECT_FALSE(gpu_of_rank(gpus, "7,0", 0)) << "CUDA stops at the first that does not exist";
  EXPECT_FALSE(gpu_of_rank(gpus, {}, 2));

  const auto near = cpus_near(gpus[1], root_);
  EXPECT_EQ(near.size(), 16U);
  EXPECT_EQ(near.front(), 8);
  EXPECT_EQ(near.back(), 31);
}

TEST_F(Gpus, AMachineWithoutThemHasNone) { EXPECT_TRUE(gpus_of_machine(root_ / "nowhere").empty()); }

TEST(CpuList, WhatIsNoListIsEmpty) {
  EXPECT_EQ(parse_cpu_list("0-2,5"), (std::vector<int>{0, 1, 2, 5}));
  for (const char* wrong : {"", "x", "3-1", "1-", "-1", "99999999"})
    EXPECT_TRUE(parse_cpu_list(wrong).empty()) << wrong;
}

}  // namespace
}  // namespace dstrain::binding_test
