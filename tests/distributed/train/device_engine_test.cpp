// SPDX-License-Identifier: Apache-2.0
/// The Engine on a GPU, on one that is emulated: its memory is closed to the host, its kernels are those of
/// kernels/cuda, ranks share it and talk through host memory. Numbers are those of the CPU, files are interchangeable.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>

#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "core/memory_plan.hpp"
#include "dstrain/engine.hpp"
#include "model/model_spec.hpp"
#include "model/sampling.hpp"
#include "support/emulated/emulated_device.hpp"
#include "support/token_rows.hpp"
#include "train/device_setup.hpp"

namespace dstrain::device_engine_test {
namespace {

constexpr Device gpu{DeviceKind::cuda, 0};

/// Two micro steps; in the second the last of several ranks has no rows.
StepResult run_step(Engine& engine, const Communicator& comm, int step) {
  const int others = comm.size() > 1 ? comm.size() - 1 : 1;
  engine.begin_step();
  for (int micro = 0; micro < 2; ++micro) {
    const int contributors = micro == 0 ? comm.size() : others;
    const test::PackedRows packed(test::two_rows(comm.rank() + 10 * micro, step),
                                  1.0F / static_cast<float>(41 * (comm.size() + others)));
    const MicroBatch batch = comm.rank() < contributors ? packed.batch() : MicroBatch{};
    engine.forward(batch, contributors, micro == 1);
    engine.backward();
  }
  return engine.step(1e-3);
}

EngineOptions options_of(int stage, DType dtype) {
  EngineOptions options;
  options.zero_stage = stage;
  options.dtype = dtype;
  options.max_tokens = 64;
  options.max_micro_steps = 2;
  return options;
}

std::vector<float> weights_of(const Engine& engine) {
  std::vector<float> all;
  engine.for_each_slice([&](std::int32_t, std::int64_t, std::int64_t count, const float* w, const float*) {
    all.insert(all.end(), w, w + count);
  });
  return all;
}

class DeviceEngine : public testing::TestWithParam<std::tuple<int, DType>> {
 protected:
  void SetUp() override {
    host_ = make_world_communicator();
    comm_ = communicator_for(make_world_communicator(), {gpu, true}, 30.0);
  }
  void TearDown() override {
    comm_->close();
    host_->close();
  }
  [[nodiscard]] int stage() const { return std::get<0>(GetParam()); }
  [[nodiscard]] DType dtype() const { return std::get<1>(GetParam()); }
  /// Stages 1 and 2 do on one rank, which shards nothing, what 0 and 3 do there in the same dtypes; f16 does on several
  /// ranks what stage 0 does there in f32 and f16 on one.
  [[nodiscard]] bool repeats() const {
    return comm_->size() == 1 ? stage() == 1 || stage() == 2 : dtype() == DType::f16;
  }

  /// Two steps on the CPU and on the device: losses, norms and weights agree to the rounding of their sums.
  void expect_like_cpu(EngineOptions options) {
    const auto spec = preset_spec("nano");
    const auto cpu = Engine::initialize(*host_, spec, options, {});
    options.device = gpu;
    const auto device = Engine::initialize(*comm_, spec, options, {});
    const double near = options.dtype == DType::f32 ? 2e-5 : 2e-2;
    for (int step = 0; step < 2; ++step) {
      const StepResult expected = run_step(*cpu, *host_, step);
      const StepResult result = run_step(*device, *comm_, step);
      EXPECT_NEAR(result.loss, expected.loss, near * std::abs(expected.loss)) << "step " << step;
      EXPECT_NEAR(result.grad_norm, expected.grad_norm, near * expected.grad_norm) << "step " << step;
    }
    const auto expected = weights_of(*cpu), actual = weights_of(*device);
    ASSERT_EQ(actual.size(), expected.size());
    double difference = 0.0, norm = 0.0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
      norm += std::pow(static_cast<double>(expected[i]), 2);
    }
    EXPECT_LE(std::sqrt(difference), (options.dtype == DType::f32 ? 1e-3 : 2e-2) * std::sqrt(norm));
  }

  WithEmulatedDevice device_;
  std::unique_ptr<Communicator> host_;
  std::unique_ptr<Communicator> comm_;
};

TEST_P(DeviceEngine, TrainsLikeTheCpu) {
  if (repeats()) GTEST_SKIP() << "skipped: other cases and ranks do the same";
  expect_like_cpu(options_of(stage(), dtype()));
}

TEST_P(DeviceEngine, KeepsActivationsAndReproducesLikeTheCpu) {
  if (repeats()) GTEST_SKIP() << "skipped: other cases and ranks do the same";
  if (dtype() != DType::f32) GTEST_SKIP() << "skipped: one dtype is enough";
  auto options = options_of(stage(), dtype());
  options.gradient_checkpointing = false;
  options.reproducible = true;
  expect_like_cpu(options);
}

TEST_P(DeviceEngine, TrainsAdaptersLikeTheCpu) {
  if (repeats()) GTEST_SKIP() << "skipped: other cases and ranks do the same";
  if (stage() == 1 || dtype() == DType::f16) GTEST_SKIP() << "skipped: as the others";
  auto options = options_of(stage(), dtype());
  options.tuning.kind = TuningKind::lora;
  options.tuning.adapter.target_modules = {"q_proj", "v_proj", "down_proj"};
  options.tuning.adapter.alpha_pattern = {{"v_proj", 4.0}};
  options.tuning.adapter.lora_dropout = 0.1;
  options.tuning.adapter.use_dora = stage() == 0;
  options.neftune_noise_alpha = 5.0;
  expect_like_cpu(options);
}

TEST_P(DeviceEngine, UpdatesByEveryOptimizerLikeTheCpu) {
  if (stage() != 1) GTEST_SKIP() << "skipped: one stage is enough";
  for (const auto kind : {OptimizerKind::sgd, OptimizerKind::lion, OptimizerKind::adamw_8bit, OptimizerKind::lion_8bit,
                          OptimizerKind::adafactor, OptimizerKind::lamb}) {
    SCOPED_TRACE(static_cast<int>(kind));
    auto options = options_of(stage(), dtype());
    options.optim.kind = kind;
    expect_like_cpu(options);
  }
}

TEST_P(DeviceEngine, OffloadsLikeTheCpu) {
  if (repeats()) GTEST_SKIP() << "skipped: other cases and ranks do the same";
  for (const bool param : {false, true}) {
    if (param && stage() != 3) continue;
    for (const bool optimizer : {true, false}) {
      if (!param && !optimizer) continue;
      SCOPED_TRACE(testing::Message() << "offload_optimizer " << optimizer << ", offload_param " << param);
      auto options = options_of(stage(), dtype());
      options.offload_optimizer = optimizer;
      options.offload_param = param;
      expect_like_cpu(options);
    }
  }
}

TEST_P(DeviceEngine, Offloads8BitStatesAndAdaptersLikeTheCpu) {
  if (stage() != 1 && stage() != 3) GTEST_SKIP() << "skipped: two stages are enough";
  auto options = options_of(stage(), dtype());
  options.offload_optimizer = true;
  options.offload_param = true;
  options.optim.kind = OptimizerKind::adamw_8bit;
  expect_like_cpu(options);
  options.optim.kind = OptimizerKind::adamw;
  options.tuning.kind = TuningKind::lora;
  options.tuning.adapter.target_modules = {"q_proj", "down_proj"};
  expect_like_cpu(options);
}

TEST_P(DeviceEngine, OffloadPlansHostMemoryByName) {
  auto options = options_of(stage(), dtype());
  options.device = gpu;
  const MemoryPlan all_there = Engine::plan(preset_spec("nano"), options, comm_->size());
  options.offload_optimizer = true;
  options.offload_param = true;

  const MemoryPlan plan = Engine::plan(preset_spec("nano"), options, comm_->size());

  EXPECT_LT(plan.arena_bytes(MemoryKind::device), all_there.arena_bytes(MemoryKind::device));
  int found = 0;
  for (const PlannedBuffer& buffer : plan.buffers()) {
    const bool states = buffer.name.starts_with("optimizer/");
    const bool weights = buffer.name == "parameters/weights" && stage() == 3;
    if (!states && !weights) continue;
    EXPECT_EQ(buffer.kind, MemoryKind::pinned) << buffer.name;
    ++found;
  }
  EXPECT_GE(found, 4) << "masters, two moments, gradients on their way";
}

TEST_P(DeviceEngine, OffloadedStateGoesToCheckpointsAndBack) {
  if (stage() != 3) GTEST_SKIP() << "skipped: one stage is enough";
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / ("offload-" + std::to_string(comm_->size()));
  if (comm_->rank() == 0) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  comm_->barrier("test folder");
  const auto spec = preset_spec("nano");
  auto options = options_of(stage(), dtype());
  options.device = gpu;
  const auto plain = Engine::initialize(*comm_, spec, options, {});
  options.offload_optimizer = options.offload_param = true;
  const auto first = Engine::initialize(*comm_, spec, options, {});
  run_step(*first, *comm_, 0);
  first->save(folder, {}, false, 0);

  plain->load(folder / "checkpoint-1");
  const auto second = Engine::initialize(*comm_, spec, options, {});
  second->load(folder / "checkpoint-1");

  EXPECT_EQ(weights_of(*plain), weights_of(*first));
  const auto expected = run_step(*first, *comm_, 1);
  EXPECT_EQ(run_step(*second, *comm_, 1).loss, expected.loss);
  EXPECT_EQ(weights_of(*second), weights_of(*first));
  EXPECT_EQ(run_step(*plain, *comm_, 1).loss, expected.loss) << "the same weights, wherever they lie";
}

TEST_P(DeviceEngine, RefusesToOffloadWhatNeedsWholeMatrices) {
  auto options = options_of(stage(), dtype());
  options.device = gpu;
  options.offload_optimizer = true;
  options.optim.kind = OptimizerKind::adafactor;
  EXPECT_THROW((void)Engine::plan(preset_spec("nano"), options, comm_->size()), ConfigError);
}

TEST_P(DeviceEngine, OrthogonalisesLikeTheCpu) {
  if (repeats()) GTEST_SKIP() << "skipped: other cases and ranks do the same";
  if (dtype() != DType::bf16) GTEST_SKIP() << "skipped: one dtype is enough";
  auto options = options_of(stage(), dtype());
  options.optim.kind = OptimizerKind::muon;
  options.optim.momentum = 0.95;
  options.optim.nesterov = true;
  expect_like_cpu(options);
}

TEST_P(DeviceEngine, CountsPadsLikeTheCpu) {
  if (repeats()) GTEST_SKIP() << "skipped: other cases and ranks do the same";
  if (stage() > 1) GTEST_SKIP() << "skipped: stages have nothing to do with it";
  const auto spec = preset_spec("nano");
  auto options = options_of(stage(), dtype());
  const auto run = [&](Communicator& comm, const EngineOptions& o) {
    const auto engine = Engine::initialize(comm, spec, o, {});
    const test::PackedRows packed(test::two_rows(comm.rank(), 0), 1.0F / static_cast<float>(41 * comm.size()));
    MicroBatch batch = packed.batch();
    const std::int32_t seen[] = {11, 23};  // of 20 and 23 tokens
    batch.key_lens = seen;
    engine->begin_step();
    engine->forward(batch, comm.size(), true);
    engine->backward();
    return engine->step(1e-3);
  };
  const double near = dtype() == DType::f32 ? 2e-5 : 2e-2;

  const StepResult expected = run(*host_, options);
  options.device = gpu;
  const StepResult result = run(*comm_, options);

  EXPECT_NEAR(result.loss, expected.loss, near * expected.loss);
  EXPECT_NEAR(result.grad_norm, expected.grad_norm, near * expected.grad_norm);
}

/// A step whose targets weigh `weight`.
StepResult run_weighted(Engine& engine, const Communicator& comm, float weight) {
  const test::PackedRows packed(test::two_rows(comm.rank(), 7), weight);
  engine.begin_step();
  engine.forward(packed.batch(), comm.size(), true);
  engine.backward();
  return engine.step(1e-3);
}

TEST_P(DeviceEngine, LeavesWeightsAloneWhereLossOrNormIsNotFinite) {
  if (repeats()) GTEST_SKIP() << "skipped: other cases and ranks do the same";
  auto options = options_of(stage(), dtype());
  options.device = gpu;
  options.on_nonfinite = OnNonfinite::skip;
  const auto engine = Engine::initialize(*comm_, preset_spec("nano"), options, {});
  run_step(*engine, *comm_, 0);
  const auto before = weights_of(*engine);

  // One rank's loss alone is no number, then a sum of finite gradients overflows.
  const float bad = comm_->rank() == 0 ? std::numeric_limits<float>::quiet_NaN() : 0.01F;
  const StepResult no_number = run_weighted(*engine, *comm_, bad);
  EXPECT_TRUE(no_number.skipped && no_number.nonfinite);
  EXPECT_EQ(weights_of(*engine), before);
  const StepResult too_large = run_weighted(*engine, *comm_, 1e38F);
  EXPECT_TRUE(too_large.skipped && too_large.nonfinite);
  EXPECT_EQ(weights_of(*engine), before);
  EXPECT_EQ(engine->optimizer_steps(), 1);
  EXPECT_EQ(engine->global_step(), 3);

  EXPECT_FALSE(run_step(*engine, *comm_, 1).skipped);
  EXPECT_NE(weights_of(*engine), before);
}

TEST_P(DeviceEngine, SkipsOverflowsOfALossScale) {
  if (dtype() != DType::f16) GTEST_SKIP() << "skipped: f16 has a loss scale";
  auto options = options_of(stage(), dtype());
  options.device = gpu;
  options.loss_scale.rule = LossScaleOptions::Rule::torch;
  options.loss_scale.initial = 1e8;
  const auto engine = Engine::initialize(*comm_, preset_spec("nano"), options, {});
  const auto before = weights_of(*engine);

  const StepResult overflow = run_step(*engine, *comm_, 0);

  EXPECT_TRUE(overflow.skipped);
  EXPECT_FALSE(overflow.nonfinite);
  EXPECT_EQ(weights_of(*engine), before);
  EXPECT_EQ(engine->optimizer_steps(), 0);
  StepResult next = run_step(*engine, *comm_, 0);
  EXPECT_EQ(next.loss_scale, static_cast<double>(static_cast<float>(1e8) * 0.5F));
  for (int tries = 0; next.skipped && tries < 20; ++tries) next = run_step(*engine, *comm_, 0);
  EXPECT_FALSE(next.skipped);
  EXPECT_NE(weights_of(*engine), before);
}

TEST_P(DeviceEngine, GivesTheLossOfAMicroBatchToWhoReadsIt) {
  auto options = options_of(stage(), dtype());
  options.device = gpu;
  const auto engine = Engine::initialize(*comm_, preset_spec("nano"), options, {});
  const test::PackedRows packed(test::two_rows(comm_->rank(), 0), 0.01F);
  engine->begin_step();

  const PendingLoss loss = engine->forward(packed.batch(), comm_->size(), true);
  engine->backward();
  double sum = loss;
  comm_->all_reduce(View(&sum, 1, DType::f64), ReduceOp::sum, Stream{}, "sum of losses");

  EXPECT_GT(loss.value(), 0.0);
  EXPECT_NEAR(engine->step(1e-3).loss, sum, 1e-12 * sum);
}

TEST_P(DeviceEngine, ChecksItsPlanAndTakesExactlyThat) {
  auto options = options_of(stage(), dtype());
  options.device = gpu;
  const auto spec = preset_spec("nano");
  const MemoryPlan plan = Engine::plan(spec, options, comm_->size());

  const auto engine = Engine::initialize(*comm_, spec, options, {});

  std::int64_t planned = 0;
  for (int kind = 0; kind < memory_kinds; ++kind) planned += plan.arena_bytes(static_cast<MemoryKind>(kind));
  EXPECT_EQ(engine->allocated_bytes(), planned);
  EXPECT_GT(plan.arena_bytes(MemoryKind::device), 0);
  EXPECT_EQ(plan.arena_bytes(MemoryKind::host), 0) << "everything lies on the device or is pinned";
}

TEST_P(DeviceEngine, CheckpointsGoBetweenDeviceAndCpu) {
  if (repeats()) GTEST_SKIP() << "skipped: other cases and ranks do the same";
  const auto folder =
      std::filesystem::path(DSTRAIN_TEST_TMP) /
      ("device-" + std::to_string(comm_->size()) + "-" + std::to_string(stage()) + std::string(name_of(dtype())));
  if (comm_->rank() == 0) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  comm_->barrier("test folder");
  const auto spec = preset_spec("nano");
  auto options = options_of(stage(), dtype());
  const auto cpu = Engine::initialize(*host_, spec, options, {});
  options.device = gpu;
  const auto first = Engine::initialize(*comm_, spec, options, {});
  run_step(*first, *comm_, 0);
  first->save(folder, {{"mine", "42"}}, false, 0);

  const auto state = cpu->load(folder / "checkpoint-1");
  cpu->save(folder / "cpu", {}, false, 0);
  const auto second = Engine::initialize(*comm_, spec, options, {});
  second->load(folder / "cpu" / "checkpoint-1");

  EXPECT_EQ(state.at("mine"), "42");
  EXPECT_EQ(weights_of(*cpu), weights_of(*first));
  EXPECT_EQ(weights_of(*second), weights_of(*first));
  const auto expected = run_step(*first, *comm_, 1);
  const auto result = run_step(*second, *comm_, 1);
  EXPECT_EQ(result.loss, expected.loss) << "moments came back too: the next step is the same to the bits";
  EXPECT_EQ(result.grad_norm, expected.grad_norm);
  EXPECT_EQ(weights_of(*second), weights_of(*first));
  first->export_weights(folder / "model", DType::f32);
  if (comm_->rank() == 0) {
    EXPECT_TRUE(std::filesystem::exists(folder / "model" / "model.safetensors"));
  }
}

TEST_P(DeviceEngine, EvaluatesLikeTheCpu) {
  if (repeats()) GTEST_SKIP() << "skipped: other cases and ranks do the same";
  auto options = options_of(stage(), dtype());
  options.eval_predictions = true;
  const auto spec = preset_spec("nano");
  const test::PackedRows packed(test::two_rows(comm_->rank(), 3), 1.0F);
  const auto cpu = Engine::initialize(*host_, spec, options, {});
  options.device = gpu;
  const auto device = Engine::initialize(*comm_, spec, options, {});

  const BatchEvaluation expected = cpu->evaluate_batch(packed.batch());
  const BatchEvaluation result = device->evaluate_batch(packed.batch());

  EXPECT_EQ(result.targets, expected.targets);
  EXPECT_NEAR(result.nll_sum, expected.nll_sum, (dtype() == DType::f32 ? 1e-5 : 1e-2) * expected.nll_sum);
  ASSERT_EQ(result.nll.size(), expected.nll.size());
  ASSERT_EQ(result.predicted.size(), expected.predicted.size());
  int same = 0;
  for (std::size_t t = 0; t < result.predicted.size(); ++t)
    same += result.predicted[t] == expected.predicted[t] ? 1 : 0;
  EXPECT_GE(same, static_cast<int>(result.predicted.size()) - (dtype() == DType::f32 ? 0 : 4))
      << "roundings may choose between two likely ones";
}

TEST_P(DeviceEngine, AnswersLikeTheCpu) {
  if (stage() != 0 || dtype() != DType::f32) GTEST_SKIP() << "skipped: one dtype is enough";
  auto options = options_of(stage(), dtype());
  options.max_prompts = 2;
  options.max_answer_length = 24;
  const auto spec = preset_spec("nano");
  SamplingOptions sampling;
  sampling.max_new_tokens = 6;
  sampling.do_sample = false;
  const std::vector<std::vector<std::int32_t>> prompts = {{1, 2, 3, 4, 5}, {9, 8, 7}};
  const auto answers = [&](Communicator& comm) {
    const auto engine = Engine::initialize(comm, spec, options, {});
    auto all = engine->generate(prompts, sampling);
    engine->generate_done();
    return all;
  };

  const auto expected = answers(*host_);
  options.device = gpu;
  EXPECT_EQ(answers(*comm_), expected);
}

INSTANTIATE_TEST_SUITE_P(Stages, DeviceEngine,
                         testing::Values(std::tuple(0, DType::f32), std::tuple(0, DType::f16),
                                         std::tuple(1, DType::bf16), std::tuple(2, DType::f32),
                                         std::tuple(3, DType::bf16)),
                         [](const auto& info) {
                           return "Stage" + std::to_string(std::get<0>(info.param)) +
                                  std::string(name_of(std::get<1>(info.param)));
                         });

}  // namespace
}  // namespace dstrain::device_engine_test
