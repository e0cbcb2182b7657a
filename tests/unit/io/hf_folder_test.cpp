// SPDX-License-Identifier: Apache-2.0
#include "io/hf_folder/hf_folder.hpp"

#include <gtest/gtest.h>

#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

using test::fresh_folder;
using test::read_text;
using test::write_text;

TEST(HfFolder, ConfigKeepsItsOrderAndGetsTheDtypeOfTheWeights) {
  EXPECT_EQ(config_with_dtype(R"({"z": 1, "torch_dtype": "float16", "a": {"y": 1.5, "b": null}})", DType::bf16),
            "{\n  \"z\": 1,\n  \"torch_dtype\": \"bfloat16\",\n  \"a\": {\n    \"y\": 1.5,\n    \"b\": null\n  }\n}\n");
  EXPECT_EQ(config_with_dtype(R"({"dtype": "bfloat16"})", DType::f32), "{\n  \"torch_dtype\": \"float32\"\n}\n");
  EXPECT_ERROR((void)config_with_dtype("[1]", DType::f32), "not a JSON object");
  EXPECT_ERROR((void)config_with_dtype("{", DType::f32), "not a JSON object");
  EXPECT_ERROR((void)config_with_dtype("{}", DType::i32), "i32");
}

TEST(HfFolder, CopiesTokenizerFilesAndOwnCodeByteForByteAndNothingElse) {
  const auto from = fresh_folder();
  const auto to = from / "export";
  const std::string binary("\0\xff\n\r", 4);
  write_text(from / "config.json", R"({"model_type": "llama"})");
  write_text(from / "generation_config.json", "{ }");
  write_text(from / "tokenizer.model", binary);
  write_text(from / "modeling_x.py", "pass");
  write_text(from / "model.safetensors", "weights");
  write_text(from / "notes.txt", "no");

  write_hf_folder(to, read_hf_folder(from), DType::f32);

  EXPECT_EQ(read_text(to / "tokenizer.model"), binary);
  EXPECT_EQ(read_text(to / "modeling_x.py"), "pass");
  EXPECT_EQ(read_text(to / "generation_config.json"), "{ }");
  EXPECT_NE(read_text(to / "config.json").find("float32"), std::string::npos);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(to), {}), 4);
}

TEST(HfFolder, SaysWhenTheFolderIsNoModelAndRefusesNamesThatLeaveIt) {
  const auto folder = fresh_folder();
  EXPECT_ERROR((void)read_hf_folder(folder), "holds no config.json");
  EXPECT_ERROR(write_hf_folder(folder / "x", {"{}", {}, {{"../evil", ""}}}, DType::f32), "is no file name");
}

}  // namespace
}  // namespace dstrain
