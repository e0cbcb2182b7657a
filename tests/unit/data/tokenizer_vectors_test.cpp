// SPDX-License-Identifier: Apache-2.0
/// Tokenizers against what transformers and the sentencepiece library gave for the same texts.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/tokenizer.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

struct VectorFile {
  const char* vectors;  ///< tokenizer-vectors/<vectors>.jsonl
  const char* tokenizer;
  bool fast;
};

class TokenizerVectors : public testing::TestWithParam<VectorFile> {};

// Every id, with and without special tokens, and the way back.
TEST_P(TokenizerVectors, IdsAndDecodedTextAreTheReferenceOnes) {
  const auto data = unpacked_data();
  if (!data) GTEST_SKIP() << "skipped: no ../shared";
  const auto [vectors, name, fast] = GetParam();
  // The .sp vectors come from the bare library: no configuration, special tokens are text.
  const Tokenizer tokenizer = fast ? vector_tokenizer(*data, name) : bare_sentencepiece(*data, name);
  std::ifstream file(*data / "tokenizer-vectors" / (std::string(vectors) + ".jsonl"));

  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const auto record = nlohmann::json::parse(line);
    const auto text = record["text"].get<std::string>();
    const auto ids = record["ids"].get<std::vector<std::int32_t>>();

    EXPECT_EQ(tokenizer.encode(text), ids) << record["id"] << ' ' << text;
    if (record.contains("ids_special")) {
      EXPECT_EQ(tokenizer.encode(text, true), record["ids_special"].get<std::vector<std::int32_t>>()) << text;
    }
    if (record.contains("decoded")) {
      EXPECT_EQ(tokenizer.decode(ids), record["decoded"].get<std::string>()) << record["id"];
    }
  }
  EXPECT_EQ(count, 156);
}

INSTANTIATE_TEST_SUITE_P(
    Files, TokenizerVectors,
    testing::Values(VectorFile{"stories260K", "stories260K", true}, VectorFile{"llama2", "llama2", true},
                    VectorFile{"llama3", "llama3", true}, VectorFile{"gpt2", "gpt2", true},
                    VectorFile{"mistral-v1", "mistral-v1", true}, VectorFile{"mistral-v3", "mistral-v3", true},
                    VectorFile{"qwen2", "qwen2", true}, VectorFile{"qwen3", "qwen3", true},
                    VectorFile{"stories260K.sp", "stories260K", false}, VectorFile{"llama2.sp", "llama2", false},
                    VectorFile{"mistral-v1.sp", "mistral-v1", false}, VectorFile{"mistral-v3.sp", "mistral-v3", false},
                    VectorFile{"chatglm2.sp", "chatglm2", false}, VectorFile{"baichuan-m1.sp", "baichuan-m1", false}),
    [](const auto& info) {
      std::string name = info.param.vectors;
      for (char& c : name) {
        if (c == '.' || c == '-') c = '_';
      }
      return name;
    });

}  // namespace
}  // namespace dstrain::test
