// SPDX-License-Identifier: Apache-2.0
/// The whole way from demo files to rows, against LLaMA-Factory's processed rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "data/dataset.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

class PipelineVectors : public testing::TestWithParam<std::string> {};

Stage stage_of(const std::string& word) {
  const std::map<std::string, Stage> stages{
      {"sft", Stage::sft}, {"pt", Stage::pt}, {"rm", Stage::rm}, {"kto", Stage::kto}, {"ppo", Stage::ppo}};
  return stages.at(word);
}

DatasetOptions dataset_options_of(const nlohmann::json& vector, const std::filesystem::path& data) {
  DatasetOptions options;
  options.dataset = {vector["dataset"]};
  options.dataset_dir = data / "llamafactory-demo";
  options.template_name = vector["template"];
  options.max_samples = vector["n_raw"];
  const auto& args = vector["data_args"];
  EncodeOptions& encode = options.encode;
  encode.stage = stage_of(vector["stage"]);
  encode.cutoff_len = args.value("cutoff_len", 2048);
  encode.packing = args.value("packing", encode.stage == Stage::pt);
  encode.neat_packing = args.value("neat_packing", false);
  encode.packing_written = args.value("packing", false) || encode.neat_packing;
  return options;
}

// Every column of every row is LLaMA-Factory's: padding of packed rows, masks and position ids too.
TEST_P(PipelineVectors, RowsAreTheReferenceOnes) {
  const auto data = unpacked_data();
  if (!data) GTEST_SKIP() << "skipped: no ../shared";
  const auto vector = nlohmann::json::parse(read_text(*data / "pipeline-vectors" / (GetParam() + ".json")));
  const auto& columns = vector["columns"];
  const auto options = dataset_options_of(vector, *data);
  ASSERT_EQ(effective_cutoff_len(options.encode), vector["effective_cutoff_len"].get<std::int64_t>());

  const Dataset dataset = open_dataset(options, vector_tokenizer_files(*data, vector["tokenizer"]));

  ASSERT_EQ(dataset.rows->info().rows, vector["n_out"].get<std::int64_t>());
  std::vector<std::int32_t> scratch;
  for (std::int64_t r = 0; r < dataset.rows->info().rows; ++r) {
    const auto row = row_columns(dataset.rows->row(r, scratch), dataset.rows->info(), dataset.tokenizer.pad_id());
    std::map<std::string, std::vector<std::int32_t>> ours;
    for (const auto& [name, values] : row.lists) ours[name] = values;
    for (const auto& [name, column] : columns.items()) {
      const auto& expected = column[static_cast<std::size_t>(r)];
      if (name == "kto_tags") {
        EXPECT_EQ(row.kto_tag, expected.get<bool>()) << "row " << r;
      } else {
        EXPECT_EQ(ours[name], expected.get<std::vector<std::int32_t>>()) << name << " of row " << r;
      }
    }
  }
}

/// The names of all files of the folder; one that is not there, so that the tests are seen to be skipped.
std::vector<std::string> all_vectors() {
  std::vector<std::string> names;
  const auto shared = shared_dir();
  if (!shared) return {"none"};
  for (const auto& entry : std::filesystem::directory_iterator(*shared / "data" / "pipeline-vectors")) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Files, PipelineVectors, testing::ValuesIn(all_vectors()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace dstrain::test
