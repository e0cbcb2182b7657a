// SPDX-License-Identifier: Apache-2.0
#include "dstrain/packed_batch.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain::packed_batch_test {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(PackedBatch, ShiftsLabelsInsideARow) {
  PackedBatch rows;
  rows.add_row(Ids{5, 6, 7}, Ids{-100, 6, 9});
  rows.add_row(Ids{8, 9});

  const MicroBatch batch = rows.batch(0.25F, 12);

  EXPECT_EQ(rows.targets(), 3);
  EXPECT_EQ(batch.tokens, 5);
  EXPECT_EQ(batch.padded_tokens, 64);
  EXPECT_EQ(batch.rows, 2);
  EXPECT_EQ(batch.max_seqlen, 3);
  EXPECT_EQ(batch.sample, 12U);
  const auto first = [](const auto& values) { return std::vector(values.begin(), values.begin() + 6); };
  EXPECT_EQ(first(batch.input_ids), (Ids{5, 6, 7, 8, 9, 0}));
  EXPECT_EQ(first(batch.position_ids), (Ids{0, 1, 2, 0, 1, 0}));
  EXPECT_EQ(first(batch.targets), (Ids{6, 9, -1, 9, -1, -1}));
  EXPECT_EQ(first(batch.weights), (std::vector<float>{0.25F, 0.25F, 0.0F, 0.25F, 0.0F, 0.0F}));
  EXPECT_EQ(Ids(batch.cu_seqlens.begin(), batch.cu_seqlens.end()), (Ids{0, 3, 5}));
}

TEST(PackedBatch, TakesMoreRowsAfterABatchWasMade) {
  PackedBatch rows;
  rows.add_row(Ids{1, 2});
  (void)rows.batch(1.0F);
  rows.add_row(Ids{3, 4});

  const MicroBatch batch = rows.batch(1.0F);

  EXPECT_EQ(batch.tokens, 4);
  EXPECT_EQ(batch.input_ids[2], 3);
  EXPECT_EQ(batch.targets[1], -1);
  rows.clear();
  EXPECT_EQ(rows.batch(1.0F).tokens, 0);
  EXPECT_THROW(rows.add_row(Ids{1, 2}, Ids{1}), ShapeError);
}

}  // namespace
}  // namespace dstrain::packed_batch_test
