// SPDX-License-Identifier: Apache-2.0
/// The whole way from demo files to rows, against LLaMA-Factory's processed rows.
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "data/dataset.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

class PipelineVectors : public testing::TestWithParam<const char*> {};

DatasetOptions options_of(const nlohmann::json& vector, const std::filesystem::path& data) {
  DatasetOptions options;
  options.dataset = {vector["dataset"]};
  options.dataset_dir = data / "llamafactory-demo";
  options.template_name = vector["template"];
  options.max_samples = vector["n_raw"];
  const auto& args = vector["data_args"];
  EncodeOptions& encode = options.encode;
  encode.stage = vector["stage"] == "pt" ? Stage::pt : Stage::sft;
  encode.cutoff_len = args.value("cutoff_len", 2048);
  encode.packing = args.value("packing", encode.stage == Stage::pt);
  encode.neat_packing = args.value("neat_packing", false);
  return options;
}

std::vector<std::int32_t> copy(std::span<const std::int32_t> values) { return {values.begin(), values.end()}; }

/// Splits the padding off: what stays must be the row, what goes must be padding. Returns the number of real tokens.
std::size_t strip_padding(const nlohmann::json& columns, std::size_t i, std::size_t tokens, std::int32_t pad) {
  const auto& ids = columns["input_ids"][i];
  for (std::size_t t = tokens; t < ids.size(); ++t) {
    EXPECT_EQ(ids[t], pad);
    EXPECT_EQ(columns["labels"][i][t], ignore_label);
    EXPECT_EQ(columns["position_ids"][i][t], 0);
  }
  return ids.size();
}

TEST_P(PipelineVectors, RowsAreTheReferenceOnes) {
  const auto data = unpacked_data();
  if (!data) GTEST_SKIP() << "skipped: no ../shared";
  const auto vector =
      nlohmann::json::parse(read_text(*data / "pipeline-vectors" / (std::string(GetParam()) + ".json")));
  const auto& columns = vector["columns"];
  const auto options = options_of(vector, *data);
  const bool packed_sft = options.encode.stage == Stage::sft && (options.encode.packing || options.encode.neat_packing);

  const Dataset dataset = open_dataset(options, vector_tokenizer_files(*data, vector["tokenizer"]));

  ASSERT_EQ(dataset.rows->info().rows, vector["n_out"].get<std::int64_t>());
  std::vector<std::int32_t> scratch;
  for (std::int64_t r = 0; r < dataset.rows->info().rows; ++r) {
    const auto i = static_cast<std::size_t>(r);
    const RowView row = dataset.rows->row(r, scratch);
    auto ids = columns["input_ids"][i].get<std::vector<std::int32_t>>();
    if (packed_sft) {
      EXPECT_EQ(strip_padding(columns, i, row.input_ids.size(), *dataset.tokenizer.pad_id()),
                static_cast<std::size_t>(options.encode.cutoff_len));
      ids.resize(row.input_ids.size());
      auto positions = columns["position_ids"][i].get<std::vector<std::int32_t>>();
      positions.resize(ids.size());
      EXPECT_EQ(position_ids(row), positions);
    }
    EXPECT_EQ(copy(row.input_ids), ids) << "row " << r;
    if (columns.contains("labels")) {
      auto labels = columns["labels"][i].get<std::vector<std::int32_t>>();
      labels.resize(ids.size());
      EXPECT_EQ(copy(row.labels), labels) << "row " << r;
    }
    if (options.encode.neat_packing) {
      // The reference numbers the samples of a row in its attention mask.
      std::size_t t = 0;
      for (std::size_t s = 0; s < row.sample_lens.size(); ++s) {
        for (std::int32_t n = 0; n < row.sample_lens[s]; ++n) {
          ASSERT_EQ(columns["attention_mask"][i][t++].get<std::size_t>(), s + 1);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Files, PipelineVectors,
                         testing::Values("sft_identity_llama2", "sft_identity_qwen2", "sft_alpaca_zh_llama3",
                                         "sft_alpaca_zh_stories260K", "sft_alpaca_zh_chatglm2", "pt_c4_nopack_qwen2",
                                         "pt_c4_pack_llama3", "pt_c4_pack_stories260K", "pt_wiki_pack_qwen2",
                                         "packed_qwen2", "neat_packed_llama3", "neat_packed_stories260K"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace dstrain::test
