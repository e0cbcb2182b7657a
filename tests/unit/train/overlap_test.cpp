// SPDX-License-Identifier: Apache-2.0
/// What runs beside what on a GPU's streams: whole training steps on an emulated GPU, whose log of works and events is
/// searched for races, and for the collectives that have kernels beside them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "comm/device_communicator.hpp"
#include "core/parallel.hpp"
#include "dstrain/engine.hpp"
#include "model/model_spec.hpp"
#include "support/emulated/emulated_device.hpp"
#include "support/plan_backed_communicator.hpp"
#include "support/token_rows.hpp"
#include "train/device_setup.hpp"

namespace dstrain::overlap_test {
namespace {

constexpr Device gpu{DeviceKind::cuda, 0};
constexpr int ranks = 4;

/// Every other rank has what this one has. The host never waits, so that what orders the calls are events alone.
class MirrorTransport final : public DeviceTransport {
 public:
  void exchange(std::span<const Message> sends, std::span<const Message> receives, ExchangeScope /*scope*/,
                const Stream& stream, const char* label) override {
    const EmulatedDevice::Open opened;
    Operation operation{Operation::Kind::work, label, stream.native(), nullptr, {}};
    for (const Message& m : sends) operation.accesses.push_back({m.data, m.bytes, false});
    for (const Message& m : receives) {
      operation.accesses.push_back({m.data, m.bytes, true});
      std::memset(m.data, 0, static_cast<std::size_t>(m.bytes));
    }
    note(std::move(operation));
  }
  void all_gather(std::span<const AllGatherPart> parts, const Stream& stream, const char* label) override {
    const EmulatedDevice::Open opened;
    Operation operation{Operation::Kind::work, label, stream.native(), nullptr, {}};
    for (const AllGatherPart& part : parts) {
      for (std::int64_t r = 0; r < ranks; ++r) {
        const View slot = part.full.slice(r * part.shard.count, part.shard.count);
        std::memmove(slot.data, part.shard.data, static_cast<std::size_t>(slot.bytes()));
        // In place the own slot is only read.
        operation.accesses.push_back({slot.data, slot.bytes(), slot.data != part.shard.data});
      }
      operation.accesses.push_back({part.shard.data, part.shard.bytes(), false});
    }
    note(std::move(operation));
  }
  void broadcast(View /*values*/, int /*root*/, const Stream& /*stream*/, const char* /*label*/) override {}

 private:
  static void note(Operation operation) {
    if (EmulatedDevice* device = EmulatedDevice::watching()) device->add(std::move(operation));
  }
};

/// The same for host memory.
class MirrorHost final : public test::PlanBackedCommunicator {
 public:
  MirrorHost() : PlanBackedCommunicator(0, ranks) {}

  using PlanBackedCommunicator::all_gather;
  void all_gather(std::span<const AllGatherPart> parts, Stream /*stream*/, const char* /*label*/) override {
    for (const AllGatherPart& part : parts) {
      for (std::int64_t r = 0; r < ranks; ++r) {
        const View slot = part.full.slice(r * part.shard.count, part.shard.count);
        std::memmove(slot.data, part.shard.data, static_cast<std::size_t>(slot.bytes()));
      }
    }
  }
};

struct Case {
  int stage = 0;
  bool reproducible = false;
  bool gradient_checkpointing = false;
  int micro_steps = 1;
  DType dtype = DType::bf16;
  bool lora = false;
  bool offload = false;
  OptimizerKind optimizer = OptimizerKind::adamw;
  bool pure_bf16 = false;
};

ModelSpec model() {
  ModelSpec spec = preset_spec("nano");
  spec.num_hidden_layers = 4;
  return spec;
}

/// Steps of one of four pretended ranks; the log begins with the second one.
class Steps {
 public:
  explicit Steps(const Case& c)
      : case_(c), comm_(std::make_unique<MirrorHost>(), std::make_unique<MirrorTransport>(), fold_on_device, 1 << 20) {
    EmulatedDevice::run_kernels(false);  // the order of works does not depend on their results
    EngineOptions options;
    options.device = gpu;
    options.threads = max_threads();
    options.zero_stage = c.stage;
    options.dtype = c.dtype;
    options.gradient_checkpointing = c.gradient_checkpointing;
    options.reproducible = c.reproducible;
    options.max_tokens = 64;
    options.max_micro_steps = c.micro_steps;
    options.offload_optimizer = options.offload_param = c.offload;
    options.reduce_bucket_size = 1;  // every unit is a group of its own
    if (c.dtype == DType::f16) options.loss_scale.rule = LossScaleOptions::Rule::torch;
    options.optim.kind = c.optimizer;
    options.optim.pure_bf16 = c.pure_bf16;
    if (c.lora) {
      options.tuning.kind = TuningKind::lora;
      options.tuning.adapter.target_modules = {"q_proj", "v_proj", "down_proj"};
    }
    engine_ = Engine::initialize(comm_, model(), options, {});
    step(0);
    device_->watch(true);
    for (int s = 1; s < 3; ++s) step(s);
    device_->watch(false);
  }
  [[nodiscard]] const std::vector<Operation>& log() { return device_->operations(); }

 private:
  void step(int number) {
    engine_->begin_step();
    for (int micro = 0; micro < case_.micro_steps; ++micro) {
      std::vector<std::vector<std::int32_t>> rows(2);
      for (int i = 0; i < 12; ++i) rows[static_cast<std::size_t>(i % 2)].push_back((7 * i + 5 * number + micro) % 300);
      const test::PackedRows packed(rows, 1.0F / 100.0F);
      engine_->forward(packed.batch(), ranks, micro + 1 == case_.micro_steps);
      engine_->backward();
    }
    const StepResult result = engine_->step(1e-3);
    ASSERT_TRUE(std::isfinite(result.loss) && std::isfinite(result.grad_norm));
  }

  Case case_;
  WithEmulatedDevice device_;
  DeviceCommunicator comm_;
  std::unique_ptr<Engine> engine_;
};

/// Collectives of that label, and how many of them have a kernel of the computation beside them.
struct Overlap {
  int all = 0;
  int hidden = 0;
};
Overlap overlap_of(const std::vector<Operation>& log, std::string_view label) {
  const auto works = order_of(log);
  Overlap found;
  for (const OrderedWork& collective : works) {
    if (log[collective.operation].name != label) continue;
    ++found.all;
    for (const OrderedWork& kernel : works) {
      if (log[kernel.operation].stream == nullptr && log[kernel.operation].name == "matmul" &&
          collective.beside(kernel)) {
        ++found.hidden;
        break;
      }
    }
  }
  return found;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (int stage = 0; stage <= 3; ++stage) {
    for (const bool checkpointing : {false, true}) {
      for (const int micro_steps : {1, 2}) all.push_back({stage, false, checkpointing, micro_steps});
    }
    all.push_back({stage, true, false, 2, DType::f32});
    all.push_back({stage, false, true, 2, DType::bf16, true});
    all.push_back({stage, false, true, 1, DType::bf16, false, true});
    all.push_back({stage, false, true, 1, DType::f32, false, true});
  }
  return all;
}

class Streams : public testing::TestWithParam<Case> {};

TEST_P(Streams, AreOrderedWhereverTheyMeet) {
  Steps steps(GetParam());

  const auto races = races_in(steps.log());

  EXPECT_EQ(races.size(), 0U) << races.front();
}

INSTANTIATE_TEST_SUITE_P(Runs, Streams, testing::ValuesIn(cases()), [](const auto& info) {
  const Case& c = info.param;
  return "Stage" + std::to_string(c.stage) + (c.reproducible ? "Reproducible" : "") +
         (c.gradient_checkpointing ? "Recomputing" : "") + std::to_string(c.micro_steps) +
         std::string(name_of(c.dtype)) + (c.lora ? "Lora" : "") + (c.offload ? "Offload" : "");
});

constexpr int blocks = 4;
constexpr int logged_steps = 2;

TEST(Overlap, OfStageThreeGathersTheNextUnitUnderTheComputationOfThis) {
  Steps steps({.stage = 3, .gradient_checkpointing = true, .micro_steps = 2});

  const Overlap gathers = overlap_of(steps.log(), "weights of a unit");

  // Per micro step units 0 to L + 1 on the way forward, blocks L to 1 back, and a tied matrix for the head.
  EXPECT_GE(gathers.all, logged_steps * 2 * (2 * blocks + 2));
  EXPECT_GE(gathers.hidden, logged_steps * 2 * (2 * blocks - 1)) << "of " << gathers.all;
}

TEST(Overlap, OfReductionsIsThatOfTheUnitsBelow) {
  for (int stage = 0; stage <= 3; ++stage) {
    Steps steps({.stage = stage, .micro_steps = 2});

    const Overlap reductions = overlap_of(steps.log(), "gradients");

    const int rounds = stage >= 2 ? 2 : 1;  // every micro step, or the last one
    EXPECT_GE(reductions.all, logged_steps * rounds * (blocks + 1)) << "stage " << stage;
    EXPECT_GE(reductions.hidden, logged_steps * rounds * (blocks - 1)) << "stage " << stage << " of " << reductions.all;
  }
}

TEST(Overlap, OfNewWeightsReachesIntoTheNextStep) {
  for (const int stage : {1, 2}) {
    Steps steps({.stage = stage});

    const Overlap gathers = overlap_of(steps.log(), "weights to all");

    EXPECT_GE(gathers.hidden, blocks) << "stage " << stage << " of " << gathers.all;
  }
}

TEST(Overlap, OfTheFirstUnitsBeginsInsideTheOptimizerStep) {
  Steps steps({.stage = 3});
  const auto& log = steps.log();
  const auto works = order_of(log);
  int beside_an_update = 0;
  for (const auto& gather : works) {
    if (log[gather.operation].name != "weights of a unit") continue;
    for (const auto& kernel : works)
      if (log[kernel.operation].name == "update" && gather.beside(kernel)) {
        ++beside_an_update;
        break;
      }
  }

  EXPECT_EQ(beside_an_update, 2 * logged_steps) << "units 0 and 1";
}

/// Where the host waited: indices of the log.
std::vector<std::size_t> waits_in(const std::vector<Operation>& log) {
  std::vector<std::size_t> waits;
  for (std::size_t i = 0; i < log.size(); ++i) {
    if (log[i].kind == Operation::Kind::synchronize) waits.push_back(i);
  }
  return waits;
}

std::vector<Case> cases_with_one_wait() {
  std::vector<Case> all;
  for (int stage = 0; stage <= 3; ++stage) {
    for (const int micro_steps : {1, 4}) {
      for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
        all.push_back({.stage = stage, .gradient_checkpointing = true, .micro_steps = micro_steps, .dtype = dtype});
    }
    all.push_back({.stage = stage, .reproducible = true, .micro_steps = 4});
    all.push_back({.stage = stage, .micro_steps = 4, .lora = true});
    all.push_back({.stage = stage, .micro_steps = 4, .optimizer = OptimizerKind::adamw_8bit});
    all.push_back({.stage = stage, .micro_steps = 4, .pure_bf16 = true});
  }
  return all;
}

TEST(HostWaits, AreOneAStepBehindEverythingThatTheStepQueues) {
  for (const Case& c : cases_with_one_wait()) {
    SCOPED_TRACE(testing::Message() << "stage " << c.stage << ", " << c.micro_steps << " micro steps, "
                                    << name_of(c.dtype) << ", lora " << c.lora << ", reproducible " << c.reproducible
                                    << ", pure_bf16 " << c.pure_bf16);
    Steps steps(c);
    const auto& log = steps.log();

    const auto waits = waits_in(log);

    ASSERT_EQ(waits.size(), static_cast<std::size_t>(logged_steps));
    for (std::size_t step = 0; step < waits.size(); ++step) {
      const auto begin = log.begin() + static_cast<std::ptrdiff_t>(step == 0 ? 0 : waits[step - 1] + 1);
      const auto end = log.begin() + static_cast<std::ptrdiff_t>(waits[step]);
      const auto updates = std::count_if(begin, end, [](const Operation& o) {
        return o.name == "update" || o.name == "adamw_8bit" || o.name == "adamw_bf16";
      });
      EXPECT_GT(updates, 0) << "step " << step << " queues its update before the host waits";
    }
    EXPECT_EQ(std::count_if(log.begin() + static_cast<std::ptrdiff_t>(waits.back()), log.end(),
                            [](const Operation& o) { return o.kind == Operation::Kind::work; }),
              0)
        << "nothing of the step comes after its wait";
  }
}

TEST(HostWaits, LeaveEveryMicroStepItsOwnRowsUntilTheyWereRead) {
  constexpr int micro_steps = 4;
  Steps steps({.stage = 2, .micro_steps = micro_steps});
  const auto& log = steps.log();
  const std::size_t end_of_first = waits_in(log).front();
  std::set<const void*> sources;
  constexpr std::int64_t row_bytes = 64 * 4;
  for (std::size_t i = 0; i < end_of_first; ++i) {
    if (log[i].name == "copy" && log[i].accesses.at(0).bytes == row_bytes) sources.insert(log[i].accesses.at(1).at);
  }

  EXPECT_EQ(sources.size(), 4U * micro_steps) << "ids, positions, targets and weights of every micro step";
}

/// The log as if one stream never waited for events.
std::vector<Operation> without_waits(const std::vector<Operation>& log, bool of_computation) {
  std::vector<Operation> left;
  for (const Operation& operation : log) {
    const bool computes = operation.stream == nullptr;
    if (operation.kind != Operation::Kind::wait || computes != of_computation) left.push_back(operation);
  }
  return left;
}

TEST(Races, AreFoundWhereAWaitIsMissing) {
  for (int stage = 0; stage <= 3; ++stage) {
    Steps steps({.stage = stage, .micro_steps = 2});

    EXPECT_FALSE(races_in(without_waits(steps.log(), true)).empty()) << "stage " << stage;
    EXPECT_FALSE(races_in(without_waits(steps.log(), false)).empty()) << "stage " << stage;
  }
}

TEST(Races, AreWhatNoEventOrders) {
  char memory[8] = {};
  const int a = 0, b = 0, event = 0;
  const Operation write{Operation::Kind::work, "write", &a, nullptr, {{memory, 8, true}}};
  const Operation read{Operation::Kind::work, "read", &b, nullptr, {{memory + 4, 1, false}}};
  const Operation elsewhere{Operation::Kind::work, "elsewhere", &b, nullptr, {{memory + 8, 1, false}}};
  const Operation record{Operation::Kind::record, "", &a, &event, {}};
  const Operation wait{Operation::Kind::wait, "", &b, &event, {}};
  const Operation host{Operation::Kind::synchronize, "", &a, nullptr, {}};

  EXPECT_EQ(races_in({write, read}).size(), 1U);
  EXPECT_EQ(races_in({write, record, wait, read}).size(), 0U);
  EXPECT_EQ(races_in({record, write, wait, read}).size(), 1U) << "recorded too early";
  EXPECT_EQ(races_in({write, wait, record, read}).size(), 1U) << "waited too early";
  EXPECT_EQ(races_in({write, host, read}).size(), 0U);
  EXPECT_EQ(races_in({write, elsewhere}).size(), 0U);
}

}  // namespace
}  // namespace dstrain::overlap_test
