// SPDX-License-Identifier: Apache-2.0
/// Every family with a tokenizer and its template: a tiny model learns two answers (full, on two ranks at stage 3)
/// and gives them, then learns to swap them (LoRA, at stage 2) and gives them swapped with its adapter. A mistake in
/// template, tokenizer, export, adapter or generation would show in what it says.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "run_support.hpp"
#include "support/shared_data.hpp"

namespace dstrain::test::families_test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct FamilyCase {
  const char* name;
  const char* config;     ///< of reference-numerics/tiny-models
  const char* tokenizer;  ///< of tokenizers; another family's where its own is not to be had
  int vocabulary;
  const char* chat_template;
  const char* lora_target;
};

void PrintTo(const FamilyCase& c, std::ostream* out) { *out << c.name; }

constexpr const char* questions[] = {"Who are you?", "Name a colour."};
constexpr const char* answers[] = {"A small model.", "Blue or green."};

Json read_json(const fs::path& path) { return Json::parse(std::ifstream(path)); }

class Family : public testing::TestWithParam<FamilyCase> {
 protected:
  void SetUp() override {
    const auto data = shared_data_unpacked(DSTRAIN_TEST_TMP);
    if (!data) GTEST_SKIP() << "skipped: no ../shared";
    data_ = *data;
    folder_ = fresh_folder();
    write_rows("taught", answers[0], answers[1]);
    write_rows("swapped", answers[1], answers[0]);
    std::ofstream(folder_ / "dataset_info.json")
        << R"({"taught": {"file_name": "taught.json"}, "swapped": {"file_name": "swapped.json"}})";
  }

  void write_rows(const std::string& name, const char* first, const char* second) {
    const Json rows = {{{"instruction", questions[0]}, {"output", first}},
                       {{"instruction", questions[1]}, {"output", second}}};
    std::ofstream(folder_ / (name + ".json")) << rows.dump();
  }

  /// The tiny model with room for the tokenizer's ids and random weights, and the tokenizer.
  fs::path make_model() {
    const FamilyCase& c = GetParam();
    Json config = read_json(data_ / "reference-numerics/tiny-models" / c.config / "config.json");
    for (const char* key : {"vocab_size", "padded_vocab_size"}) {
      if (config.contains(key)) config[key] = c.vocabulary;
    }
    for (const char* key : {"max_position_embeddings", "n_positions", "seq_length", "model_max_length"}) {
      if (config.contains(key)) config[key] = 128;
    }
    std::ofstream(folder_ / "config.json") << config.dump();
    const fs::path model = folder_ / "model";
    const auto made = run(fmt::format("{} export {} {}", binary(), (folder_ / "config.json").string(), model.string()));
    EXPECT_EQ(made.exit_code, 0) << made.err;
    copy_tokenizer(model);
    return model;
  }

  void copy_tokenizer(const fs::path& model) {
    const fs::path from = data_ / "tokenizers" / GetParam().tokenizer;
    for (const auto& file : fs::directory_iterator(from)) {
      if (file.path().filename() != "added_tokens.json")
        fs::copy_file(file.path(), model / file.path().filename(), fs::copy_options::overwrite_existing);
    }
    if (std::string(GetParam().tokenizer) != "qwen3") return;
    // Qwen3 has Qwen2's vocabulary and tokens of its own.
    Json tokenizer = read_json(data_ / "tokenizers/qwen2/tokenizer.json");
    tokenizer["added_tokens"] = read_json(from / "added_tokens.json");
    std::ofstream(model / "tokenizer.json") << tokenizer.dump();
  }

  void train(const fs::path& model, const char* dataset, const fs::path& output, const std::string& keys) {
    const auto result = run(fmt::format(
        "{}{} train --stage sft --do_train --model_name_or_path {} --dataset {} --dataset_dir {} --output_dir {} "
        "--template {} --cutoff_len 96 --per_device_train_batch_size 1 --learning_rate 1e-2 --lr_scheduler_type "
        "constant --logging_steps 10 {}",
        mpirun(2), binary(), model.string(), dataset, folder_.string(), output.string(), GetParam().chat_template,
        keys));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  /// Asks both questions in one batch; each answer stands behind its number.
  void expect_answers(const fs::path& model, const std::string& first, const std::string& second,
                      const std::string& adapter = "") {
    const fs::path prompts = folder_ / "prompts.jsonl";
    std::ofstream(prompts) << Json(questions[0]) << "\n" << Json(questions[1]) << "\n";
    const auto result =
        run(fmt::format("{} generate {} {} --template {} --prompts {} --do_sample false --max_new_tokens 20 "
                        "--enable_thinking false",
                        binary(), model.string(), adapter, GetParam().chat_template, prompts.string()));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto middle = result.out.find("[1] ");
    ASSERT_NE(middle, std::string::npos) << result.out;
    EXPECT_NE(result.out.substr(0, middle).find(first), std::string::npos) << result.out;
    EXPECT_NE(result.out.substr(middle).find(second), std::string::npos) << result.out;
  }

  fs::path data_, folder_;
};

TEST_P(Family, LearnsTwoAnswersAndToSwapThemWithAnAdapter) {
  const fs::path model = make_model();
  const fs::path trained = folder_ / "trained";
  const fs::path adapter = folder_ / "adapter";

  // The largest vocabularies take most of the time and learn in fewer steps.
  const bool large = GetParam().vocabulary > 100'000;
  train(model, "taught", trained, fmt::format("--finetuning_type full --max_steps {} --zero_stage 3", large ? 40 : 50));

  expect_answers(trained, answers[0], answers[1]);

  train(trained, "swapped", adapter,
        fmt::format("--finetuning_type lora --lora_target {} --max_steps {} --zero_stage 2", GetParam().lora_target,
                    large ? 20 : 30));

  EXPECT_TRUE(fs::exists(adapter / "adapter_model.safetensors"));
  const Json targets = read_json(adapter / "adapter_config.json")["target_modules"];
  if (std::string(GetParam().lora_target) != "all") {
    EXPECT_EQ(targets, Json::array({GetParam().lora_target}));
  }
  expect_answers(trained, answers[1], answers[0], "--adapter_name_or_path " + adapter.string());
}

// What dstrain writes is what transformers reads: the logits of the reference come out of its own classes.
TEST(FamilyExport, LoadsInTransformers) {
  const char* python = std::getenv("DSTRAIN_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "skipped: DSTRAIN_PYTHON names no python with transformers";
  const fs::path out = fresh_folder();
  const fs::path families = fs::path(DSTRAIN_SOURCE_DIR) / "tests/oracle/tiny-families";
  for (const auto& family : fs::directory_iterator(families)) {
    const auto folder = out / family.path().filename();
    const auto exported = run(fmt::format("{} export model_name_or_path={} export_dir={} infer_dtype=float32", binary(),
                                          family.path().string(), folder.string()));
    ASSERT_EQ(exported.exit_code, 0) << exported.err;
  }
  const auto check = run(fmt::format("{} {} {} {}", python, DSTRAIN_SOURCE_DIR "/tests/e2e/check_export.py",
                                     families.string(), out.string()));
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
}

INSTANTIATE_TEST_SUITE_P(
    All, Family,
    testing::Values(FamilyCase{"llama2", "llama-mha", "llama2", 32000, "llama2", "all"},
                    FamilyCase{"llama3", "llama31-rope", "llama3", 128256, "llama3", "all"},
                    FamilyCase{"qwen2", "qwen2", "qwen2", 151936, "qwen", "all"},
                    FamilyCase{"qwen3", "qwen3", "qwen3", 151936, "qwen3", "all"},
                    FamilyCase{"mistral", "mistral", "mistral-v3", 32768, "mistral", "all"},
                    FamilyCase{"baichuan2_7b", "baichuan2-7b", "baichuan-m1", 133120, "baichuan2", "W_pack"},
                    FamilyCase{"baichuan2_13b", "baichuan2-13b", "llama2", 32000, "baichuan2", "all"},
                    FamilyCase{"chatglm2", "chatglm2", "chatglm2", 65024, "chatglm2", "query_key_value"},
                    FamilyCase{"chatglm3", "chatglm2", "chatglm2", 65024, "chatglm3", "all"},
                    FamilyCase{"glm4", "glm", "gpt2", 50304, "glm4", "all"},
                    FamilyCase{"bloom", "bloom", "gpt2", 50304, "default", "query_key_value"},
                    FamilyCase{"gpt2", "gpt2", "gpt2", 50257, "default", "c_attn"},
                    FamilyCase{"gemma", "gemma", "llama2", 32064, "gemma", "all"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dstrain::test::families_test
