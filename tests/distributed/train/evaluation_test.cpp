// SPDX-License-Identifier: Apache-2.0
/// Evaluation and prediction on several ranks against the same arithmetic row by row on one.
#include "train/evaluation.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "comm/local_communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "data/token_store.hpp"
#include "model/model_spec.hpp"
#include "train/predictions.hpp"

namespace dstrain::evaluation_test {
namespace {

const std::string some_digest(32, '0');

/// 11 rows of 5 to 25 tokens; labels start in the middle. With `packed` each row is two samples that do not see each
/// other. Row 4 has no label at all.
std::unique_ptr<TokenStore> some_rows(bool packed) {
  TokenStoreContent content;
  content.facts.vocab_size = 300;
  content.facts.separate_samples = packed;
  content.facts.padded_row_len = packed ? 32 : 0;
  for (int r = 0; r < 11; ++r) {
    EncodedRow row;
    const int length = 5 + 2 * r;
    for (int i = 0; i < length; ++i) {
      row.input_ids.push_back((31 * i + 17 * r + 3) % 300);
      row.labels.push_back(r == 4 || i < length / 2 ? -100 : row.input_ids.back());
    }
    if (packed) row.sample_lens = {length / 2, length - length / 2};
    content.encoded.rows.push_back(std::move(row));
  }
  return TokenStore::from_image(TokenStore::make_image(content, some_digest), some_digest);
}

FeederOptions options_of(int batch, int virtual_ranks, int accumulation) {
  FeederOptions options;
  options.plan = {.per_device_train_batch_size = batch,
                  .gradient_accumulation_steps = accumulation,
                  .virtual_ranks = virtual_ranks,
                  .num_train_epochs = 1.0,
                  .disable_shuffling = true};
  options.evaluation = true;
  return options;
}

/// An engine with room for the evaluation of `feeder`.
std::unique_ptr<Engine> engine_for(Communicator& comm, const Feeder& feeder, int stage, bool train) {
  EngineOptions options;
  options.zero_stage = stage;
  options.train = train;
  options.max_tokens = 64;
  options.max_position = 64;
  options.max_eval_tokens = feeder.limits().padded_tokens;
  options.eval_predictions = true;
  options.client_bytes = 4 * Evaluation::storage_count(feeder, comm.size(), true);
  options.max_prompts = 2;
  options.max_answer_length = 40;
  return Engine::initialize(comm, preset_spec("nano"), options, {});
}

struct RowResult {
  double nll_sum = 0.0, targets = 0.0, hits = 0.0;
};

/// Every row alone, on this rank.
std::vector<RowResult> row_by_row(const RowSource& rows) {
  LocalCommunicator self;
  Feeder feeder(self, &rows, options_of(1, 1, 1));
  const auto engine = engine_for(self, feeder, 0, false);
  feeder.bind(View(engine->client_memory(), feeder.storage_count(), DType::i32));
  std::vector<RowResult> results;
  for (std::int64_t step = 0; step < rows.info().rows; ++step) {
    feeder.next(step);
    const MicroBatch batch = feeder.micro_batch(0);
    const BatchEvaluation result = engine->evaluate_batch(batch);
    RowResult row{result.nll_sum, static_cast<double>(result.targets), 0.0};
    for (std::size_t t = 0; t < result.predicted.size(); ++t) {
      if (batch.targets[t] >= 0 && batch.targets[t] == result.predicted[t]) row.hits += 1.0;
    }
    results.push_back(row);
  }
  return results;
}

/// transformers' evaluation loop over those rows: batch k holds rows [k * batch, ...), the last batches are filled up
/// from the first rows where there is more than one virtual rank.
EvaluationResult expected_result(const std::vector<RowResult>& rows, int batch, int virtual_ranks, BatchWeight rule) {
  const auto count = static_cast<int>(rows.size());
  const int groups = (count + batch * virtual_ranks - 1) / (batch * virtual_ranks);
  const int places = virtual_ranks > 1 ? groups * virtual_ranks * batch : count;
  double loss = 0.0, weight = 0.0, accuracy = 0.0, accuracy_rows = 0.0;
  for (int begin = 0; begin < places; begin += batch) {
    double nll = 0.0, targets = 0.0;
    int counted = 0;
    for (int place = begin; place < std::min(begin + batch, places); ++place) {
      const auto& row = rows[static_cast<std::size_t>(place % count)];
      nll += row.nll_sum;
      targets += row.targets;
      if (place >= count && rule == BatchWeight::rows) continue;
      ++counted;
      if (row.targets == 0.0) continue;
      accuracy += row.hits / row.targets;
      accuracy_rows += 1.0;
    }
    if (targets == 0.0) continue;
    const double batch_weight = rule == BatchWeight::rows ? counted : 1.0;
    loss += batch_weight * nll / targets;
    weight += batch_weight;
  }
  return {.loss = loss / weight, .accuracy = accuracy / accuracy_rows};
}

struct Case {
  int stage, batch, virtual_ranks;
  bool packed, train;
  BatchWeight rule;
};

class EvaluationTest : public testing::TestWithParam<Case> {};

TEST_P(EvaluationTest, IsTheMeanOverRowsOfTheirBatchsMean) {
  const auto c = GetParam();
  const auto comm = make_world_communicator();
  const auto rows = some_rows(c.packed);
  const auto alone = row_by_row(*rows);
  const int accumulation = (comm->size() + c.virtual_ranks - 1) / c.virtual_ranks;
  Feeder feeder(*comm, rows.get(), options_of(c.batch, c.virtual_ranks, accumulation));
  const auto engine = engine_for(*comm, feeder, c.stage, c.train);
  Evaluation evaluation(*comm, feeder, rows.get(), c.rule, true);
  evaluation.bind(View(engine->client_memory(), evaluation.storage_count(), DType::i32));

  const auto result = evaluation.run(*engine);
  const auto again = evaluation.run(*engine);

  const auto expected = expected_result(alone, c.batch, c.virtual_ranks, c.rule);
  EXPECT_NEAR(result.loss, expected.loss, 1e-5 * expected.loss);
  EXPECT_NEAR(result.accuracy.value_or(-1.0), *expected.accuracy, 1e-12);
  EXPECT_EQ(result.rows, 11);
  EXPECT_EQ(again.loss, result.loss);
  const auto metrics = result.metrics("other");
  EXPECT_EQ(metrics.at("eval_other_loss"), result.loss);
  EXPECT_TRUE(metrics.contains("eval_other_samples_per_second"));
}

constexpr auto by_rows = BatchWeight::rows, equal = BatchWeight::equal;
INSTANTIATE_TEST_SUITE_P(Cases, EvaluationTest,
                         testing::Values(Case{0, 4, 1, false, false, by_rows}, Case{0, 4, 1, false, true, equal},
                                         Case{0, 3, 2, false, true, equal}, Case{1, 5, 3, true, true, by_rows},
                                         Case{2, 1, 1, false, true, by_rows}, Case{3, 4, 1, false, true, equal},
                                         Case{3, 2, 4, true, false, by_rows}, Case{3, 2, 4, true, true, equal}));

TEST(EvaluationErrors, RowsWithoutAnyTargetAreAnErrorOnAllRanks) {
  const auto comm = make_world_communicator();
  TokenStoreContent content;
  content.facts.vocab_size = 300;
  content.encoded.rows.push_back({{1, 2, 3}, {-100, -100, -100}, {}});
  const auto rows = TokenStore::from_image(TokenStore::make_image(content, some_digest), some_digest);
  Feeder feeder(*comm, rows.get(), options_of(2, 1, 1));
  const auto engine = engine_for(*comm, feeder, 0, false);
  Evaluation evaluation(*comm, feeder, rows.get(), BatchWeight::rows, true);
  evaluation.bind(View(engine->client_memory(), evaluation.storage_count(), DType::i32));

  EXPECT_THROW(evaluation.run(*engine), Error);
}

// Ranks with more and with fewer prompts, answers of different length: at stage 3 all go through every layer together.
TEST(AnswerPrompts, GivesTheAnswersOfOneRankAtEveryStage) {
  const auto comm = make_world_communicator();
  const auto rows = some_rows(false);
  TokenRows prompts;
  for (int r = 0; r < 7; ++r) {
    prompts.emplace_back();
    for (int i = 0; i < 3 + 4 * (r % 3); ++i) prompts.back().push_back((13 * i + 5 * r) % 300);
  }
  for (const bool do_sample : {false, true}) {
    SamplingOptions sampling;
    sampling.do_sample = do_sample;
    sampling.max_new_tokens = 12;
    sampling.stop_ids = {7, 8, 9, 10, 11, 12};
    LocalCommunicator self;
    Feeder local(self, rows.get(), options_of(1, 1, 1));
    const auto reference = engine_for(self, local, 0, false);
    const auto expected = answer_prompts(self, *reference, prompts, 2, sampling);
    ASSERT_EQ(expected.size(), prompts.size());
    for (const int stage : {0, 2, 3}) {
      Feeder feeder(*comm, rows.get(), options_of(1, 1, 1));
      const auto engine = engine_for(*comm, feeder, stage, stage == 3);

      const auto answers = answer_prompts(*comm, *engine, comm->rank() == 0 ? prompts : TokenRows{}, 2, sampling);

      if (comm->rank() == 0) {
        EXPECT_EQ(answers, expected) << "stage " << stage;
      } else {
        EXPECT_TRUE(answers.empty());
      }
    }
  }
}

}  // namespace
}  // namespace dstrain::evaluation_test
