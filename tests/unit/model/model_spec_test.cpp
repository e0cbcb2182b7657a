// SPDX-License-Identifier: Apache-2.0
#include "model/model_spec.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace dstrain::model_spec_test {
namespace {

using Json = nlohmann::json;
using namespace nlohmann::literals;

Json base(const char* model_type = "llama") {
  return {{"model_type", model_type}, {"hidden_size", 48},
          {"intermediate_size", 80},  {"num_hidden_layers", 3},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"vocab_size", 97},         {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-5}};
}

/// `base` with `changes` laid over it.
ModelSpec parse(const Json& changes, const char* model_type = "llama") {
  Json config = base(model_type);
  if (changes.is_object()) config.update(changes);
  return parse_model_spec(config.dump(), "config.json");
}

std::string error_of(const Json& changes, const char* model_type = "llama") {
  try {
    (void)parse(changes, model_type);
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.where(), "config.json");
    return error.what();
  }
  return "no error";
}

TEST(ModelSpec, MissingKeysHaveTransformersDefaults) {
  Json config = base();
  config.erase("num_key_value_heads");
  const auto s = parse_model_spec(config.dump(), "config.json");

  EXPECT_EQ(s.num_key_value_heads, 4);
  EXPECT_EQ(s.head_dim, 12);
  EXPECT_EQ(s.rope.theta, 10000.0);
  EXPECT_EQ(s.rope.kind, RopeKind::none_scaled);
  EXPECT_FALSE(s.tie_word_embeddings);
  EXPECT_FALSE(s.qkv_bias);
  EXPECT_EQ(s.bos_token_id, -1);
  EXPECT_TRUE(s.eos_token_id.empty());
}

TEST(ModelSpec, NullCountsAsAbsent) {
  const auto s = parse({{"head_dim", nullptr}, {"rope_scaling", nullptr}, {"sliding_window", nullptr}}, "mistral");

  EXPECT_EQ(s.head_dim, 12);
  EXPECT_EQ(s.window_of(0), 0);
}

TEST(ModelSpec, BiasesFollowTheFamily) {
  const auto llama = parse({{"attention_bias", true}, {"mlp_bias", true}});
  const auto qwen = parse({}, "qwen2");

  EXPECT_TRUE(llama.qkv_bias && llama.o_bias && llama.mlp_bias);
  EXPECT_TRUE(qwen.qkv_bias);
  EXPECT_FALSE(qwen.o_bias || qwen.mlp_bias);
  EXPECT_GE(make_layout(llama).find("model.layers.2.mlp.down_proj.bias"), 0);
  EXPECT_LT(make_layout(qwen).find("model.layers.2.self_attn.o_proj.bias"), 0);
}

TEST(ModelSpec, WindowsFollowTheFamily) {
  EXPECT_EQ(parse({{"sliding_window", 5}}, "mistral").windows, (std::vector<std::int32_t>{5, 5, 5}));
  EXPECT_EQ(parse({{"sliding_window", 5}}, "qwen2").window_of(2), 0);
  const auto qwen = parse({{"sliding_window", 5}, {"use_sliding_window", true}, {"max_window_layers", 1}}, "qwen2");
  EXPECT_EQ(qwen.windows, (std::vector<std::int32_t>{0, 5, 5}));
}

TEST(ModelSpec, LayerTypesMustAgreeWithTheWindow) {
  const Json window = {{"sliding_window", 5}, {"use_sliding_window", true}, {"max_window_layers", 1}};
  Json agrees = window;
  agrees["layer_types"] = {"full_attention", "sliding_attention", "sliding_attention"};
  Json differs = window;
  differs["layer_types"] = {"sliding_attention", "full_attention", "full_attention"};

  EXPECT_NO_THROW(parse(agrees, "qwen2"));
  EXPECT_NE(error_of(differs, "qwen2").find("layer_types"), std::string::npos);
}

TEST(ModelSpec, AFloatWithoutFractionIsALength) {
  EXPECT_EQ(parse({{"max_position_embeddings", 2048.0}}).max_position_embeddings, 2048);
  EXPECT_NE(error_of({{"max_position_embeddings", 2048.5}}).find("max_position_embeddings"), std::string::npos);
}

TEST(ModelSpec, EosMayBeOneOrMany) {
  EXPECT_EQ(parse({{"eos_token_id", 2}}).eos_token_id, std::vector<std::int64_t>{2});
  EXPECT_EQ(parse({{"eos_token_id", {2, 5}}}).eos_token_id, (std::vector<std::int64_t>{2, 5}));
}

TEST(ModelSpec, RopeScalingHasTwoSpellings) {
  const Json scaling = {
      {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 32}};
  Json older = scaling;
  older["type"] = "llama3";
  Json newer = scaling;
  newer["rope_type"] = "llama3";
  newer["rope_theta"] = 5e5;
  const auto a = parse({{"rope_scaling", older}, {"rope_theta", 5e5}});
  const auto b = parse({{"rope_parameters", newer}});

  EXPECT_EQ(a.rope.kind, RopeKind::llama3);
  EXPECT_EQ(a.rope.factor, 8.0);
  EXPECT_EQ(rope_frequencies(a, 64).inv_freq, rope_frequencies(b, 64).inv_freq);
}

TEST(ModelSpec, WhatCannotBeComputedIsRefusedByName) {
  const std::vector<std::pair<Json, std::string>> refused = {
      {{{"model_type", "qwen3_moe"}}, "model_type \"qwen3_moe\" is not supported (a mixture of experts)"},
      {{{"model_type", "t5"}}, "model_type \"t5\" is not supported"},
      {{{"model_type", nullptr}}, "model_type is missing"},
      {{{"num_local_experts", 8}}, "num_local_experts asks for a mixture of experts"},
      {{{"hidden_act", "mish"}}, "hidden_act is \"mish\""},
      {{{"attention_dropout", 1.5}}, "attention_dropout is 1.5"},
      {{{"quantization_config", Json::object()}}, "quantization_config"},
      {{{"rope_scaling", {{"rope_type", "sinusoidal"}, {"factor", 2.0}}}}, "rope_scaling.rope_type \"sinusoidal\""},
      {{{"rope_scaling", {{"rope_type", "linear"}}}}, "rope_scaling.factor is missing"},
      {{{"rope_scaling", "linear"}}, "rope_scaling."},
      {{{"partial_rotary_factor", 0.1}}, "partial_rotary_factor makes 1"},
      {{{"num_key_value_heads", 3}}, "num_key_value_heads 3 does not divide num_attention_heads 4"},
      {{{"hidden_size", 50}}, "num_attention_heads 4 does not divide hidden_size 50"},
      {{{"head_dim", 7}}, "head_dim 7"},
      {{{"head_dim", 512}}, "head_dim is 512"},
      {{{"vocab_size", -1}}, "vocab_size is -1"},
      {{{"vocab_size", 1e300}}, "vocab_size is 1e+300"},
      {{{"vocab_size", "many"}}, "vocab_size is \"many\""},
      {{{"num_hidden_layers", 18446744073709551615ULL}}, "num_hidden_layers"},
      {{{"hidden_size", 2000000000}, {"head_dim", 12}, {"vocab_size", 1000}}, "10^12"},
      {{{"tie_word_embeddings", 1}}, "tie_word_embeddings is 1; true or false"},
  };
  for (const auto& [changes, message] : refused) {
    EXPECT_NE(error_of(changes).find(message), std::string::npos) << changes << " gave: " << error_of(changes);
  }
}

TEST(ModelSpec, FamiliesRefuseWhatTheyDoNotCompute) {
  const Json chatglm = {{"model_type", "chatglm"},   {"num_layers", 2},   {"hidden_size", 48},
                        {"ffn_hidden_size", 80},     {"kv_channels", 16}, {"num_attention_heads", 4},
                        {"padded_vocab_size", 97},   {"seq_length", 64},  {"multi_query_attention", true},
                        {"multi_query_group_num", 2}};
  const Json baichuan = {{"model_type", "baichuan"}, {"num_key_value_heads", nullptr}};
  const std::vector<std::pair<Json, std::string>> refused = {
      {Json(chatglm).patch(R"([{"op": "remove", "path": "/padded_vocab_size"}])"_json), "first generation"},
      {Json(chatglm).patch(R"([{"op": "add", "path": "/quantization_bit", "value": 4}])"_json), "quantization_bit"},
      {Json(chatglm).patch(R"([{"op": "add", "path": "/pre_seq_len", "value": 128}])"_json), "pre_seq_len"},
      {Json(chatglm).patch(R"([{"op": "replace", "path": "/multi_query_group_num", "value": 3}])"_json),
       "does not divide"},
      {Json(baichuan).patch(R"([{"op": "add", "path": "/z_loss_weight", "value": 0.1}])"_json), "z_loss_weight"},
      {{{"model_type", "stablelm"}, {"partial_rotary_factor", 0.5}, {"use_parallel_residual", true}},
       "use_parallel_residual"},
      {{{"model_type", "gemma2"}, {"layer_types", {"x", "x", "x"}}}, "layer_types"},
      {{{"model_type", "phi3"},
        {"rope_scaling", {{"type", "longrope"}, {"short_factor", {1.0}}, {"long_factor", {1.0}}}},
        {"original_max_position_embeddings", 16}},
       "short_factor has 1 numbers, and 6 pairs"},
      {{{"model_type", "mixtral"}}, "a mixture of experts"},
      {{{"model_type", "deepseek_v3"}, {"n_routed_experts", 256}}, "a mixture of experts"},
      {{{"num_local_experts", 8}}, "a mixture of experts"},
  };
  for (const auto& [changes, message] : refused) {
    EXPECT_NE(error_of(changes).find(message), std::string::npos) << changes << " gave: " << error_of(changes);
  }
  EXPECT_EQ(parse(chatglm).rope.rotary_dim, 8);
}

TEST(ModelSpec, MissingKeysMeanWhatTheFamilySays) {
  const Json gpt2 = {{"model_type", "gpt2"}, {"n_embd", 48}, {"n_layer", 2}, {"n_head", 4}, {"n_positions", 64}};

  EXPECT_EQ(parse(gpt2).dropout.attention, 0.1);
  EXPECT_EQ(parse(gpt2).intermediate_size, 4 * 48);
  EXPECT_TRUE(parse(gpt2).tie_word_embeddings);
  EXPECT_EQ(parse({{"model_type", "gemma"}}).head_dim, 256);
  EXPECT_EQ(parse({{"model_type", "gemma2"}}).logit_softcap, 30.0);
  EXPECT_EQ(parse({{"model_type", "gemma2"}, {"final_logit_softcapping", nullptr}}).logit_softcap, 0.0);
  EXPECT_EQ(parse({{"model_type", "gemma2"}}).windows, (std::vector<std::int32_t>{4096, 0, 4096}));
  EXPECT_TRUE(parse({{"model_type", "baichuan"}}).normalised_head);
  EXPECT_FALSE(parse({{"model_type", "baichuan"}, {"vocab_size", 64000}}).normalised_head);
  EXPECT_EQ(
      parse({{"model_type", "baichuan"}, {"max_position_embeddings", nullptr}, {"model_max_length", 64}}).positions,
      PositionKind::alibi);
}

TEST(ModelSpec, EveryMissingSizeIsNamed) {
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"}) {
    EXPECT_EQ(error_of({{key, nullptr}}), std::string(key) + " is missing");
  }
}

TEST(ModelSpec, WhatIsNoJsonObjectIsRefused) {
  for (const char* text : {"", "{", "[]", "3", "{\"model_type\": \"llama\",}", "\xff\xfe"}) {
    EXPECT_THROW((void)parse_model_spec(text, "config.json"), ConfigError) << text;
  }
}

TEST(Presets, HaveThePublishedNumberOfParameters) {
  const std::vector<std::pair<const char*, std::int64_t>> published = {
      {"15m", 15'191'712},   {"110m", 109'529'856}, {"0.5b", 494'032'768}, {"1.5b", 1'543'714'304},
      {"1b", 1'235'814'400}, {"7b", 6'738'415'616}, {"8b", 8'030'261'248}, {"70b", 70'553'706'496},
  };
  for (const auto& [name, parameters] : published)
    EXPECT_EQ(make_layout(preset_spec(name)).parameters, parameters) << name;
  EXPECT_LT(make_layout(preset_spec("nano")).parameters, 300'000);
}

TEST(Presets, AnUnknownNameListsThem) {
  try {
    (void)preset_spec("13b");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(error.hint().find("nano, 15m, 110m, 0.5b, 1.5b, 1b, 7b, 8b, 70b"), std::string::npos);
  }
}

TEST(Flops, CountTheHeadOnce) {
  const auto tied = preset_spec("15m");
  const auto untied = preset_spec("7b");

  EXPECT_DOUBLE_EQ(flops_per_token(tied, make_layout(tied), 256), 6.0 * 15'191'712 + 12.0 * 6 * 288 * 256);
  EXPECT_DOUBLE_EQ(flops_per_token(untied, make_layout(untied), 0), 6.0 * (6'738'415'616 - 32000LL * 4096));
}

}  // namespace
}  // namespace dstrain::model_spec_test
