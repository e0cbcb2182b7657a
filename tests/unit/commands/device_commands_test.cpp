// SPDX-License-Identifier: Apache-2.0
/// compare and generate on a GPU, on one that is emulated: its memory is closed to the host.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "commands/commands.hpp"
#include "core/error.hpp"
#include "support/emulated/emulated_device.hpp"
#include "support/shared_data.hpp"
#include "unit/commands/printed.hpp"

namespace dstrain::commands::device_commands_test {
namespace {

const std::filesystem::path tiny_models =
    std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests" / "oracle" / "tiny-models";

using test::printed;

/// Kernels that the device was given since it was made.
bool was_used(EmulatedDevice& device) { return !device.log().empty(); }

TEST(CompareOnAGpu, AgreesWithTheReferenceByItself) {
  for (const char* name : {"llama-biases", "mistral-window"}) {
    WithEmulatedDevice device;
    const auto folder = tiny_models / name;

    const auto [code, text] =
        printed(compare, {folder.string(), (folder / "reference.safetensors").string(), "--json"});

    EXPECT_EQ(code, ExitCode::good) << name;
    EXPECT_TRUE(nlohmann::json::parse(text)["good"].get<bool>()) << name;
    EXPECT_TRUE(was_used(*device)) << "auto takes the GPU";
  }
}

TEST(CompareOnAGpu, StaysOnTheCpuWhereItIsAsked) {
  WithEmulatedDevice device;
  const auto folder = tiny_models / "llama-biases";

  const auto [code, text] =
      printed(compare, {folder.string(), (folder / "reference.safetensors").string(), "--device", "cpu"});

  EXPECT_EQ(code, ExitCode::good);
  EXPECT_FALSE(was_used(*device));
}

TEST(CompareOnAGpu, IsRefusedWhereThereIsNone) {
  WithEmulatedDevice device(0);
  const auto folder = tiny_models / "llama-biases";
  const auto reference = (folder / "reference.safetensors").string();

  EXPECT_THROW((void)compare({folder.string(), reference, "--device", "cuda"}), ConfigError);
  EXPECT_THROW((void)compare({folder.string(), reference, "--device", "tpu"}), ConfigError);
  EXPECT_EQ(printed(compare, {folder.string(), reference}).first, ExitCode::good) << "auto takes the CPU";
}

TEST(GenerateOnAGpu, AnswersLikeTheCpu) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const Words words = {(*shared / "data" / "stories260K").string(),
                       "--prompt",
                       "Once upon a time",
                       "--do_sample",
                       "false",
                       "--max_new_tokens",
                       "12",
                       "--json",
                       "--device"};
  const auto on = [&](const char* device) {
    Words all = words;
    all.emplace_back(device);
    return printed(generate, all).second;
  };
  WithEmulatedDevice device;
  const std::string expected = on("cpu");
  EXPECT_FALSE(was_used(*device));

  EXPECT_EQ(on("cuda"), expected);
  EXPECT_TRUE(was_used(*device));
}

}  // namespace
}  // namespace dstrain::commands::device_commands_test
