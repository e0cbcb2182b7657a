// SPDX-License-Identifier: Apache-2.0
/// The same weights to the last bit for any number of ranks and any ZeRO stage. The long form, 100 steps on up to 8
/// ranks at every stage, is benchmarks/train/same_bits.py.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <map>

#include "io/files/digest.hpp"
#include "run_support.hpp"

namespace dstrain::test::bits_test {
namespace {

struct Kind {
  const char* name;
  const char* keys;
  const char* file;
};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class SameBits : public testing::TestWithParam<Kind> {};

TEST_P(SameBits, OnAnyNumberOfRanksAtAnyStage) {
  const auto folder = fresh_folder();
  std::map<std::string, std::string> where;  // digest -> the run that had it first
  for (const auto& [ranks, stage] : {std::pair{1, 0}, {2, 1}, {3, 2}, {4, 3}, {3, 0}, {2, 3}}) {
    const auto output = folder / fmt::format("{}-{}", ranks, stage);
    const auto result =
        run(fmt::format("{}{} train --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 64 "
                        "--cutoff_len 24 --stage pt "
                        "--do_train --learning_rate 1e-3 --max_steps 6 --per_device_train_batch_size 1 --virtual_ranks "
                        "4 --save_strategy no "
                        "--reproducible --zero_stage {} --output_dir {} {}",
                        mpirun(ranks), binary(), stage, output.string(), GetParam().keys));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    where.try_emplace(digest_of_file(output / GetParam().file), fmt::format("{} ranks, stage {}", ranks, stage));
  }
  std::string runs;
  for (const auto& [digest, text] : where) runs += digest + " from " + text + "\n";
  EXPECT_EQ(where.size(), 1U) << runs;
}

INSTANTIATE_TEST_SUITE_P(Kinds, SameBits,
                         testing::Values(Kind{"fp32, full", "--finetuning_type full", "model.safetensors"},
                                         Kind{"bf16, full", "--finetuning_type full --bf16", "model.safetensors"},
                                         Kind{"fp32, lora", "--finetuning_type lora --lora_dropout 0.1",
                                              "adapter_model.safetensors"},
                                         Kind{"bf16, lora", "--finetuning_type lora --lora_dropout 0.1 --bf16",
                                              "adapter_model.safetensors"}));

}  // namespace
}  // namespace dstrain::test::bits_test
