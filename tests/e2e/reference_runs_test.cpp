// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's own runs, repeated from their own train.yaml: same batches, same losses, same final weights.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "run_support.hpp"
#include "support/shared_data.hpp"

namespace dstrain::test::reference_runs_test {
namespace {

struct Case {
  const char* run;
  int ranks;
  const char* extra;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.run << " on " << c.ranks << " ranks " << c.extra; }

class ReferenceRun : public testing::TestWithParam<Case> {};

TEST_P(ReferenceRun, HasLlamaFactorysLossesAndWeights) {
  const auto c = GetParam();
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto data = *shared / "data";
  const auto reference = data / "reference-runs" / c.run;
  const auto folder = fresh_folder();

  const bool lora = std::filesystem::exists(reference / "final_adapter_model.safetensors");
  const std::string adapter =
      lora ? "adapter_name_or_path=" + (data / "reference-runs/init_adapter").string() : std::string();

  const auto result =
      run(fmt::format("{}{} {} model_name_or_path={} dataset_dir={} output_dir={} {} {}", mpirun(c.ranks), binary(),
                      (reference / "train.yaml").string(), (data / "stories260K").string(),
                      (data / "llamafactory-demo").string(), folder.string(), adapter, c.extra));

  ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  const auto expected = logged(reference / "trainer_state.json");
  const auto losses = logged(folder / "trainer_state.json");
  ASSERT_FALSE(expected.empty());
  ASSERT_EQ(losses.size(), expected.size());
  for (const auto& [step, loss] : expected) EXPECT_NEAR(losses.at(step), loss, 2e-4) << "step " << step;
  const auto rates = logged(folder / "trainer_state.json", "learning_rate");
  for (const auto& [step, lr] : logged(reference / "trainer_state.json", "learning_rate"))
    EXPECT_NEAR(rates.at(step), lr, 1e-12) << "step " << step;
  const auto norms = logged(folder / "trainer_state.json", "grad_norm");
  for (const auto& [step, norm] : logged(reference / "trainer_state.json", "grad_norm")) {
    EXPECT_NEAR(norms.at(step), norm, 1e-3 * norm) << "step " << step;
  }
  std::string worst;
  if (lora) {
    const auto ours = weights_of(folder / "adapter_model.safetensors");
    EXPECT_LE(relative_distance(ours, weights_of(reference / "final_adapter_model.safetensors"), &worst), 1e-4)
        << worst;
    return;
  }
  const auto final_weights = reference / "final_model.safetensors";
  if (!std::filesystem::exists(final_weights)) return;  // sft_packing was kept without
  EXPECT_LE(relative_distance(weights_of(folder), weights_of(final_weights), &worst), 1e-4) << worst;
}

INSTANTIATE_TEST_SUITE_P(
    Runs, ReferenceRun,
    testing::Values(Case{"sft_full", 0, ""}, Case{"sft_full", 3, "virtual_ranks=1 zero_stage=3"},
                    Case{"sft_full_2rank", 2, "zero_stage=2"}, Case{"sft_full_2rank", 1, "virtual_ranks=2"},
                    Case{"sft_packing", 1, "disable_gradient_checkpointing=false"},
                    Case{"sft_packing", 2, "virtual_ranks=1 zero_stage=1"}, Case{"pt_full", 1, ""},
                    Case{"sft_lora", 0, ""}, Case{"sft_lora", 2, "virtual_ranks=1 zero_stage=2"},
                    Case{"sft_lora", 4, "virtual_ranks=1 zero_stage=3"},
                    Case{"sft_lora", 4, "virtual_ranks=1 zero_stage=2 reproducible=true"},
                    Case{"sft_lora", 2, "virtual_ranks=1 zero_stage=3 disable_gradient_checkpointing=false"}));

// Every run on 2 and 4 ranks, at the stages that deal state out.
INSTANTIATE_TEST_SUITE_P(RanksAndStages, ReferenceRun,
                         testing::Values(Case{"sft_full", 2, "virtual_ranks=1 zero_stage=2"},
                                         Case{"sft_full", 4, "virtual_ranks=1 zero_stage=3"},
                                         Case{"pt_full", 2, "virtual_ranks=1 zero_stage=2"},
                                         Case{"pt_full", 4, "virtual_ranks=1 zero_stage=3"},
                                         Case{"sft_packing", 4, "virtual_ranks=1 zero_stage=3"},
                                         Case{"sft_full_2rank", 4, "virtual_ranks=2 zero_stage=3"}));

}  // namespace
}  // namespace dstrain::test::reference_runs_test
