// SPDX-License-Identifier: Apache-2.0
/// Users' own files, as they wrote them: they train, or the one thing that is wrong in them is named.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "run_support.hpp"
#include "support/shared_data.hpp"

namespace dstrain::test::seeds_test {
namespace {

namespace fs = std::filesystem;

class Seeds : public testing::Test {
 protected:
  void SetUp() override {
    const auto data = shared_data_unpacked(DSTRAIN_TEST_TMP);
    if (!data) GTEST_SKIP() << "skipped: no ../shared";
    data_ = *data;
    seeds_ = data_ / "configs/seeds";
    folder_ = fresh_folder();
  }

  /// The tiny ChatGLM2 with room for the real vocabulary, random weights, and the family's tokenizer.
  fs::path small_chatglm2() {
    auto config = nlohmann::json::parse(text_of(data_ / "reference-numerics/tiny-models/chatglm2/config.json"));
    config["padded_vocab_size"] = config["vocab_size"] = 65024;
    std::ofstream(folder_ / "config.json") << config.dump();
    const auto model = folder_ / "chatglm2";
    const auto made = run(fmt::format("{} export {} {}", binary(), (folder_ / "config.json").string(), model.string()));
    EXPECT_EQ(made.exit_code, 0) << made.err;
    for (const auto& file : fs::directory_iterator(data_ / "tokenizers/chatglm2")) {
      fs::copy_file(file.path(), model / file.path().filename(), fs::copy_options::overwrite_existing);
    }
    return model;
  }

  nlohmann::json results(const fs::path& output) { return nlohmann::json::parse(text_of(output / "all_results.json")); }

  fs::path data_, seeds_, folder_;
};

TEST_F(Seeds, TheChatglm2LoraCommandLineTrainsWithItsDeepSpeedFile) {
  std::istringstream lines(text_of(seeds_ / "004_train_bash.args"));
  const std::map<std::string, std::string> here = {{"--deepspeed", (seeds_ / "004_ds_config.json").string()},
                                                   {"--model_name_or_path", small_chatglm2().string()},
                                                   {"--dataset", "alpaca_zh_demo"},
                                                   {"--output_dir", (folder_ / "out").string()}};
  std::string words;
  for (std::string flag; std::getline(lines, flag);) {
    const auto name = flag.substr(0, flag.find(' '));
    words += here.contains(name) ? fmt::format(" {} {}", name, quoted(here.at(name))) : " " + flag;
  }
  const auto result = run(fmt::format("{}{} src/train_bash.py{} --dataset_dir {} --cutoff_len 128", mpirun(2), binary(),
                                      words, (data_ / "llamafactory-demo").string()));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto adapter = nlohmann::json::parse(text_of(folder_ / "out/adapter_config.json"));
  EXPECT_EQ(adapter["peft_type"], "LORA");
  EXPECT_EQ(adapter["target_modules"], nlohmann::json::array({"query_key_value"}));
  EXPECT_TRUE(fs::exists(folder_ / "out/adapter_model.safetensors"));
  // Random weights over 65024 tokens begin at ln 65024 = 11.08.
  EXPECT_NEAR(results(folder_ / "out")["train_loss"].get<double>(), 11.08, 0.3);
}

TEST_F(Seeds, TheTrainingArgumentsTrain) {
  const auto result = run(fmt::format(
      "{}{} --local_rank=0 train {} stage=sft do_train=true finetuning_type=full template=default cutoff_len=64 "
      "dataset=identity max_samples=16 dataset_dir={} model_name_or_path={} output_dir={}",
      mpirun(2), binary(), (seeds_ / "001_train_args.yaml").string(), (data_ / "llamafactory-demo").string(),
      (data_ / "stories260K").string(), (folder_ / "out").string()));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(results(folder_ / "out")["epoch"], 3.0);
}

TEST_F(Seeds, AcceleratesFileGivesStageAndPrecision) {
  const auto config = folder_ / "cfg.yaml";
  std::ofstream(config) << fmt::format(
      "model_name_or_path: {}\nstage: sft\ndo_train: true\nfinetuning_type: full\ntemplate: default\ncutoff_len: 64\n"
      "dataset: identity\nmax_samples: 8\ndataset_dir: {}\noutput_dir: {}\nmax_steps: 2\nlogging_steps: 1\n"
      "per_device_train_batch_size: 1\n",
      (data_ / "stories260K").string(), (data_ / "llamafactory-demo").string(), (folder_ / "out").string());
  const auto result = run(fmt::format("{}{} --config_file {} {}", mpirun(2), binary(),
                                      (seeds_ / "003_accelerate_standard.yaml").string(), config.string()));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto resolved = text_of(folder_ / "out/resolved_config.yaml");
  EXPECT_NE(resolved.find("zero_stage: 3"), std::string::npos) << resolved;
  EXPECT_NE(resolved.find("fp16: true"), std::string::npos) << resolved;
}

TEST_F(Seeds, APlaceholderForTheMainAddressIsNamed) {
  const auto file = seeds_ / "003_accelerate_pdsh.yaml";
  const auto result =
      run(fmt::format("{} --config_file {} --model_name_or_path preset:nano --stage pt --dataset synthetic "
                      "--do_train --finetuning_type full --output_dir {}",
                      binary(), file.string(), (folder_ / "out").string()));
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("003_accelerate_pdsh.yaml:16"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("main_process_ip"), std::string::npos) << result.err;
}

TEST_F(Seeds, HostfilesPlaceTheirRanksOrNameTheirTypo) {
  for (const char* name :
       {"000_hostfile", "001_hostfile_fixed", "002_hostfile", "003_hostfile_indented", "004_hostfile"}) {
    EXPECT_EQ(run(fmt::format("{} hosts --hostfile {}", binary(), (seeds_ / name).string())).exit_code, 0) << name;
  }
  const auto typo = run(fmt::format("{} hosts --hostfile {}", binary(), (seeds_ / "001_hsotfile_typo").string()));
  EXPECT_EQ(typo.exit_code, 2);
  EXPECT_NE(typo.err.find("slots=4)"), std::string::npos) << typo.err;
  const auto placeholder =
      run(fmt::format("{} hosts --hostfile {}", binary(), (seeds_ / "003_hostfile_placeholder").string()));
  EXPECT_EQ(placeholder.exit_code, 2);
  EXPECT_NE(placeholder.err.find("placeholder"), std::string::npos) << placeholder.err;
}

}  // namespace
}  // namespace dstrain::test::seeds_test
