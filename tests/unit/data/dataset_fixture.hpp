// SPDX-License-Identifier: Apache-2.0
/// Datasets that a test writes itself, and a tokenizer whose ids are letters.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "data/dataset.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {

namespace fs = std::filesystem;

/// A tokenizer with one token per character of the ASCII alphabet: ids can be read off a text.
inline TokenizerFiles character_tokenizer() {
  nlohmann::json vocab;
  for (int c = 0; c < 128; ++c) vocab[std::string(1, static_cast<char>(c))] = c;
  const nlohmann::json file = {{"added_tokens", nlohmann::json::array()},
                               {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  return {{"tokenizer.json", file.dump()},
          {"tokenizer_config.json", R"({"eos_token": "\u0003", "bos_token": "\u0002"})"}};
}

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    dir = fs::path(DSTRAIN_TEST_TMP) / testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(dir);
    fs::create_directories(dir);
    options.dataset = {"d"};
    options.dataset_dir = dir;
    options.template_name = "empty";
  }

  void write(const std::string& name, const std::string& content) const { std::ofstream(dir / name) << content; }
  void describe(const std::string& entry) const { write("dataset_info.json", R"({"d": )" + entry + "}"); }

  [[nodiscard]] std::string texts() const {
    const auto dataset = open_dataset(options, character_tokenizer());
    std::string out;
    std::vector<std::int32_t> scratch;
    for (std::int64_t i = 0; i < dataset.rows->info().rows; ++i) {
      const auto rendered = render_row(dataset.rows->row(i, scratch), dataset.tokenizer);
      for (const char c : rendered.text) {
        if (c != ' ') out += c;
      }
      out += '|';
    }
    return out;
  }

  /// What went wrong and where, as one text.
  [[nodiscard]] std::string problem() const {
    try {
      static_cast<void>(texts());
    } catch (const Error& e) {
      return std::string(e.what()) + " @ " + e.where();
    }
    return "nothing";
  }

  fs::path dir;
  DatasetOptions options;
};

}  // namespace dstrain::test
