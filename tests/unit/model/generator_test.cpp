// SPDX-License-Identifier: Apache-2.0
/// Generation with kept keys and values against transformers' generate() and against the decoder without any.
#include "model/generator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "support/token_rows.hpp"
#include "unit/model/model_under_test.hpp"

namespace dstrain::generator_test {
namespace {

using Ids = std::vector<std::int32_t>;

struct Setup {
  std::unique_ptr<test::ModelUnderTest> model;
  std::unique_ptr<Arena> arena;
  std::unique_ptr<Generator> generator;

  std::vector<Generated> answer(const std::vector<Ids>& prompts, const SamplingOptions& sampling) {
    return generator->generate(*model->store, prompts, sampling);
  }
};

Setup set_up(std::unique_ptr<test::ModelUnderTest> model, GeneratorOptions options) {
  Setup s;
  options.threads = max_threads();
  s.model = std::move(model);
  MemoryPlan plan;
  auto buffers = plan_generator(plan, s.model->spec, options);
  plan.finalize();
  s.arena = std::make_unique<Arena>(std::move(plan));
  s.generator =
      std::make_unique<Generator>(s.model->spec, s.model->layout, options, *s.arena, std::move(buffers), Device{});
  return s;
}

DecoderOptions decoder_options(std::int64_t tokens) {
  DecoderOptions o;
  o.train = false;
  o.max_tokens = token_class(tokens);
  return o;
}

SamplingOptions greedy(std::int64_t tokens, double penalty = 1.0) {
  SamplingOptions s;
  s.do_sample = false;
  s.max_new_tokens = tokens;
  s.repetition_penalty = penalty;
  return s;
}

Ids long_prompt(std::int64_t length) {
  Ids ids;
  for (std::int64_t i = 0; i < length; ++i) ids.push_back(static_cast<std::int32_t>((i * i * 7 + i * 3 + 1) % 97));
  return ids;
}

TEST(Generator, AnswersGreedilyAsTransformersDoes) {
  const std::filesystem::path oracle = std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests" / "oracle";
  std::ifstream file(oracle / "generation.json");
  const auto expected = nlohmann::json::parse(file);
  ASSERT_GE(expected["cases"].size(), 12U);
  for (const auto& c : expected["cases"]) {
    auto s = set_up(test::load_model(oracle / "tiny-models" / c["model"].get<std::string>(), decoder_options(64)),
                    {.max_length = 60});
    SamplingOptions sampling = greedy(30, c["repetition_penalty"].get<double>());
    sampling.stop_ids = {2};
    const auto answers = s.answer({c["prompt"].get<Ids>()}, sampling);
    Ids answer = c["answer"].get<Ids>();
    const bool stopped = answer.back() == 2;
    if (stopped) answer.pop_back();

    EXPECT_EQ(answers.at(0).ids, answer) << c["model"] << c["prompt"];
    EXPECT_EQ(answers[0].stopped, stopped);
  }
}

TEST(Generator, SeesWhatTheDecoderSees) {
  // A prompt longer than a piece, so that later pieces look back at kept keys; every choice is checked against a full
  // pass.
  const Ids prompt = long_prompt(150);
  auto s = set_up(test::random_model(test::small_spec(true, true), decoder_options(192)),
                  {.max_length = 192, .prompt_rows = 64});
  const auto answers = s.answer({prompt}, greedy(20));

  Ids whole = prompt;
  whole.insert(whole.end(), answers.at(0).ids.begin(), answers[0].ids.end());
  const test::PackedRows packed(std::span(&whole, 1), 1.0F);
  std::vector<float> logits(whole.size() * 97);
  s.model->decoder->logits(*s.model->store, packed.batch(), 0, static_cast<std::int64_t>(whole.size()), logits.data());
  ASSERT_EQ(answers[0].ids.size(), 20U);
  for (std::size_t t = prompt.size(); t < whole.size(); ++t) {
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>((t - 1) * 97);
    EXPECT_EQ(std::max_element(row, row + 97) - row, whole[t]) << t;
  }
}

TEST(Generator, PromptsAreAnsweredAsIfAlone) {
  const std::vector<Ids> prompts = {long_prompt(9), long_prompt(70), {5}};
  auto together = set_up(test::random_model(test::small_spec(false, false), decoder_options(64)),
                         {.max_sequences = 3, .max_length = 100});
  SamplingOptions sampling = greedy(25);
  const auto answers = together.answer(prompts, sampling);

  for (std::size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(together.answer({prompts[i]}, sampling)[0].ids, answers[i].ids) << i;
  }
}

TEST(Generator, StopTokensEndTheirAnswerOnly) {
  const std::vector<Ids> prompts = {long_prompt(9), long_prompt(12)};
  auto s = set_up(test::random_model(test::small_spec(false, false), decoder_options(64)),
                  {.max_sequences = 2, .max_length = 100});
  SamplingOptions sampling = greedy(25);
  const auto free = s.answer(prompts, sampling);
  sampling.stop_ids = {free[0].ids[3]};
  const auto stopped = s.answer(prompts, sampling);
  const auto first = std::find(free[0].ids.begin(), free[0].ids.end(), sampling.stop_ids[0]);
  const auto second = std::find(free[1].ids.begin(), free[1].ids.end(), sampling.stop_ids[0]);

  EXPECT_TRUE(stopped[0].stopped);
  EXPECT_EQ(stopped[0].ids, Ids(free[0].ids.begin(), first));
  EXPECT_EQ(stopped[1].ids, Ids(free[1].ids.begin(), second));
}

TEST(Generator, DrawsDependOnSeedAndPromptNumberAlone) {
  auto s = set_up(test::random_model(test::small_spec(false, false), decoder_options(64)),
                  {.max_sequences = 2, .max_length = 64});
  SamplingOptions sampling;
  sampling.max_new_tokens = 20;
  sampling.temperature = 2.0;
  sampling.top_p = 1.0;
  const auto once = s.answer({{1, 2, 3}, {1, 2, 3}}, sampling);
  const auto again = s.answer({{1, 2, 3}, {1, 2, 3}}, sampling);
  sampling.seed = 43;
  const auto other = s.answer({{1, 2, 3}, {1, 2, 3}}, sampling);

  EXPECT_EQ(once[0].ids, again[0].ids);
  EXPECT_EQ(once[1].ids, again[1].ids);
  EXPECT_NE(once[0].ids, once[1].ids);
  EXPECT_NE(once[0].ids, other[0].ids);
}

TEST(Generator, LengthsEndAnAnswerAndTokensAreReported) {
  auto s = set_up(test::random_model(test::small_spec(false, false), decoder_options(64)), {.max_length = 20});
  Ids seen;
  const std::vector<Ids> prompts = {long_prompt(15)};
  const auto answers =
      s.generator->generate(*s.model->store, prompts, greedy(100), [&](std::size_t prompt, std::int32_t id) {
        EXPECT_EQ(prompt, 0U);
        seen.push_back(id);
      });

  EXPECT_EQ(answers[0].ids.size(), 5U);
  EXPECT_EQ(seen, answers[0].ids);
  EXPECT_TRUE(s.model->store->at_rest());
}

TEST(Generator, PromptsThatCannotBeAnsweredAreRefused) {
  auto s = set_up(test::random_model(test::small_spec(false, false), decoder_options(64)), {.max_length = 20});

  EXPECT_THROW(s.answer({{}}, greedy(1)), ConfigError);
  EXPECT_THROW(s.answer({long_prompt(20)}, greedy(1)), ConfigError);
  EXPECT_THROW(s.answer({{97}}, greedy(1)), ConfigError);
  EXPECT_THROW(s.answer({{1}, {2}}, greedy(1)), Error);
}

}  // namespace
}  // namespace dstrain::generator_test
