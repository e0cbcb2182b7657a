// SPDX-License-Identifier: Apache-2.0
/// What the Engine promises besides numbers: it allocates its plan, keeps to its sizes, and comes back from its
/// checkpoints.
#include "dstrain/engine.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "core/memory_plan.hpp"
#include "model/model_spec.hpp"
#include "support/token_rows.hpp"

namespace dstrain::engine_test {
namespace {

constexpr int stages = 4;

StepResult run_step(Engine& engine, const Communicator& comm, int step) {
  const auto rows = test::two_rows(comm.rank(), step);
  const test::PackedRows packed(rows, 1.0F / static_cast<float>(41 * comm.size()));
  engine.begin_step();
  engine.forward(packed.batch(), comm.size(), true);
  engine.backward();
  return engine.step(1e-3);
}

EngineOptions options_of(int stage, DType dtype) {
  EngineOptions options;
  options.zero_stage = stage;
  options.dtype = dtype;
  options.max_tokens = 64;
  return options;
}

/// An empty folder. Collective.
std::filesystem::path test_folder(const std::string& name, Communicator& comm, int stage) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) /
                      ("engine-" + name + "-" + std::to_string(comm.size()) + "-" + std::to_string(stage));
  if (comm.rank() == 0) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  comm.barrier("test folder");
  return folder;
}

class EngineTest : public testing::TestWithParam<std::tuple<int, DType>> {
 protected:
  std::unique_ptr<Communicator> comm_ = make_world_communicator();
};

TEST_P(EngineTest, AllocatesExactlyItsPlan) {
  const auto [stage, dtype] = GetParam();
  const auto spec = preset_spec("nano");
  const auto options = options_of(stage, dtype);

  const auto plan = Engine::plan(spec, options, comm_->size());
  const auto engine = Engine::initialize(*comm_, spec, options, {});

  std::int64_t planned = 0;
  for (int kind = 0; kind < memory_kinds; ++kind) planned += plan.arena_bytes(static_cast<MemoryKind>(kind));
  EXPECT_EQ(engine->allocated_bytes(), planned);
  EXPECT_EQ(engine->memory_plan().buffers().size(), plan.buffers().size());
}

TEST_P(EngineTest, RefusesABatchThatWasNotPlanned) {
  const auto [stage, dtype] = GetParam();
  const auto engine = Engine::initialize(*comm_, preset_spec("nano"), options_of(stage, dtype), {});
  const std::vector<std::vector<std::int32_t>> rows = {std::vector<std::int32_t>(65, 1)};
  const test::PackedRows packed(rows, 1.0F);

  engine->begin_step();

  EXPECT_THROW(engine->forward(packed.batch(), comm_->size(), true), Error);
}

TEST_P(EngineTest, GoesOnFromACheckpointToTheSameBits) {
  const auto [stage, dtype] = GetParam();
  const auto spec = preset_spec("nano");
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / ("engine-" + std::to_string(comm_->size()) + "-" +
                                                                 std::to_string(stage) + std::string(name_of(dtype)));
  if (comm_->rank() == 0) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  comm_->barrier("test folder");

  auto first = Engine::initialize(*comm_, spec, options_of(stage, dtype), {});
  run_step(*first, *comm_, 0);
  first->save(folder, {{"mine", "42"}}, false, 0);
  const auto expected = run_step(*first, *comm_, 1);
  auto second = Engine::initialize(*comm_, spec, options_of(stage, dtype), {});
  const auto state = second->load(folder / "checkpoint-1");
  const auto result = run_step(*second, *comm_, 1);

  EXPECT_EQ(state.at("mine"), "42");
  EXPECT_EQ(second->global_step(), 2);
  EXPECT_EQ(result.loss, expected.loss);
  EXPECT_EQ(result.grad_norm, expected.grad_norm);
  std::map<std::pair<std::int32_t, std::int64_t>, const float*> weights;
  first->for_each_slice([&](std::int32_t t, std::int64_t begin, std::int64_t, const float* w, const float*) {
    weights[{t, begin}] = w;
  });
  second->for_each_slice([&](std::int32_t t, std::int64_t begin, std::int64_t count, const float* w, const float*) {
    EXPECT_EQ(std::memcmp(weights.at({t, begin}), w, static_cast<std::size_t>(count) * sizeof(float)), 0)
        << "tensor " << t;
  });
}

// With f16 every step is skipped, and counts all the same.
TEST_P(EngineTest, ASaveIsCompleteBeforeAStepBeyondItsLagIsDone) {
  const auto [stage, dtype] = GetParam();
  auto options = options_of(stage, dtype);
  if (dtype == DType::f16) options.loss_scale = {.rule = LossScaleOptions::Rule::torch, .initial = 0x1p60};
  const std::int64_t lag = stage == 0 ? 1 : 0;
  options.checkpoint.max_lag_steps = lag;
  const auto folder = test_folder("lag-" + std::string(name_of(dtype)), *comm_, stage);
  auto engine = Engine::initialize(*comm_, preset_spec("nano"), options, {});

  for (int save = 0; save < 2; ++save) {
    run_step(*engine, *comm_, save);
    const auto saved = folder / ("checkpoint-" + std::to_string(engine->global_step()));
    engine->begin_save(folder, {}, false, 0);
    for (int i = 0; i < lag; ++i) run_step(*engine, *comm_, save);
    EXPECT_FALSE(std::filesystem::exists(saved)) << "nobody brought it on";
    comm_->barrier("test: looked");

    run_step(*engine, *comm_, save);

    EXPECT_TRUE(std::filesystem::exists(saved / "manifest.json"));
    comm_->barrier("test: looked again");
  }
}

TEST_P(EngineTest, ANotFiniteLossIsAnErrorAndKeepsTheWeights) {
  const auto [stage, dtype] = GetParam();
  auto engine = Engine::initialize(*comm_, preset_spec("nano"), options_of(stage, dtype), {});
  std::vector<float> before;
  engine->for_each_slice([&](std::int32_t, std::int64_t, std::int64_t count, const float* w, const float*) {
    before.insert(before.end(), w, w + count);
  });
  const auto rows = test::two_rows(comm_->rank(), 0);
  const test::PackedRows packed(rows, std::numeric_limits<float>::infinity());

  engine->begin_step();
  engine->forward(packed.batch(), comm_->size(), true);
  engine->backward();
  EXPECT_THROW(engine->step(1e-3), Error);

  std::vector<float> after;
  engine->for_each_slice([&](std::int32_t, std::int64_t, std::int64_t count, const float* w, const float*) {
    after.insert(after.end(), w, w + count);
  });
  EXPECT_EQ(after, before);
}

// A scale that no gradient of f16 survives: steps are skipped, with the weights as they were, until it has fallen far
// enough; a resume goes on with the scale, its counters and the number of real updates.
TEST_P(EngineTest, SkipsStepsUntilTheLossScaleFits) {
  const auto [stage, dtype] = GetParam();
  if (dtype != DType::f16) GTEST_SKIP() << "only f16 has a loss scale";
  auto options = options_of(stage, dtype);
  options.loss_scale = {.rule = LossScaleOptions::Rule::torch, .initial = 0x1p40};
  const auto folder = test_folder("overflow", *comm_, stage);
  auto engine = Engine::initialize(*comm_, preset_spec("nano"), options, {});
  const auto weights_of = [](const Engine& e) {
    std::vector<float> all;
    e.for_each_slice([&](std::int32_t, std::int64_t, std::int64_t count, const float* w, const float*) {
      all.insert(all.end(), w, w + count);
    });
    return all;
  };
  const auto before = weights_of(*engine);

  int skipped = 0;
  StepResult result = run_step(*engine, *comm_, 0);
  for (; result.skipped && skipped < 40; ++skipped) {
    EXPECT_EQ(result.loss_scale, std::ldexp(0x1p40, -skipped));
    EXPECT_NE(result.overflow.find("OVERFLOW"), std::string::npos);
    EXPECT_TRUE(std::isfinite(result.loss));
    EXPECT_EQ(weights_of(*engine), before);
    result = run_step(*engine, *comm_, 0);
  }

  EXPECT_GE(skipped, 1);
  ASSERT_FALSE(result.skipped);
  EXPECT_NE(weights_of(*engine), before);
  EXPECT_EQ(engine->global_step(), skipped + 1);
  EXPECT_EQ(engine->optimizer_steps(), 1);

  engine->save(folder, {}, false, 0);
  const auto expected = run_step(*engine, *comm_, 1);
  auto resumed = Engine::initialize(*comm_, preset_spec("nano"), options, {});
  resumed->load(folder / ("checkpoint-" + std::to_string(skipped + 1)));
  const auto again = run_step(*resumed, *comm_, 1);
  EXPECT_EQ(again.loss_scale, expected.loss_scale);
  EXPECT_EQ(again.loss, expected.loss);
  EXPECT_EQ(resumed->optimizer_steps(), engine->optimizer_steps());
  EXPECT_EQ(weights_of(*resumed), weights_of(*engine));
}

INSTANTIATE_TEST_SUITE_P(Stages, EngineTest,
                         testing::Combine(testing::Range(0, stages),
                                          testing::Values(DType::f32, DType::bf16, DType::f16)));

}  // namespace
}  // namespace dstrain::engine_test
