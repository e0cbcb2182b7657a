// SPDX-License-Identifier: Apache-2.0
/// Frequencies against transformers' (tests/oracle/make_rope_frequencies.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "model/model_spec.hpp"

namespace dstrain::rope_frequencies_test {
namespace {

using Json = nlohmann::json;

ModelSpec spec_of(const Json& c) {
  const Json config = {{"model_type", "llama"},
                       {"hidden_size", 4 * c["head_dim"].get<int>()},
                       {"intermediate_size", 8},
                       {"num_hidden_layers", 1},
                       {"num_attention_heads", 4},
                       {"vocab_size", 16},
                       {"max_position_embeddings", c["max_position_embeddings"]},
                       {"rope_theta", c["rope_theta"]},
                       {"rope_scaling", c["rope_scaling"]}};
  return parse_model_spec(config.dump(), "case");
}

TEST(RopeFrequencies, AreTransformers) {
  std::ifstream file(DSTRAIN_SOURCE_DIR "/tests/oracle/rope_frequencies.json");
  const Json oracle = Json::parse(file);
  ASSERT_GE(oracle["cases"].size(), 12U);
  for (const Json& c : oracle["cases"]) {
    const auto actual = rope_frequencies(spec_of(c), c["seq_len"].get<std::int64_t>());
    const auto expected = c["inv_freq"].get<std::vector<float>>();

    ASSERT_EQ(actual.inv_freq.size(), expected.size());
    EXPECT_FLOAT_EQ(actual.attention_factor, c["attention_factor"].get<float>()) << c["rope_scaling"];
    for (std::size_t i = 0; i < expected.size(); ++i) {
      // Two powf that round differently, and a quotient: a few units in the last place.
      EXPECT_NEAR(actual.inv_freq[i], expected[i], 6e-7 * expected[i]) << c["rope_scaling"] << " at " << i;
    }
  }
}

TEST(RopeFrequencies, OnlyDynamicScalingDependsOnTheLength) {
  const Json linear = {{"head_dim", 16},
                       {"max_position_embeddings", 32},
                       {"rope_theta", 1e4},
                       {"rope_scaling", {{"rope_type", "linear"}, {"factor", 2.0}}}};
  Json dynamic = linear;
  dynamic["rope_scaling"]["rope_type"] = "dynamic";

  EXPECT_EQ(rope_frequencies(spec_of(linear), 10).inv_freq, rope_frequencies(spec_of(linear), 1000).inv_freq);
  EXPECT_EQ(rope_frequencies(spec_of(dynamic), 10).inv_freq, rope_frequencies(spec_of(dynamic), 32).inv_freq);
  EXPECT_NE(rope_frequencies(spec_of(dynamic), 33).inv_freq, rope_frequencies(spec_of(dynamic), 32).inv_freq);
}

}  // namespace
}  // namespace dstrain::rope_frequencies_test
