// SPDX-License-Identifier: Apache-2.0
/// Configurations as users have them: LLaMA-Factory's examples and the reference runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "resolve_support.hpp"
#include "support/shared_data.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;

/// Reads the disk; what a LLaMA-Factory checkout has under examples/deepspeed is taken from the data folder.
FileAccess with_demo_data(const fs::path& data) {
  const auto disk = FileAccess::local();
  const auto moved = [data](const fs::path& path) {
    return path.string().starts_with("examples/deepspeed/") ? data / "configs/llamafactory/deepspeed" / path.filename()
                                                            : path;
  };
  FileAccess files;
  files.read = [disk, moved](const fs::path& path) { return disk.read(moved(path)); };
  files.exists = [disk, moved](const fs::path& path) { return disk.exists(moved(path)); };
  return files;
}

ResolvedConfig resolve_file(const fs::path& data, const fs::path& file) {
  return resolve_config(parse_arguments({file.string()}), with_demo_data(data));
}

class ReferenceRun : public testing::TestWithParam<const char*> {};

TEST_P(ReferenceRun, Resolves) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto data = *shared / "data";

  const auto resolved = resolve_file(data, data / "reference-runs" / GetParam() / "train.yaml");

  EXPECT_EQ(resolved.config.cutoff_len, 256);
  EXPECT_DOUBLE_EQ(resolved.config.learning_rate, 1e-3);
  EXPECT_EQ(resolved.config.gradient_accumulation_steps, 4);
  EXPECT_EQ(resolved.config.device, "cpu");
  EXPECT_TRUE(resolved.config.disable_gradient_checkpointing);
  EXPECT_EQ(resolved.config.average_tokens_across_devices, std::string(GetParam()) != "sft_full_2rank");
  EXPECT_EQ(resolved.config.packing.value_or(resolved.config.stage == "pt"),
            std::string(GetParam()) == "sft_packing" || resolved.config.stage == "pt");
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceRun, testing::Values("sft_full", "sft_full_2rank", "sft_packing", "pt_full"));

TEST(ExampleConfigs, FullFineTuningResolves) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto data = *shared / "data";

  for (const char* name :
       {"llamafactory-0.9.3/train_full/llama3_full_sft.yaml", "llamafactory-0.9.5/train_full/qwen3_full_sft.yaml"}) {
    const auto resolved = resolve_file(data, data / "configs" / name);
    EXPECT_EQ(resolved.config.zero_stage, 3) << name;
    EXPECT_TRUE(resolved.config.bf16) << name;
    EXPECT_EQ(resolved.config.ddp_timeout, 180'000'000) << name;
    EXPECT_EQ(resolved.config.resume_from_checkpoint, std::nullopt) << name;
    EXPECT_EQ(resolved.config.max_grad_norm, 1.0) << name;
  }
}

}  // namespace
}  // namespace dstrain
