// SPDX-License-Identifier: Apache-2.0
/// Numbers that go wrong on one rank: found, named, and without harm to weights; replicas that drift apart; tags and
/// client state of an Engine's checkpoints.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "comm/agreed_error.hpp"
#include "comm/mpi_communicator.hpp"
#include "dstrain/engine.hpp"
#include "model/model_spec.hpp"
#include "support/token_rows.hpp"
#include "train/nonfinite_search.hpp"

namespace dstrain::numbers_test {
namespace {

constexpr float good_weight = 1.0F / 64;

class Numbers : public testing::TestWithParam<int> {
 protected:
  [[nodiscard]] EngineOptions options() const {
    EngineOptions options;
    options.zero_stage = GetParam();
    options.max_tokens = 64;
    options.max_micro_steps = 2;
    options.on_nonfinite = OnNonfinite::skip;
    return options;
  }
  /// The passes of a step of two micro steps.
  /// @param weight  of every target of the last rank's second micro-batch
  void run_passes(Engine& engine, float weight) {
    for (int micro = 0; micro < 2; ++micro) {
      std::vector<std::vector<std::int32_t>> rows(2);
      for (int i = 0; i < 16; ++i)
        rows[static_cast<std::size_t>(i % 2)].push_back((7 * i + comm_->rank() + micro) % 300);
      const bool marked = micro == 1 && comm_->rank() + 1 == comm_->size();
      const test::PackedRows packed(rows, marked ? weight : good_weight);
      engine.forward(packed.batch(), comm_->size(), micro == 1);
      engine.backward();
    }
  }
  StepResult run_step(Engine& engine, float weight = good_weight) {
    engine.begin_step();
    run_passes(engine, weight);
    return engine.step(1e-3);
  }
  NonfiniteFinding search(Engine& engine, float weight = good_weight) {
    engine.begin_search();
    run_passes(engine, weight);
    return engine.end_search();
  }
  static std::vector<float> weights_of(const Engine& engine) {
    std::vector<float> all;
    engine.for_each_slice([&](std::int32_t, std::int64_t, std::int64_t count, const float* weights, const float*) {
      all.insert(all.end(), weights, weights + count);
    });
    return all;
  }
  /// Calls f(tensor, first weight) of this rank's first slice.
  static void first_weight(Engine& engine, const std::function<void(std::int32_t, float*)>& f) {
    bool done = false;
    engine.for_each_slice([&](std::int32_t tensor, std::int64_t, std::int64_t, const float* weights, const float*) {
      if (!done) f(tensor, const_cast<float*>(weights));  // NOLINT: damage on purpose
      done = true;
    });
  }
  [[nodiscard]] int last_rank() const { return comm_->size() - 1; }

  std::unique_ptr<Communicator> comm_ = make_world_communicator();
};

TEST_P(Numbers, ALossThatIsNotFiniteIsNamedByRankAndMicroBatch) {
  auto engine = Engine::initialize(*comm_, preset_spec("nano"), options(), {});
  run_step(*engine);
  const auto before = weights_of(*engine);

  const StepResult result = run_step(*engine, std::numeric_limits<float>::infinity());
  const auto finding = search(*engine, std::numeric_limits<float>::infinity());

  EXPECT_TRUE(result.nonfinite);
  EXPECT_EQ(result.overflow, fmt::format("the loss of step 2 is inf (rank {}, micro-batch 1)", last_rank()));
  EXPECT_EQ(finding.text, fmt::format("rank {}: the loss of micro-batch 1 is inf", last_rank()));
  EXPECT_FALSE(finding.parameter);
  EXPECT_EQ(weights_of(*engine), before);
  EXPECT_EQ(engine->global_step(), 2);
  EXPECT_EQ(engine->optimizer_steps(), 1);
  EXPECT_FALSE(run_step(*engine).nonfinite) << "the run goes on";
  EXPECT_EQ(engine->optimizer_steps(), 2);
}

TEST_P(Numbers, AGradientThatOverflowsIsNamedByUnitRankAndMicroBatch) {
  auto engine = Engine::initialize(*comm_, preset_spec("nano"), options(), {});
  const auto before = weights_of(*engine);

  const StepResult result = run_step(*engine, 3e38F);
  const auto finding = search(*engine, 3e38F);

  ASSERT_TRUE(result.nonfinite);
  EXPECT_TRUE(std::isfinite(result.loss));
  EXPECT_NE(result.overflow.find("the gradient norm of step 1 is "), std::string::npos) << result.overflow;
  EXPECT_EQ(finding.text.find(fmt::format("rank {}: the gradient of ", last_rank())), 0U) << finding.text;
  EXPECT_NE(finding.text.find(" in micro-batch 1"), std::string::npos) << finding.text;
  EXPECT_EQ(weights_of(*engine), before);
}

TEST_P(Numbers, ADamagedWeightIsNamed) {
  auto engine = Engine::initialize(*comm_, preset_spec("nano"), options(), {});
  std::string name;
  if (comm_->rank() == 0) {
    first_weight(*engine, [&](std::int32_t tensor, float* weight) {
      *weight = std::numeric_limits<float>::quiet_NaN();
      name = engine->layout().tensors[static_cast<std::size_t>(tensor)].name;
    });
  }
  name = broadcast_string(*comm_, name);

  EXPECT_TRUE(run_step(*engine).nonfinite);
  const auto finding = search(*engine);

  EXPECT_TRUE(finding.parameter);
  const bool all_see_it = GetParam() == 3 && comm_->size() > 1;  // gathered from its owner
  const std::string who = all_see_it ? fmt::format("ranks 0-{}", last_rank()) : std::string("rank 0");
  EXPECT_EQ(finding.text, who + ": the parameter " + name + ", element 0 is nan (embedding)");
}

TEST_P(Numbers, StopIsOneErrorOnAllRanks) {
  auto options = this->options();
  options.on_nonfinite = OnNonfinite::stop;
  auto engine = Engine::initialize(*comm_, preset_spec("nano"), options, {});

  EXPECT_THROW(run_step(*engine, std::numeric_limits<float>::quiet_NaN()), AgreedError);
}

TEST_P(Numbers, ARankWhoseBitsChangedIsNamed) {
  auto engine = Engine::initialize(*comm_, preset_spec("nano"), options(), {});
  run_step(*engine);
  ASSERT_EQ(engine->compare_replicas(), "");

  if (comm_->rank() == last_rank()) {
    first_weight(*engine, [](std::int32_t, float* weight) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, weight, sizeof bits);
      bits ^= 1U << 7;
      std::memcpy(weight, &bits, sizeof bits);
    });
  }
  const auto wrong = engine->compare_replicas();

  if (comm_->size() == 1 || GetParam() == 3) {
    EXPECT_EQ(wrong, "") << "nothing is kept twice";
  } else if (comm_->size() == 2) {
    EXPECT_NE(wrong.find(" is not the same on ranks 0-1, and no majority agrees"), std::string::npos) << wrong;
  } else {
    EXPECT_NE(wrong.find(fmt::format(" of rank {} is not what the other {} ranks hold", last_rank(), last_rank())),
              std::string::npos)
        << wrong;
  }
}

TEST_P(Numbers, HighestLossNamesItsMicroBatch) {
  auto engine = Engine::initialize(*comm_, preset_spec("nano"), options(), {});

  const StepResult result = run_step(*engine);

  EXPECT_GE(result.highest_rank, 0);
  EXPECT_LT(result.highest_rank, comm_->size());
  EXPECT_GE(result.highest_loss, result.nll_sum / static_cast<double>(result.targets));
}

TEST_P(Numbers, CheckpointsCarryTagsAndTheClientsState) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / fmt::format("tags-{}-{}", comm_->size(), GetParam());
  if (comm_->rank() == 0) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  comm_->barrier("test folder");
  auto first = Engine::initialize(*comm_, preset_spec("nano"), options(), {});
  run_step(*first);
  SaveOptions mine;
  mine.client_state = R"({"epoch": 3, "sampler": {"position": 17}, "note": "schön"})";
  first->save_checkpoint(folder, "best", mine);
  first->save_checkpoint(folder, "last", mine);
  run_step(*first);
  first->save_checkpoint(folder, "last");
  const auto expected = run_step(*first);

  auto second = Engine::initialize(*comm_, preset_spec("nano"), options(), {});
  const auto best = second->load_checkpoint(folder, "best");
  EXPECT_EQ(best.folder.filename(), "checkpoint-1");
  EXPECT_EQ(best.tags, (std::vector<std::string>{"best", "last"}));
  EXPECT_EQ(best.client_state, R"({"epoch":3,"note":"schön","sampler":{"position":17}})");
  EXPECT_EQ(second->global_step(), 1);
  const auto last = second->load_checkpoint(folder, "last");
  EXPECT_EQ(last.folder.filename(), "checkpoint-2");
  EXPECT_EQ(last.client_state, "{}");
  EXPECT_EQ(second->load_checkpoint(folder).folder, last.folder);
  const auto result = run_step(*second);
  EXPECT_EQ(result.loss, expected.loss);
  EXPECT_EQ(result.grad_norm, expected.grad_norm);

  EXPECT_THROW(second->load_checkpoint(folder, "worst"), AgreedError);
  SaveOptions wrong;
  wrong.client_state = "[1, 2]";
  EXPECT_THROW(second->save_checkpoint(folder, "x", wrong), AgreedError);
  EXPECT_THROW(second->save_checkpoint(folder, "two\nlines"), AgreedError);
}

INSTANTIATE_TEST_SUITE_P(Stages, Numbers, testing::Values(0, 1, 2, 3));

}  // namespace
}  // namespace dstrain::numbers_test
