// SPDX-License-Identifier: Apache-2.0
/// The decoder without a backward pass, what its plan holds, and batches that do not fit into it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "unit/model/decoder_test_support.hpp"

namespace dstrain::decoder_sizes_test {
namespace {

using test::gradients;
using test::make_row;
using test::options_for;
using test::Row;
using test::run;

TEST(Decoder, LogitsAgreeWithTheLoss) {
  const std::vector<Row> rows = {make_row(30, 1), make_row(21, 2)};
  const test::PackedRows packed(rows, 0.02F);
  const auto m = test::random_model(test::small_spec(true, false), options_for(64));
  const MicroBatch batch = packed.batch();
  run(*m, batch);
  std::vector<float> nll(m->decoder->nll(), m->decoder->nll() + batch.tokens);
  constexpr std::int64_t begin = 7;
  std::vector<float> logits(static_cast<std::size_t>(40 * 97));
  m->decoder->logits(*m->store, batch, begin, 40, logits.data());

  for (std::int64_t t = begin; t < begin + 40; ++t) {
    const float* row = logits.data() + (t - begin) * 97;
    const std::int32_t target = batch.targets[static_cast<std::size_t>(t)];
    double sum = 0.0;
    for (int v = 0; v < 97; ++v) sum += std::exp(static_cast<double>(row[v]));
    const double expected = target < 0 ? 0.0 : std::log(sum) - row[target];
    EXPECT_NEAR(nll[static_cast<std::size_t>(t)], expected, 1e-4) << t;
  }
}

TEST(Decoder, WithoutBackwardTheLossIsTheSameAndTheMemoryLess) {
  const std::vector<Row> rows = {make_row(50, 1)};
  const test::PackedRows packed(rows, 0.02F);
  DecoderOptions forward_only = options_for(64);
  forward_only.train = false;
  const auto small = test::random_model(test::small_spec(false, true), forward_only);
  const auto full = test::random_model(test::small_spec(false, true), options_for(64));

  EXPECT_EQ(small->decoder->forward(*small->store, packed.batch(), false).loss, run(*full, packed.batch()).loss);
  EXPECT_LT(small->arena->plan().arena_bytes(), full->arena->plan().arena_bytes());
  EXPECT_THROW(small->decoder->forward(*small->store, packed.batch(), true), Error);
}

TEST(Decoder, EvaluationTakesLargerBatchesThanTrainingInOneLayersMemory) {
  const std::vector<Row> rows = {make_row(90, 1), make_row(60, 2)};
  const test::PackedRows large(rows, 0.01F);
  const test::PackedRows small(std::span(&rows[1], 1), 0.01F);
  for (const bool checkpointing : {true, false}) {
    DecoderOptions options = options_for(64, checkpointing);
    options.max_forward_tokens = 192;
    options.predictions = true;
    const auto m = test::random_model(test::small_spec(true, true), options);
    const auto whole = test::random_model(test::small_spec(true, true), options_for(192, checkpointing));
    const double trained = run(*m, small.batch()).loss;
    const auto expected_gradients = gradients(*m);

    const ForwardResult result = m->decoder->forward(*m->store, large.batch(), false);
    const std::vector<float> nll(m->decoder->nll(), m->decoder->nll() + 150);
    const std::vector<std::int32_t> predicted(m->decoder->predicted(), m->decoder->predicted() + 150);

    EXPECT_EQ(result.loss, run(*whole, large.batch()).loss);
    EXPECT_TRUE(std::equal(nll.begin(), nll.end(), whole->decoder->nll()));
    std::vector<float> logits(static_cast<std::size_t>(150 * 97));
    whole->decoder->logits(*whole->store, large.batch(), 0, 150, logits.data());
    for (std::size_t t = 0; t < 150; ++t) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>(97 * t);
      const auto likeliest = static_cast<std::int32_t>(std::max_element(row, row + 97) - row);
      EXPECT_EQ(predicted[t], t == 89 || t == 149 ? -1 : likeliest) << t;
    }
    EXPECT_EQ(run(*m, small.batch()).loss, trained);
    EXPECT_EQ(gradients(*m), expected_gradients);
    EXPECT_THROW(m->decoder->forward(*m->store, large.batch(), true), ShapeError);
    EXPECT_LT(m->arena->plan().arena_bytes(), whole->arena->plan().arena_bytes());
  }
}

TEST(Decoder, ABatchThatDoesNotFitIsRefusedBeforeAnyCall) {
  const std::vector<Row> rows = {make_row(50, 1)};
  const test::PackedRows packed(rows, 0.02F);
  const auto m = test::random_model(test::small_spec(false, false), options_for(64));
  const auto expect_refused = [&](const MicroBatch& batch) {
    m->store->forget_calls();
    EXPECT_THROW(m->decoder->forward(*m->store, batch, false), Error);
    EXPECT_TRUE(m->store->calls().empty());
  };
  std::vector<std::int32_t> bad(64, 0);
  MicroBatch batch = packed.batch();

  bad[3] = 97;
  batch.input_ids = bad;
  expect_refused(batch);
  bad[3] = -1;
  expect_refused(batch);
  batch = packed.batch();
  bad[3] = 64;
  batch.position_ids = bad;
  expect_refused(batch);
  batch = packed.batch();
  bad[3] = 97;
  batch.targets = bad;
  expect_refused(batch);
  batch = packed.batch();
  batch.padded_tokens = 128;
  expect_refused(batch);
  batch = packed.batch();
  batch.max_seqlen = 49;
  expect_refused(batch);
  batch = packed.batch();
  batch.weights = batch.weights.first(63);
  expect_refused(batch);
}

TEST(DecoderPlan, CheckpointingKeepsBlockInputsOnly) {
  const ModelSpec spec = preset_spec("15m");
  const auto planned = [&](bool checkpointing) {
    MemoryPlan plan;
    (void)plan_decoder(plan, spec, options_for(1024, checkpointing));
    std::int64_t bytes = 0;
    for (const PlannedBuffer& b : plan.buffers()) {
      if (b.name == "activations/block_inputs") {
        EXPECT_EQ(b.count, 6 * 1024 * 288);
      }
      if (b.name == "activations/logits_chunk") {
        EXPECT_LE(b.bytes(), 64 << 20);
      }
      if (b.name.starts_with("activations/") && b.name.find("rope") == std::string::npos) bytes += b.bytes();
    }
    return bytes;
  };
  // Per layer: middle (288), q k v (864), attention (288), gate and up (1536), lse (6), two rstd; 5 layers more.
  EXPECT_EQ(planned(false) - planned(true), std::int64_t{5} * 1024 * 4 * (288 + 864 + 288 + 1536 + 6 + 2));
}

TEST(DecoderPlan, SizesThatAreNoTokenClassAreRefused) {
  MemoryPlan plan;
  DecoderOptions options = options_for(64);
  options.max_tokens = 100;
  EXPECT_THROW((void)plan_decoder(plan, preset_spec("nano"), options), Error);
  options.max_tokens = 128;
  options.dtype = DType::i32;
  EXPECT_THROW((void)plan_decoder(plan, preset_spec("nano"), options), ConfigError);
}

}  // namespace
}  // namespace dstrain::decoder_sizes_test
