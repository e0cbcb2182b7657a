// SPDX-License-Identifier: Apache-2.0
/// How large a checkpoint will be, from the plan of one rank.
#include "train/start_checks.hpp"

#include <gtest/gtest.h>

namespace dstrain::start_checks_test {
namespace {

MemoryPlan adamw_plan(std::int64_t per_rank) {
  MemoryPlan plan;
  plan.add("parameters/weights", 1000, DType::bf16);
  plan.add("optimizer/master_weights", per_rank, DType::f32);
  plan.add("optimizer/exp_avg", per_rank, DType::f32);
  plan.add("optimizer/exp_avg_sq", per_rank, DType::f32);
  plan.add("optimizer/muon_matrix", 12345, DType::f32, phase_optimizer);
  plan.finalize();
  return plan;
}

TEST(CheckpointBytes, AreParametersAndStatesWhoeverHoldsThem) {
  EXPECT_EQ(checkpoint_bytes(adamw_plan(1000), 1000, 0, 4, false), 12'000);
  EXPECT_EQ(checkpoint_bytes(adamw_plan(250), 1000, 2, 4, false), 12'000);
}

TEST(CheckpointBytes, OfTheModelAloneHoldNoStates) {
  EXPECT_EQ(checkpoint_bytes(adamw_plan(250), 1000, 3, 4, true), 4'000);
}

TEST(TrainedParameters, AreAllOfThemInFullTuning) {
  const auto spec = preset_spec("nano");
  EXPECT_EQ(trained_parameters(spec, {}), make_layout(spec).parameters);
}

}  // namespace
}  // namespace dstrain::start_checks_test
