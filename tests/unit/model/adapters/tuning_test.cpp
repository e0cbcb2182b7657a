// SPDX-License-Identifier: Apache-2.0
/// Which tensors are trained, and where they lie.
#include "model/adapters/tuning.hpp"

#include <gtest/gtest.h>

#include <set>

#include "core/error.hpp"
#include "model/adapters/adapter_plan.hpp"
#include "model/adapters/freeze.hpp"

namespace dstrain::tuning_test {
namespace {

Tuning lora(std::vector<std::string> targets, std::vector<std::string> saved = {}) {
  Tuning tuning;
  tuning.kind = TuningKind::lora;
  tuning.adapter.target_modules = std::move(targets);
  tuning.adapter.modules_to_save = std::move(saved);
  return tuning;
}

Tuning freeze(FreezeOptions options) {
  Tuning tuning;
  tuning.kind = TuningKind::freeze;
  tuning.freeze = std::move(options);
  return tuning;
}

std::set<std::string> trained(const ModelSpec& spec, const Tuning& tuning) {
  std::set<std::string> names;
  for (const TensorLayout& tensor : make_tuned_layout(spec, tuning).tensors) {
    if (tensor.part == PartKind::trainable) names.insert(tensor.name);
  }
  return names;
}

TEST(Tuning, FullIsThePlainLayout) {
  const ModelSpec spec = preset_spec("nano");
  const ModelLayout plain = make_layout(spec), tuned = make_tuned_layout(spec, {});
  ASSERT_EQ(tuned.tensors.size(), plain.tensors.size());
  for (std::size_t i = 0; i < plain.tensors.size(); ++i) EXPECT_EQ(tuned.tensors[i].offset, plain.tensors[i].offset);
}

// Frozen tensors keep the places they had, so that fused products stay one product; A of a fused group is one matrix.
TEST(Tuning, AdaptersLieSideBySideAndTheBaseStaysFused) {
  const ModelSpec spec = preset_spec("nano");
  const ModelLayout plain = make_layout(spec);

  const ModelLayout layout = make_tuned_layout(spec, lora({"q_proj", "k_proj", "v_proj"}));

  for (std::size_t i = 0; i < plain.tensors.size(); ++i) {
    EXPECT_EQ(layout.tensors[i].name, plain.tensors[i].name);
    EXPECT_EQ(layout.tensors[i].offset, plain.tensors[i].offset);
    EXPECT_EQ(layout.tensors[i].part, PartKind::frozen);
  }
  ASSERT_EQ(layout.adapters.size(), static_cast<std::size_t>(3 * spec.num_hidden_layers));
  const auto at = [&](std::int32_t index) { return layout.tensors[static_cast<std::size_t>(index)]; };
  EXPECT_EQ(at(layout.adapters[1].a).offset, at(layout.adapters[0].a).offset + at(layout.adapters[0].a).count);
  EXPECT_EQ(at(layout.adapters[2].a).offset, at(layout.adapters[1].a).offset + at(layout.adapters[1].a).count);
  EXPECT_EQ(at(layout.adapters[0].b).shape, (std::vector<std::int64_t>{at(layout.adapters[0].weight).shape[0], 8}));
  EXPECT_EQ(first_trainable_unit(layout), 1);
  EXPECT_FALSE(trains_matrices(layout));
}

// A and B of a table of rows, and of a matrix that is stored [in, out], have the shapes that PEFT gives them.
TEST(Tuning, AdaptersOfTablesAndOfTransposedMatrices) {
  const ModelSpec spec = parse_model_spec(
      R"({"model_type": "gpt2", "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32, "vocab_size": 29})",
      "here");

  const ModelLayout layout = make_tuned_layout(spec, lora({"wte", "wpe", "c_attn"}));

  const auto shape = [&](const char* name) {
    const std::int32_t at = layout.find(name);
    return at < 0 ? std::vector<std::int64_t>{} : layout.tensors[static_cast<std::size_t>(at)].shape;
  };
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(shape("transformer.wte.lora_embedding_A"), (Shape{8, 29}));
  EXPECT_EQ(shape("transformer.wte.lora_embedding_B"), (Shape{24, 8}));
  EXPECT_EQ(shape("transformer.wpe.lora_embedding_A"), (Shape{8, 32}));
  EXPECT_EQ(shape("transformer.h.1.attn.c_attn.weight"), (Shape{24, 72}));
  EXPECT_EQ(shape("transformer.h.1.attn.c_attn.lora_A.weight"), (Shape{8, 24}));
  EXPECT_EQ(shape("transformer.h.1.attn.c_attn.lora_B.weight"), (Shape{72, 8}));
  EXPECT_EQ(first_trainable_unit(layout), 0);
  EXPECT_TRUE(tuned_spec(spec, lora({"wte"})).tie_word_embeddings) << "the head stays the table without its adapter";
  EXPECT_FALSE(merged_spec(spec, lora({"wte"})).tie_word_embeddings);
  EXPECT_TRUE(merged_spec(spec, lora({"c_attn"})).tie_word_embeddings);
}

TEST(Tuning, AChangedSideOfATiedPairBecomesAMatrixOfItsOwn) {
  ModelSpec spec = preset_spec("nano");
  spec.tie_word_embeddings = true;
  EXPECT_TRUE(tuned_spec(spec, lora({"q_proj"})).tie_word_embeddings);
  EXPECT_TRUE(tuned_spec(spec, lora({"q_proj"}, {"norm"})).tie_word_embeddings);
  for (const auto& tuning : {lora({"q_proj"}, {"embed_tokens"}), lora({"q_proj"}, {"lm_head"}), lora({"lm_head"})}) {
    const ModelSpec tuned = tuned_spec(spec, tuning);
    EXPECT_FALSE(tuned.tie_word_embeddings);
    EXPECT_GE(make_tuned_layout(tuned, tuning).find("lm_head.weight"), 0);
  }
}

TEST(Tuning, NamesThatFitNothingAreErrorsOrToldApart) {
  const ModelSpec spec = preset_spec("nano");
  EXPECT_THROW((void)make_tuned_layout(spec, lora({"query_key_value"})), ConfigError);
  EXPECT_THROW((void)make_tuned_layout(spec, lora({"q_proj"}, {"score"})), ConfigError);
  EXPECT_THROW((void)make_tuned_layout(spec, lora({"o_proj"}, {"k_proj"})), ConfigError) << "k is one product with q";
  const Tuning some = lora({"q_proj", "W_pack"});
  EXPECT_EQ(unmatched_targets(make_tuned_layout(spec, some), some.adapter), std::vector<std::string>{"W_pack"});
}

TEST(Tuning, CountsAreThoseOfPeft) {
  const ModelSpec spec = preset_spec("nano");
  const std::int64_t base = make_layout(spec).parameters;
  const Tuning tuning = lora({"o_proj"}, {"lm_head"});
  const ModelSpec tuned = tuned_spec(spec, tuning);

  const auto counts = count_parameters(spec, make_tuned_layout(tuned, tuning), tuning);

  const std::int64_t q = spec.num_attention_heads * spec.head_dim;
  const std::int64_t adapters = spec.num_hidden_layers * 8 * (q + spec.hidden_size);
  EXPECT_EQ(counts.trainable, adapters + spec.vocab_size * spec.hidden_size);
  EXPECT_EQ(counts.all, base + counts.trainable);
}

TEST(Freeze, ChoosesTheLastOrTheFirstBlocks) {
  const ModelSpec spec = preset_spec("nano");
  const std::string last = fmt::format("model.layers.{}.", spec.num_hidden_layers - 1);
  for (const auto& name : trained(spec, freeze({.freeze_trainable_layers = 1})))
    EXPECT_TRUE(name.starts_with(last)) << name;
  for (const auto& name : trained(spec, freeze({.freeze_trainable_layers = -1})))
    EXPECT_TRUE(name.starts_with("model.layers.0.")) << name;
  EXPECT_EQ(first_trainable_unit(make_tuned_layout(spec, freeze({.freeze_trainable_layers = 1}))),
            spec.num_hidden_layers);
}

TEST(Freeze, ChoosesModulesAndExtraModules) {
  const auto names = trained(preset_spec("nano"), freeze({.freeze_trainable_layers = -1,
                                                          .freeze_trainable_modules = {"mlp"},
                                                          .freeze_extra_modules = {"embed_tokens"}}));
  EXPECT_EQ(names, (std::set<std::string>{"model.embed_tokens.weight", "model.layers.0.mlp.gate_proj.weight",
                                          "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"}));
}

TEST(Freeze, WrongNamesSayWhichThereAre) {
  const ModelSpec spec = preset_spec("nano");
  try {
    (void)make_tuned_layout(spec, freeze({.freeze_trainable_modules = {"attention"}}));
    FAIL() << "no error";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("self_attn"), std::string::npos) << e.what();
  }
  EXPECT_THROW((void)make_tuned_layout(spec, freeze({.freeze_extra_modules = {"mlp"}})), ConfigError);
  EXPECT_THROW((void)make_tuned_layout(spec, freeze({.freeze_trainable_layers = 0})), ConfigError);
}

TEST(Freeze, LlamaProTakesTheLastOfEachRun) {
  EXPECT_EQ(expanded_blocks(8, 2), (std::vector<std::int64_t>{3, 7}));
  EXPECT_EQ(expanded_blocks(4, 4), (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_THROW((void)expanded_blocks(8, 3), ConfigError);
  EXPECT_THROW((void)expanded_blocks(8, 0), ConfigError);
}

}  // namespace
}  // namespace dstrain::tuning_test
