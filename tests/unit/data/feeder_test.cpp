// SPDX-License-Identifier: Apache-2.0
/// Micro-batches on one rank: arrays, weights, limits. Many ranks: tests/distributed/data.
#include "data/feeder.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "comm/local_communicator.hpp"
#include "core/error.hpp"
#include "data/token_store.hpp"

namespace dstrain::test {
namespace {

using Ints = std::vector<std::int32_t>;
const std::string some_digest(32, '0');

Ints copy(std::span<const std::int32_t> values) { return {values.begin(), values.end()}; }

std::unique_ptr<TokenStore> store_of(std::vector<EncodedRow> rows, bool separate, std::int32_t padded_row_len) {
  TokenStoreContent content;
  content.encoded.rows = std::move(rows);
  content.facts.vocab_size = 100;
  content.facts.separate_samples = separate;
  content.facts.padded_row_len = padded_row_len;
  return TokenStore::from_image(TokenStore::make_image(content, some_digest), some_digest);
}

/// A feeder with its memory, on one rank.
struct Fed {
  Fed(const RowSource& rows, FeederOptions options) : feeder(comm, &rows, options) {
    storage.resize(static_cast<std::size_t>(feeder.storage_count() + 1) / 2);
    feeder.bind(View(storage.data(), 2 * std::ssize(storage), DType::i32));
  }
  LocalCommunicator comm;
  Feeder feeder;
  std::vector<std::int64_t> storage;
};

// ignore_pad_token_for_loss: false: what transformers pads rows with counts, and nobody sees it.
TEST(MicroBatch, HoldsPadsThatCount) {
  const auto rows = store_of({{{5, 6, 7}, {-100, 6, 7}, {}}, {{8, 9}, {8, 9}, {}}}, false, 0);
  FeederOptions options;
  options.plan = {.per_device_train_batch_size = 2, .num_train_epochs = 1, .disable_shuffling = true};
  options.padding = {.multiple_of = 4, .counted_id = 2};
  Fed fed(*rows, options);

  const StepInfo info = fed.feeder.next(0);
  const MicroBatch batch = fed.feeder.micro_batch(0);

  EXPECT_EQ(info.labels, 4 + 3);
  EXPECT_EQ(batch.tokens, 8);
  EXPECT_EQ(copy(batch.input_ids.first(9)), (Ints{5, 6, 7, 2, 8, 9, 2, 2, 0}));
  EXPECT_EQ(copy(batch.position_ids.first(9)), (Ints{0, 1, 2, 3, 0, 1, 2, 3, 0}));
  EXPECT_EQ(copy(batch.targets.first(9)), (Ints{6, 7, 2, -1, 9, 2, 2, -1, -1}));
  EXPECT_EQ(copy(batch.cu_seqlens), (Ints{0, 4, 8}));
  EXPECT_EQ(copy(batch.key_lens), (Ints{3, 2}));
  EXPECT_EQ(batch.max_seqlen, 4);
  EXPECT_FLOAT_EQ(batch.weights[2], 1.0F / 7.0F);
  EXPECT_GE(fed.feeder.limits().tokens, 8);
  EXPECT_EQ(fed.feeder.limits().seqlen, 4);
}

// Two rows of different kind, by hand: targets are shifted inside a row, the last token of a row has none.
TEST(MicroBatch, HoldsTheRowsOneAfterTheOther) {
  const auto rows = store_of({{{5, 6, 7}, {-100, 6, 7}, {}}, {{8, 9}, {8, 9}, {}}}, false, 0);
  FeederOptions options;
  options.plan = {.per_device_train_batch_size = 2, .num_train_epochs = 1, .disable_shuffling = true};
  Fed fed(*rows, options);

  const StepInfo info = fed.feeder.next(0);
  const MicroBatch batch = fed.feeder.micro_batch(0);

  EXPECT_EQ(info.labels, 4);
  EXPECT_EQ(info.tokens, 5);
  EXPECT_EQ(info.padded_tokens, 16);  // two rows padded to 8
  EXPECT_DOUBLE_EQ(info.epoch, 1.0);
  EXPECT_EQ(batch.tokens, 5);
  EXPECT_EQ(batch.padded_tokens, 64);
  EXPECT_EQ(copy(batch.input_ids.first(6)), (Ints{5, 6, 7, 8, 9, 0}));
  EXPECT_EQ(copy(batch.position_ids.first(6)), (Ints{0, 1, 2, 0, 1, 0}));
  EXPECT_EQ(copy(batch.targets.first(6)), (Ints{6, 7, -1, 9, -1, -1}));
  EXPECT_EQ(copy(batch.cu_seqlens), (Ints{0, 3, 5}));
  EXPECT_EQ(batch.max_seqlen, 3);
  EXPECT_EQ(batch.padded_len, 8);
  EXPECT_EQ(batch.rows, 2);
  EXPECT_EQ(batch.weights[0], 0.25F);  // the label at place 0 of the second row counts, though nothing predicts it
  EXPECT_EQ(batch.weights[2], 0.0F);
  EXPECT_EQ(batch.weights[63], 0.0F);
}

// Packed rows: positions restart; neat_packing cuts the attention too, plain packing does not.
TEST(MicroBatch, CutsAttentionAtSamplesOnlyWithNeatPacking) {
  const EncodedRow packed{{1, 2, 3, 4, 5}, {1, 2, -100, 4, 5}, {2, 3}};
  FeederOptions options;
  options.plan = {.per_device_train_batch_size = 1, .num_train_epochs = 1};
  const auto neat_rows = store_of({packed}, true, 12);
  const auto plain_rows = store_of({packed}, false, 12);
  Fed neat(*neat_rows, options);
  Fed plain(*plain_rows, options);

  neat.feeder.next(0);
  plain.feeder.next(0);

  EXPECT_EQ(copy(neat.feeder.micro_batch(0).cu_seqlens), (Ints{0, 2, 5}));
  EXPECT_EQ(neat.feeder.micro_batch(0).max_seqlen, 3);
  EXPECT_EQ(copy(plain.feeder.micro_batch(0).cu_seqlens), (Ints{0, 5}));
  EXPECT_EQ(plain.feeder.micro_batch(0).max_seqlen, 5);
  for (const auto* fed : {&neat, &plain}) {
    const MicroBatch batch = fed->feeder.micro_batch(0);
    EXPECT_EQ(copy(batch.position_ids.first(5)), (Ints{0, 1, 0, 1, 2}));
    EXPECT_EQ(copy(batch.targets.first(5)), (Ints{2, -1, 4, 5, -1}));
    EXPECT_EQ(batch.padded_len, 16);
  }
}

// Four virtual ranks on one rank: weights follow the virtual rank's own labels when they are not averaged across
// devices.
TEST(Feeder, DenominatorsAreThoseOfTheVirtualRanks) {
  std::vector<EncodedRow> encoded;
  for (std::int32_t i = 0; i < 8; ++i) {
    Ints ids(static_cast<std::size_t>(i + 2));
    std::iota(ids.begin(), ids.end(), 1);
    encoded.push_back({ids, ids, {}});
  }
  const auto rows = store_of(encoded, false, 0);
  FeederOptions options;
  options.plan = {.per_device_train_batch_size = 1,
                  .gradient_accumulation_steps = 2,
                  .virtual_ranks = 4,
                  .num_train_epochs = 1,
                  .disable_shuffling = true};
  Fed together(*rows, options);
  options.average_tokens_across_devices = false;
  Fed apart(*rows, options);

  EXPECT_EQ(together.feeder.next(0).labels, 44);
  EXPECT_EQ(apart.feeder.next(0).rounds, 8);

  EXPECT_FLOAT_EQ(together.feeder.micro_batch(1).weights[0], 1.0F / 44);
  // Virtual rank 1 has rows 1 and 5: 3 + 7 labels.
  EXPECT_FLOAT_EQ(apart.feeder.micro_batch(1).weights[0], 1.0F / (4 * 10));
  EXPECT_FLOAT_EQ(apart.feeder.micro_batch(5).weights[0], 1.0F / (4 * 10));
  EXPECT_EQ(apart.feeder.micro_batch(5).sample, 5U);
}

// What the limits promise is what comes: no step has more, some step has as much, and every class is announced.
TEST(Feeder, LimitsAreReachedAndNeverPassed) {
  std::vector<EncodedRow> encoded;
  for (std::int32_t i = 0; i < 13; ++i) {
    encoded.push_back(
        {Ints(static_cast<std::size_t>(5 + i * 23), 1), Ints(static_cast<std::size_t>(5 + i * 23), 1), {}});
  }
  const auto rows = store_of(encoded, false, 0);
  FeederOptions options;
  options.plan = {
      .per_device_train_batch_size = 3, .gradient_accumulation_steps = 2, .virtual_ranks = 2, .num_train_epochs = 4};
  Fed fed(*rows, options);
  const MicroBatchLimits& limits = fed.feeder.limits();
  std::int64_t most = 0;

  for (std::int64_t s = 0; s < fed.feeder.plan().total_steps(); ++s) {
    const StepInfo info = fed.feeder.next(s);
    for (std::int64_t r = 0; r < info.rounds; ++r) {
      const MicroBatch batch = fed.feeder.micro_batch(r);
      most = std::max(most, batch.tokens);
      EXPECT_LE(batch.max_seqlen, limits.seqlen);
      EXPECT_TRUE(std::binary_search(limits.token_classes.begin(), limits.token_classes.end(), batch.padded_tokens));
    }
  }

  EXPECT_EQ(most, limits.tokens);
}

// Five rows of 2 on 2 virtual ranks: each micro-batch is a mean of its own, and rows that fill the tail do not count.
TEST(Feeder, EvaluationMeetsEveryRowOnceInOrder) {
  std::vector<EncodedRow> encoded;
  for (std::int32_t i = 0; i < 5; ++i) {
    const Ints ids(static_cast<std::size_t>(i + 2), i);
    encoded.push_back({ids, ids, {}});
    encoded.back().labels[0] = i == 3 ? ignore_label : i;
  }
  const auto rows = store_of(encoded, false, 0);
  FeederOptions options;
  options.plan = {
      .per_device_train_batch_size = 2, .virtual_ranks = 2, .num_train_epochs = 1, .disable_shuffling = true};
  options.evaluation = true;
  options.padding.multiple_of = 1;
  Fed fed(*rows, options);

  ASSERT_EQ(fed.feeder.plan().total_steps(), 2);
  fed.feeder.next(0);
  const MicroBatch second = fed.feeder.micro_batch(1);
  EXPECT_EQ(copy(second.input_ids.first(5)), (Ints{2, 2, 2, 2, 3}));
  EXPECT_EQ(second.padded_len, 5);
  EXPECT_FLOAT_EQ(second.weights[0], 1.0F / (3 + 4));
  EXPECT_EQ(fed.feeder.counted_rows(0, 0), 2);
  EXPECT_EQ(fed.feeder.counted_rows(0, 1), 2);
  fed.feeder.next(1);
  const MicroBatch tail = fed.feeder.micro_batch(0);
  EXPECT_EQ(copy(tail.input_ids.first(8)), (Ints{4, 4, 4, 4, 4, 4, 0, 0}));
  EXPECT_FLOAT_EQ(tail.weights[0], 1.0F / (5 + 1));
  EXPECT_EQ(fed.feeder.counted_rows(1, 0), 1);
  EXPECT_EQ(fed.feeder.counted_rows(1, 1), 0);
}

TEST(Feeder, AStepIsTheSameWhateverCameBefore) {
  const SyntheticRows rows(50, 9, 300, 7);
  FeederOptions options;
  options.plan = {.per_device_train_batch_size = 4, .num_train_epochs = 3};
  Fed straight(rows, options);
  Fed resumed(rows, options);
  for (std::int64_t s = 0; s < 20; ++s) straight.feeder.next(s);

  straight.feeder.next(29);
  resumed.feeder.next(29);

  EXPECT_EQ(copy(straight.feeder.micro_batch(0).input_ids), copy(resumed.feeder.micro_batch(0).input_ids));
}

TEST(SyntheticRows, AreFilledToTheLastTokenAndDependOnSeedAndRowAlone) {
  const SyntheticRows rows(10, 100, 50, 1);
  const SyntheticRows again(10, 100, 50, 1);
  const SyntheticRows other(10, 100, 50, 2);
  Ints a;
  Ints b;

  const Ints first = copy(rows.row(3, a).input_ids);
  EXPECT_EQ(copy(again.row(3, b).input_ids), first);
  EXPECT_EQ(copy(rows.row(3, a).labels), first);
  EXPECT_NE(copy(other.row(3, b).input_ids), first);
  EXPECT_NE(copy(rows.row(4, a).input_ids), first);
  EXPECT_EQ(first.size(), 100U);
  for (const std::int32_t id : first) EXPECT_TRUE(id >= 0 && id < 50);
  EXPECT_THROW(static_cast<void>(rows.row(10, a)), Error);
}

}  // namespace
}  // namespace dstrain::test
