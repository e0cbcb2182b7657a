// SPDX-License-Identifier: Apache-2.0
/// What every family does beside its numbers: generation with kept keys, dropout that recomputation repeats, names.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "io/files/file.hpp"
#include "model/families/family.hpp"
#include "model/generator.hpp"
#include "model/initialise.hpp"
#include "model/lora_targets.hpp"
#include "support/token_rows.hpp"
#include "unit/model/model_under_test.hpp"

namespace dstrain::families_test {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr std::int64_t V = 29;  // of tests/oracle/make_tiny_families.py

std::filesystem::path family_folder(const std::string& name) {
  return std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests" / "oracle" / "tiny-families" / name;
}

std::vector<std::string> family_folders() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(family_folder("")))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

ModelSpec spec_of(const std::string& name) {
  const auto config = family_folder(name) / "config.json";
  return parse_model_spec(read_file(config, 1 << 20), config.string());
}

Ids some_ids(std::int64_t count, std::int64_t first = 0) {
  Ids ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(((i + first) * (i + 5) + 3) % V));
  return ids;
}

class EveryFamily : public testing::TestWithParam<std::string> {};

TEST_P(EveryFamily, ChoosesWithKeptKeysWhatAFullPassChooses) {
  DecoderOptions decoder;
  decoder.train = false;
  decoder.max_tokens = 64;
  decoder.max_position = 32;
  const auto model = test::load_model(family_folder(GetParam()), decoder);
  if (rope_length(model->spec, 1) != rope_length(model->spec, 30))
    GTEST_SKIP() << "skipped: kept keys stay turned by the shorter text's table, as in transformers";
  const GeneratorOptions options{.max_sequences = 2, .max_length = 30, .prompt_rows = 64, .threads = max_threads()};
  MemoryPlan plan;
  auto buffers = plan_generator(plan, model->spec, options);
  plan.finalize();
  const Arena arena(std::move(plan));
  Generator generator(model->spec, model->layout, options, arena, std::move(buffers), Device{});
  const std::vector<Ids> prompts = {some_ids(11), some_ids(4, 7)};
  SamplingOptions greedy;
  greedy.do_sample = false;
  greedy.max_new_tokens = 15;

  const auto answers = generator.generate(*model->store, prompts, greedy);

  for (std::size_t p = 0; p < prompts.size(); ++p) {
    Ids whole = prompts[p];
    whole.insert(whole.end(), answers.at(p).ids.begin(), answers[p].ids.end());
    const test::PackedRows packed(std::span(&whole, 1), 1.0F);
    std::vector<float> logits(whole.size() * V);
    model->decoder->logits(*model->store, packed.batch(), 0, static_cast<std::int64_t>(whole.size()), logits.data());
    ASSERT_EQ(answers[p].ids.size(), 15U);
    for (std::size_t t = prompts[p].size(); t < whole.size(); ++t) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>((t - 1) * V);
      EXPECT_EQ(std::max_element(row, row + V) - row, whole[t]) << "prompt " << p << " token " << t;
    }
  }
}

TEST_P(EveryFamily, IsInitialisedAsTransformersDoes) {
  const ModelSpec spec = spec_of(GetParam());
  for (const TensorLayout& tensor : make_layout(spec).tensors) {
    if (tensor.shape.size() > 1) continue;
    std::vector<float> values(static_cast<std::size_t>(tensor.count));
    fill_initial(spec, tensor, 0, tensor.count, values.data(), 1);
    const bool zero = tensor.name.ends_with(".bias") || spec.norm == NormKind::rms_plus_one;
    EXPECT_EQ(values, std::vector<float>(values.size(), zero ? 0.0F : 1.0F)) << tensor.name;
  }
}

TEST_P(EveryFamily, NamesTheModulesThatTakeAdapters) {
  const ModelSpec spec = spec_of(GetParam());
  const ModelLayout layout = make_layout(spec);
  for (const LinearModule& module : linear_modules(spec)) {
    const std::int32_t index = layout.find(std::string(spec.family->names.block) + "1." + module.path + ".weight");
    ASSERT_GE(index, 0) << module.path;
    const auto& shape = layout.tensors[static_cast<std::size_t>(index)].shape;
    EXPECT_EQ(shape, (module.transposed ? std::vector{module.in, module.out} : std::vector{module.out, module.in}));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, EveryFamily, testing::ValuesIn(family_folders()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(LoraTargets, AreTheLinearLayersButTheHead) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(lora_targets(spec_of("llama-linear")),
            (Names{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}));
  EXPECT_EQ(lora_targets(spec_of("glm")), (Names{"q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"}));
  EXPECT_EQ(lora_targets(spec_of("chatglm")), (Names{"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}));
  EXPECT_EQ(lora_targets(spec_of("bloom")), (Names{"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}));
  EXPECT_EQ(lora_targets(spec_of("baichuan-rotary")), (Names{"W_pack", "o_proj", "gate_proj", "up_proj", "down_proj"}));
  EXPECT_EQ(lora_targets(spec_of("internlm2")), (Names{"wqkv", "wo", "w1", "w3", "w2"}));
  EXPECT_EQ(lora_targets(spec_of("gpt2")), (Names{"c_attn", "c_proj", "c_fc"}));
  EXPECT_EQ(lora_targets(spec_of("phi3-partial")), (Names{"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}));
}

// docs/add-a-model.md shows a family by its diff: every line of it is in the tree, and it touches one folder.
TEST(AddAModel, TheDiffOfTheDocumentIsWhatTheFamilyTook) {
  const std::filesystem::path root = DSTRAIN_SOURCE_DIR;
  std::istringstream document(read_file(root / "docs/add-a-model.md", 1 << 20));
  std::string file;
  bool inside = false;
  int added = 0;
  for (std::string line; std::getline(document, line);) {
    if (line.starts_with("```")) inside = line == "```diff";
    if (!inside) continue;
    if (line.starts_with("+++ b/")) {
      EXPECT_TRUE(line.starts_with("+++ b/src/model/families/")) << line;
      file = read_file(root / line.substr(6), 1 << 20);
    } else if (line.starts_with("+") && line.size() > 1) {
      EXPECT_NE(file.find(line.substr(1) + "\n"), std::string::npos) << line;
      ++added;
    }
  }
  EXPECT_GT(added, 10);
}

/// Loss and all gradients of one micro-batch.
struct Pass {
  double loss;
  std::vector<float> gradient;
};

class Dropout : public testing::TestWithParam<std::string> {
 protected:
  static Pass run(const std::string& family, std::uint32_t sample, bool checkpointing, bool training = true,
                  const std::vector<float>* step = nullptr, double length = 0.0) {
    DecoderOptions options;
    options.max_tokens = 64;
    options.max_position = 32;
    options.gradient_checkpointing = checkpointing;
    const auto weights = test::load_model(family_folder(family), options);
    ModelSpec spec = weights->spec;
    spec.dropout = {.embedding = 0.2, .attention = 0.3, .residual = 0.25};
    const auto model = std::make_unique<test::ModelUnderTest>(spec, options);
    std::size_t at = 0;
    model->store->fill([&](const TensorLayout& tensor, float* out) {
      const float* from = weights->store->weights_of(tensor);
      for (std::int64_t i = 0; i < tensor.count; ++i, ++at)
        out[i] = from[i] + (step == nullptr ? 0.0F : static_cast<float>(length) * (*step)[at]);
    });
    const std::vector<Ids> rows = {some_ids(17), some_ids(9, 4)};
    const test::PackedRows packed(rows, 1.0F / 24.0F);
    MicroBatch batch = packed.batch();
    batch.sample = sample;
    model->store->begin_micro_step();
    Pass pass{model->decoder->forward(*model->store, batch, training).loss, {}};
    if (!training) return pass;
    model->decoder->backward(*model->store, batch);
    for (const TensorLayout& tensor : model->layout.tensors) {
      const float* g = model->store->gradient_of(tensor);
      EXPECT_TRUE(std::all_of(g, g + tensor.count, [](float x) { return std::isfinite(x); })) << tensor.name;
      pass.gradient.insert(pass.gradient.end(), g, g + tensor.count);
    }
    return pass;
  }
};

TEST_P(Dropout, GradientsAreThoseOfTheLossThatWasComputed) {
  const Pass pass = run(GetParam(), 3, true);
  double square = 0.0;
  for (const float g : pass.gradient) square += static_cast<double>(g) * g;
  const double length = 2e-3 / std::sqrt(square);

  const double ahead = run(GetParam(), 3, true, true, &pass.gradient, length).loss;
  const double behind = run(GetParam(), 3, true, true, &pass.gradient, -length).loss;

  EXPECT_NEAR((ahead - behind) / (2 * length), square, 0.01 * square);
}

TEST_P(Dropout, RecomputationDropsTheSame) {
  const Pass with = run(GetParam(), 3, true);
  const Pass without = run(GetParam(), 3, false);

  EXPECT_EQ(with.loss, without.loss);
  EXPECT_EQ(with.gradient, without.gradient);
}

TEST_P(Dropout, DependsOnTheMicroBatchAndIsOffOutsideTraining) {
  EXPECT_NE(run(GetParam(), 3, true).loss, run(GetParam(), 4, true).loss);
  EXPECT_EQ(run(GetParam(), 3, true, false).loss, run(GetParam(), 4, true, false).loss);
  EXPECT_NE(run(GetParam(), 3, true, false).loss, run(GetParam(), 3, true).loss);
}

// Learned positions; linear biases with heads in groups and a norm of the embedding; norms behind layers.
INSTANTIATE_TEST_SUITE_P(Families, Dropout, testing::Values("gpt2", "bloom", "gemma2", "glm4", "chatglm"));

}  // namespace
}  // namespace dstrain::families_test
