// SPDX-License-Identifier: Apache-2.0
/// Collectives on the memory of an emulated GPU: the numbers of the host's communicator bit by bit, and the order of
/// what is sent.
#include "comm/device_communicator.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "comm/local_communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "comm/plan_communicator.hpp"
#include "core/host_mirror.hpp"
#include "core/rng.hpp"
#include "support/emulated/emulated_device.hpp"
#include "train/device_setup.hpp"

namespace dstrain::device_communicator_test {
namespace {

const Stream on_gpu({DeviceKind::cuda, 0}, nullptr);

/// Numbers whose sums round, different on each rank.
std::vector<float> numbers(std::int64_t count, int rank) {
  const Rng rng(3, RngSite::synthetic_data, 0, static_cast<std::uint32_t>(rank));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = rng.normal(i);
  return values;
}

/// Elements on the emulated GPU.
class OnGpu {
 public:
  explicit OnGpu(const std::vector<float>& values, DType dtype = DType::f32)
      : count_(static_cast<std::int64_t>(values.size())), dtype_(dtype) {
    memory_ = device_runtime()->allocate(std::max<std::int64_t>(view().bytes(), 1));
    HostMirror mirror(on_gpu);
    void* at = mirror.fill(memory_, view().bytes());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (dtype == DType::f32) {
        static_cast<float*>(at)[i] = values[i];
      } else {
        static_cast<bfloat16*>(at)[i] = bfloat16(values[i]);
      }
    }
    mirror.store();
  }
  OnGpu(const OnGpu&) = delete;
  OnGpu& operator=(const OnGpu&) = delete;
  ~OnGpu() { device_runtime()->release(memory_); }
  [[nodiscard]] View view() const { return {memory_, count_, dtype_}; }
  [[nodiscard]] std::vector<float> values() const {
    std::vector<float> all(static_cast<std::size_t>(count_));
    copy_bytes(on_gpu, all.data(), memory_, view().bytes());
    return all;
  }

 private:
  std::int64_t count_;
  DType dtype_;
  void* memory_ = nullptr;
};

class DeviceCollectives : public testing::Test {
 protected:
  void SetUp() override {
    host_ = make_world_communicator();
    auto world = make_world_communicator();
    std::unique_ptr<DeviceTransport> transport;
    // Small pieces, so that every call takes several.
    if (world->size() > 1) transport = make_staged_transport(*world, 4096);
    // Four ranks pretend to be two nodes.
    std::vector<int> nodes;
    if (world->size() == 4) nodes = {0, 0, 1, 1};
    comm_ = std::make_unique<DeviceCommunicator>(std::move(world), std::move(transport), fold_on_device, 8192, nodes);
  }
  void TearDown() override {
    comm_->close();
    host_->close();
  }
  WithEmulatedDevice device_;
  std::unique_ptr<Communicator> host_;
  std::unique_ptr<Communicator> comm_;
};

TEST_F(DeviceCollectives, ReduceScatterGivesTheBitsOfTheHost) {
  const int ranks = host_->size();
  for (const std::int64_t shard : {1, 64, 1000, 5000}) {
    for (int contributors = 1; contributors <= ranks; ++contributors) {
      for (const bool accumulate : {false, true}) {
        SCOPED_TRACE(testing::Message() << shard << " elements, " << contributors << " contribute, " << accumulate);
        auto full = numbers(shard * ranks, host_->rank());
        std::vector<float> expected(static_cast<std::size_t>(shard), 0.25F);
        const ReduceScatterPart on_host{ConstView(std::span(full)), View(std::span(expected)), accumulate};
        host_->reduce_scatter(std::span(&on_host, 1), contributors, false, Stream{}, "host");
        const OnGpu full_gpu(full), shard_gpu(std::vector<float>(static_cast<std::size_t>(shard), 0.25F));

        const ReduceScatterPart part{full_gpu.view(), shard_gpu.view(), accumulate};
        comm_->reduce_scatter(std::span(&part, 1), contributors, false, on_gpu, "gpu");

        EXPECT_EQ(shard_gpu.values(), expected);
        if (accumulate) continue;
        const ReduceScatterPart in_place{full_gpu.view(), full_gpu.view().slice(host_->rank() * shard, shard), false};
        comm_->reduce_scatter(std::span(&in_place, 1), contributors, false, on_gpu, "gpu, in place");
        const auto all = full_gpu.values();
        EXPECT_EQ(std::vector<float>(all.begin() + host_->rank() * shard, all.begin() + (host_->rank() + 1) * shard),
                  expected);
      }
    }
  }
}

TEST_F(DeviceCollectives, TwoLevelsAddNodeByNode) {
  const int ranks = host_->size();
  if (ranks != 4) GTEST_SKIP() << "skipped: it takes two nodes of two ranks";
  for (const std::int64_t shard : {1, 64, 1000}) {
    for (const bool accumulate : {false, true}) {
      const auto full = numbers(shard * ranks, host_->rank());
      std::vector<float> expected(static_cast<std::size_t>(shard));
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto of = [&](int rank) {
          return numbers(shard * ranks, rank)[static_cast<std::size_t>(host_->rank() * shard) + i];
        };
        const float first = of(0) + of(1), second = of(2) + of(3);
        expected[i] = accumulate ? (0.25F + first) + second : first + second;
      }
      const OnGpu full_gpu(full), shard_gpu(std::vector<float>(expected.size(), 0.25F));

      const ReduceScatterPart part{full_gpu.view(), shard_gpu.view(), accumulate};
      comm_->reduce_scatter(std::span(&part, 1), ranks, true, on_gpu, "gpu");

      EXPECT_EQ(shard_gpu.values(), expected) << shard << " elements, " << accumulate;
      if (accumulate) continue;
      const ReduceScatterPart in_place{full_gpu.view(), full_gpu.view().slice(host_->rank() * shard, shard), false};
      comm_->reduce_scatter(std::span(&in_place, 1), ranks, true, on_gpu, "gpu, in place");
      const auto all = full_gpu.values();
      EXPECT_EQ(std::vector<float>(all.begin() + host_->rank() * shard, all.begin() + (host_->rank() + 1) * shard),
                expected);
    }
  }
}

TEST_F(DeviceCollectives, ReduceScatterTakesBf16) {
  const int ranks = host_->size();
  auto full = numbers(100 * ranks, host_->rank());
  std::vector<bfloat16> narrow;
  for (const float v : full) narrow.emplace_back(v);
  std::vector<float> expected(100);
  host_->reduce_scatter(ConstView(narrow.data(), 100 * ranks, DType::bf16), View(std::span(expected)), Stream{},
                        "host");
  const OnGpu full_gpu(full, DType::bf16), shard_gpu(std::vector<float>(100));

  comm_->reduce_scatter(full_gpu.view(), shard_gpu.view(), on_gpu, "gpu");

  EXPECT_EQ(shard_gpu.values(), expected);
}

TEST_F(DeviceCollectives, GathersBroadcastsAndReducesLikeTheHost) {
  const int ranks = host_->size();
  for (const std::int64_t shard : {1, 3000}) {
    auto mine = numbers(shard, host_->rank());
    std::vector<float> expected(static_cast<std::size_t>(shard * ranks));
    host_->all_gather(ConstView(std::span(mine)), View(std::span(expected)), Stream{}, "host");
    const OnGpu shard_gpu(mine), full_gpu(std::vector<float>(expected.size()));

    comm_->all_gather(shard_gpu.view(), full_gpu.view(), on_gpu, "gpu");
    EXPECT_EQ(full_gpu.values(), expected);
    comm_->all_gather(full_gpu.view().slice(host_->rank() * shard, shard), full_gpu.view(), on_gpu, "in place");
    EXPECT_EQ(full_gpu.values(), expected);

    const int root = ranks - 1;
    comm_->broadcast(shard_gpu.view(), root, on_gpu, "gpu");
    EXPECT_EQ(shard_gpu.values(), numbers(shard, root));

    const OnGpu summed(mine);
    auto sums = mine;
    host_->all_reduce(View(std::span(sums)), ReduceOp::sum, Stream{}, "host");
    comm_->all_reduce(summed.view(), ReduceOp::sum, on_gpu, "gpu");
    EXPECT_EQ(summed.values(), sums);
  }
}

TEST_F(DeviceCollectives, HostMemoryGoesTheHostsWay) {
  std::int64_t values[] = {host_->rank() + 1};

  comm_->all_reduce(View(std::span<std::int64_t>(values)), ReduceOp::max, Stream{}, "host memory");
  comm_->barrier("barrier");

  EXPECT_EQ(values[0], host_->size());
  EXPECT_THROW(comm_->all_gather(View(values, 1, DType::i64), View(values, 7, DType::i64), on_gpu, "wrong"),
               ShapeError);
}

/// Writes down what is asked of it.
class RecordedTransport final : public DeviceTransport {
 public:
  explicit RecordedTransport(std::vector<std::string>& log) : log_(log) {}
  void exchange(std::span<const Message> sends, std::span<const Message> receives, ExchangeScope scope, const Stream&,
                const char* label) override {
    std::string line = label;
    if (scope != ExchangeScope::all) line += scope == ExchangeScope::node ? " node" : " across";
    for (const Message& m : sends) line += fmt::format(" {}>{}", m.bytes, m.peer);
    for (const Message& m : receives) line += fmt::format(" {}<{}", m.bytes, m.peer);
    log_.push_back(line);
  }
  void all_gather(std::span<const AllGatherPart> parts, const Stream&, const char* label) override {
    log_.push_back(fmt::format("{} gather of {}", label, parts.size()));
  }
  void broadcast(View values, int root, const Stream&, const char* label) override {
    log_.push_back(fmt::format("{} {} from {}", label, values.bytes(), root));
  }
  void close() override { log_.emplace_back("close"); }

 private:
  std::vector<std::string>& log_;
};

// Rank 1 of 4 pretended ranks, of which 3 contribute: what it sends and what it waits for, piece by piece.
TEST(DeviceCollectiveSequence, EveryOwnerGetsEveryContribution) {
  WithEmulatedDevice device;
  std::vector<std::string> log;
  DeviceCommunicator comm(std::make_unique<PlanCommunicator>(1, 4), std::make_unique<RecordedTransport>(log),
                          fold_on_device, 1024);
  const OnGpu full(std::vector<float>(4 * 100)), shard(std::vector<float>(100));
  const ReduceScatterPart part{full.view(), shard.view(), false};

  comm.reduce_scatter(std::span(&part, 1), 3, false, on_gpu, "r");
  comm.all_gather(shard.view(), full.view(), on_gpu, "g");
  comm.broadcast(shard.view(), 2, on_gpu, "b");
  comm.close();

  EXPECT_EQ(log, (std::vector<std::string>{"r 256>0 256>2 256>3 256<0 256<2", "r 144>0 144>2 144>3 144<0 144<2",
                                           "g gather of 1", "b 400 from 2", "close"}));
}

// Rank 1 of two nodes of two: its node's sums for both nodes' second ranks, then its own slice's sums from both nodes.
TEST(DeviceCollectiveSequence, OfTwoLevelsLeavesANodeOnce) {
  WithEmulatedDevice device;
  std::vector<std::string> log;
  DeviceCommunicator comm(std::make_unique<PlanCommunicator>(1, 4), std::make_unique<RecordedTransport>(log),
                          fold_on_device, 1 << 16, {7, 7, 9, 9});
  const OnGpu full(std::vector<float>(4 * 100)), shard(std::vector<float>(100));
  const ReduceScatterPart part{full.view(), shard.view(), false};

  comm.reduce_scatter(std::span(&part, 1), 4, true, on_gpu, "r");
  EXPECT_EQ(log, (std::vector<std::string>{"r node 400>0 400<0", "r node 400>0 400<0", "r across 400>3 400<3"}));
  log.clear();
  comm.reduce_scatter(std::span(&part, 1), 3, true, on_gpu, "r");
  EXPECT_EQ(log.size(), 1U) << "a rank without a contribution: the flat way";
}

TEST(DeviceCollectiveSequence, OneIdOfNcclIsMadeFor64Ranks) {
  EXPECT_EQ(nccl_id_makers(1), (std::vector<int>{0}));
  EXPECT_EQ(nccl_id_makers(64), (std::vector<int>{0}));
  EXPECT_EQ(nccl_id_makers(65), (std::vector<int>{0, 32}));
  EXPECT_EQ(nccl_id_makers(1024).size(), 16U);
  EXPECT_EQ(nccl_id_makers(1024).back(), 960);
}

TEST(DeviceCollectiveSequence, OneRankSendsNothing) {
  WithEmulatedDevice device;
  DeviceCommunicator comm(std::make_unique<LocalCommunicator>(), nullptr, fold_on_device);
  const OnGpu full({1.0F, 2.0F}), shard({5.0F, 5.0F});
  const ReduceScatterPart part{full.view(), shard.view(), true};

  comm.reduce_scatter(std::span(&part, 1), 1, false, on_gpu, "r");

  EXPECT_EQ(shard.values(), (std::vector<float>{6.0F, 7.0F}));
  comm.all_gather(full.view(), shard.view(), on_gpu, "g");
  EXPECT_EQ(shard.values(), (std::vector<float>{1.0F, 2.0F}));
}

}  // namespace
}  // namespace dstrain::device_communicator_test
