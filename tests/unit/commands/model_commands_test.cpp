// SPDX-License-Identifier: Apache-2.0
/// compare, export and generate as a user calls them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "commands/commands.hpp"
#include "io/safetensors/model.hpp"
#include "model/initialise.hpp"
#include "support/shared_data.hpp"
#include "unit/commands/printed.hpp"

namespace dstrain::commands::model_commands_test {
namespace {

const std::filesystem::path tiny_models =
    std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests" / "oracle" / "tiny-models";

/// A folder of this test that does not exist yet.
std::filesystem::path fresh(const std::string& name) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / ("model-commands-" + name);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder.parent_path());
  return folder;
}

using test::printed;

TEST(Compare, AgreesWithItsOwnReference) {
  const auto folder = tiny_models / "llama-biases";
  const auto [code, text] = printed(compare, {folder.string(), (folder / "reference.safetensors").string(), "--json"});
  const auto report = nlohmann::json::parse(text);

  EXPECT_EQ(code, ExitCode::good);
  EXPECT_TRUE(report["good"].get<bool>());
  EXPECT_EQ(report["gradients"].size(), 2 * 16 + 2);
  for (const auto& g : report["gradients"]) EXPECT_LT(g["relative_error"].get<double>(), 1e-4) << g["name"];
}

TEST(Compare, SeesAnotherModelsReference) {
  // Same shapes, but other weights and a window.
  const auto [code, text] = printed(compare, {(tiny_models / "llama-yarn").string(),
                                              (tiny_models / "mistral-window" / "reference.safetensors").string()});

  EXPECT_EQ(code, ExitCode::failed);
  EXPECT_NE(text.find("does not agree"), std::string::npos);
}

TEST(Compare, RefusesWhatIsNoReference) {
  const auto folder = tiny_models / "llama-yarn";

  EXPECT_THROW(compare({folder.string(), (folder / "model.safetensors").string()}), IoError);
  EXPECT_THROW(compare({folder.string(), (folder / "config.json").string()}), IoError);
  EXPECT_THROW(compare({folder.string(), (tiny_models / "llama-biases" / "reference.safetensors").string()}), IoError);
  EXPECT_THROW(compare({folder.string()}), ConfigError);
}

TEST(Export, WritesTheWeightsThatTrainingWouldStartFrom) {
  const auto folder = fresh("nano");
  const auto [code, text] = printed(export_model, {"preset:nano", folder.string(), "--seed", "7"});
  const auto model = SafetensorsModel::open(folder);
  std::ifstream file(folder / "config.json");
  std::stringstream config;
  config << file.rdbuf();
  const auto spec = parse_model_spec(config.str(), "config.json");
  const auto layout = make_layout(spec);

  EXPECT_EQ(code, ExitCode::good);
  ASSERT_EQ(model.tensors().size(), layout.tensors.size());
  for (std::size_t i = 0; i < model.tensors().size(); ++i) {
    const auto& info = model.tensors()[i];
    const auto index = layout.find(info.name);
    ASSERT_GE(index, 0) << info.name;
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
    std::vector<float> stored(static_cast<std::size_t>(tensor.count));
    std::vector<float> made(stored.size());
    model.read(static_cast<std::int32_t>(i), 0, tensor.count, stored.data());
    fill_initial(spec, tensor, 0, tensor.count, made.data(), 7);
    EXPECT_EQ(stored, made) << info.name;
  }
}

TEST(Export, KeepsItsHandsOffAModel) {
  const auto folder = fresh("twice");
  (void)printed(export_model, {"preset:nano", folder.string()});

  EXPECT_THROW(export_model({"preset:nano", folder.string()}), ConfigError);
  EXPECT_THROW(export_model({folder.string(), fresh("other").string()}), ConfigError);  // has weights already
  EXPECT_THROW(export_model({"preset:none", fresh("other").string()}), ConfigError);
}

TEST(Generate, TellsTheStoryThatTheModelIsKnownFor) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto model = (*shared / "data" / "stories260K").string();
  const auto [code, text] =
      printed(generate, {model, "--prompt", "Once upon a time", "--do_sample", "false", "--max_new_tokens", "60"});

  EXPECT_EQ(code, ExitCode::good);
  EXPECT_NE(text.find("there was a little girl named Lily. She loved to play outside in the park."), std::string::npos)
      << text;
}

TEST(Generate, AnswersPromptsOfAFileInAnyBatchesAlike) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto model = (*shared / "data" / "stories260K").string();
  const auto file = fresh("prompts").string();
  std::ofstream(file) << "\"One day\"\n{\"prompt\": \"Tom and\"}\n\"The\"\n";
  const Words words = {model, "--prompts", file, "--max_new_tokens", "20", "--json", "--do_sample=false"};
  Words one_by_one = words;
  one_by_one.push_back("--batch_size=1");
  const auto together = printed(generate, words).second;

  EXPECT_EQ(std::count(together.begin(), together.end(), '\n'), 3);
  EXPECT_EQ(printed(generate, one_by_one).second, together);
}

TEST(Generate, RefusesWhatItCannotAnswer) {
  const auto folder = (tiny_models / "llama-yarn").string();

  EXPECT_THROW(generate({folder}), ConfigError);                                     // no prompt
  EXPECT_THROW(generate({folder, "--prompt", "a", "--prompts", "b"}), ConfigError);  // two kinds
  EXPECT_THROW(generate({folder, "--prompt", "a", "--temperature", "0"}), ConfigError);
  EXPECT_THROW(generate({folder, "--prompt", "a", "--batch_size", "0"}), ConfigError);
  EXPECT_THROW(generate({folder, "--prompt", "a"}), Error);  // no tokenizer
}

}  // namespace
}  // namespace dstrain::commands::model_commands_test
