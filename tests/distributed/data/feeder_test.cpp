// SPDX-License-Identifier: Apache-2.0
/// The feeder on any number of ranks deals what it deals on one.
#include "data/feeder.hpp"

#include <gtest/gtest.h>

#include "comm/local_communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "data/token_store.hpp"

namespace dstrain::test {
namespace {

std::unique_ptr<TokenStore> uneven_rows() {
  TokenStoreContent content;
  for (std::int32_t i = 0; i < 11; ++i) {
    EncodedRow row;
    for (std::int32_t t = 0; t < 3 + i * 9; ++t) row.input_ids.push_back((i * 31 + t) % 97);
    row.labels = row.input_ids;
    for (std::size_t t = 0; t < 2; ++t) row.labels[t] = ignore_label;
    content.encoded.rows.push_back(std::move(row));
  }
  content.facts.vocab_size = 97;
  const std::string digest(32, 'a');
  return TokenStore::from_image(TokenStore::make_image(content, digest), digest);
}

void bind(Feeder& feeder, std::vector<std::int64_t>& storage) {
  storage.resize(static_cast<std::size_t>(feeder.storage_count() + 1) / 2);
  feeder.bind(View(storage.data(), 2 * std::ssize(storage), DType::i32));
}

template <typename T>
void expect_equal(std::span<const T> a, std::span<const T> b) {
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
}

// Slot k of every step, wherever it runs, is slot k of a single process; also with more ranks than slots.
TEST(Feeder, EverySlotIsTheOneOfASingleProcess) {
  MpiCommunicator comm{MpiOptions{}};
  LocalCommunicator alone;
  const auto rows = uneven_rows();
  for (const int virtual_ranks : {1, 2, 3}) {
    FeederOptions options;
    options.plan = {.per_device_train_batch_size = 2,
                    .gradient_accumulation_steps = 2,
                    .virtual_ranks = virtual_ranks,
                    .num_train_epochs = 2};
    options.average_tokens_across_devices = virtual_ranks != 3;
    Feeder feeder(comm, comm.rank() == 0 ? rows.get() : nullptr, options);
    Feeder reference(alone, rows.get(), options);
    std::vector<std::int64_t> storage;
    std::vector<std::int64_t> reference_storage;
    bind(feeder, storage);
    bind(reference, reference_storage);
    ASSERT_EQ(feeder.limits().token_classes, reference.limits().token_classes);

    for (std::int64_t s = 0; s < feeder.plan().total_steps(); ++s) {
      const StepInfo info = feeder.next(s);
      const StepInfo expected = reference.next(s);
      EXPECT_EQ(info.labels, expected.labels);
      EXPECT_EQ(info.padded_tokens, expected.padded_tokens);
      EXPECT_EQ(info.slots, expected.slots);
      std::int64_t seen = 0;
      for (std::int64_t round = 0; round < info.rounds; ++round) {
        seen += feeder.contributors(round);
        if (!feeder.has_slot(round)) {
          EXPECT_THROW(static_cast<void>(feeder.micro_batch(round)), Error);
          continue;
        }
        const MicroBatch mine = feeder.micro_batch(round);
        const MicroBatch theirs = reference.micro_batch(round * comm.size() + comm.rank());
        EXPECT_EQ(mine.tokens, theirs.tokens);
        EXPECT_EQ(mine.sample, theirs.sample);
        EXPECT_EQ(mine.padded_len, theirs.padded_len);
        EXPECT_EQ(mine.max_seqlen, theirs.max_seqlen);
        expect_equal(mine.input_ids, theirs.input_ids);
        expect_equal(mine.position_ids, theirs.position_ids);
        expect_equal(mine.targets, theirs.targets);
        expect_equal(mine.cu_seqlens, theirs.cu_seqlens);
        expect_equal(mine.weights, theirs.weights);
      }
      EXPECT_EQ(seen, info.slots);
    }
  }
  comm.close();
}

// What is wrong with the plan on rank 0 is the same error everywhere; no rank waits.
TEST(Feeder, APlanThatCannotBeIsRefusedOnAllRanks) {
  MpiCommunicator comm{MpiOptions{}};
  const auto rows = uneven_rows();
  FeederOptions options;
  options.plan = {.per_device_train_batch_size = 20, .dataloader_drop_last = true};

  try {
    Feeder(comm, comm.rank() == 0 ? rows.get() : nullptr, options);
    ADD_FAILURE() << "11 rows were taken for a batch of 20";
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::usage);
    EXPECT_NE(std::string(e.what()).find("11 rows do not fill one batch of 20"), std::string::npos);
  }
  comm.close();
}

}  // namespace
}  // namespace dstrain::test
