// SPDX-License-Identifier: Apache-2.0
/// What must hold for any model: packing, padding, recomputation and accumulation do not show in the numbers.
#include "model/decoder.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "unit/model/decoder_test_support.hpp"

namespace dstrain::decoder_test {
namespace {

using test::gradients;
using test::make_row;
using test::options_for;
using test::relative_difference;
using test::Row;
using test::run;

/// Everything but the tables and what the loop reads is overwritten with NaN.
void poison_activations(const test::ModelUnderTest& m) {
  const auto& buffers = m.arena->plan().buffers();
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].name.find("rope") != std::string::npos) continue;
    const View view = (*m.arena)[BufferId{static_cast<std::int32_t>(i)}];
    if (view.count > 0) std::memset(view.data, 0xff, static_cast<std::size_t>(view.bytes()));
  }
}

TEST(Decoder, PackedRowsGiveTheSumsOfSeparateRows) {
  const std::vector<Row> rows = {make_row(40, 1), make_row(3, 2), make_row(65, 3)};
  const auto m = test::random_model(test::small_spec(false, true), options_for(108));

  double loss = 0.0;
  std::vector<float> nll;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const test::PackedRows one(std::span(&rows[i], 1), 0.01F);
    loss += run(*m, one.batch(), i > 0).loss;
    nll.insert(nll.end(), m->decoder->nll(), m->decoder->nll() + rows[i].size());
  }
  const auto expected = gradients(*m);
  const test::PackedRows packed(rows, 0.01F);
  const ForwardResult result = run(*m, packed.batch());

  EXPECT_NEAR(result.loss, loss, 1e-6 * loss);
  EXPECT_EQ(result.targets, 39 + 2 + 64);
  for (std::size_t t = 0; t < nll.size(); ++t) EXPECT_NEAR(m->decoder->nll()[t], nll[t], 1e-4) << t;
  EXPECT_LT(relative_difference(gradients(*m), expected), 1e-5);
}

TEST(Decoder, PaddingRowsAndOldMemoryChangeNothing) {
  const std::vector<Row> rows = {make_row(30, 1), make_row(20, 2)};
  const test::PackedRows packed(rows, 0.02F);
  for (const bool checkpointing : {true, false}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const auto m = test::random_model(test::small_spec(true, true), options_for(128, checkpointing, dtype));
      MicroBatch batch = packed.batch();
      const ForwardResult expected = run(*m, batch);
      const auto expected_gradients = gradients(*m);

      std::vector<std::int32_t> ids(128, 96), positions(128, 100), targets(128, -1);
      std::vector<float> weights(128, 0.0F);
      std::copy_n(batch.input_ids.begin(), 50, ids.begin());
      std::copy_n(batch.position_ids.begin(), 50, positions.begin());
      std::copy_n(batch.targets.begin(), 50, targets.begin());
      std::copy_n(batch.weights.begin(), 50, weights.begin());
      batch.padded_tokens = 128;
      batch.input_ids = ids;
      batch.position_ids = positions;
      batch.targets = targets;
      batch.weights = weights;
      poison_activations(*m);
      const ForwardResult result = run(*m, batch);

      EXPECT_NEAR(result.loss, expected.loss, 1e-6 * expected.loss);
      EXPECT_EQ(result.targets, expected.targets);
      EXPECT_LT(relative_difference(gradients(*m), expected_gradients), dtype == DType::f32 ? 1e-6 : 1e-2);
    }
  }
}

TEST(Decoder, RecomputationGivesTheSameBits) {
  const std::vector<Row> rows = {make_row(70, 5), make_row(33, 6)};
  const test::PackedRows packed(rows, 0.01F);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto recomputed = test::random_model(test::small_spec(true, true), options_for(103, true, dtype));
    const auto kept = test::random_model(test::small_spec(true, true), options_for(103, false, dtype));

    EXPECT_EQ(run(*recomputed, packed.batch()).loss, run(*kept, packed.batch()).loss);
    EXPECT_EQ(gradients(*recomputed), gradients(*kept));
  }
}

TEST(Decoder, TheBitsDoNotDependOnTheNumberOfThreads) {
  const std::vector<Row> rows = {make_row(70, 5), make_row(150, 6)};
  const test::PackedRows packed(rows, 0.01F);
  const int threads = omp_get_max_threads();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    omp_set_num_threads(3);
    const auto m = test::random_model(test::small_spec(true, true), options_for(220, true, dtype));
    const double loss = run(*m, packed.batch()).loss;
    const auto expected = gradients(*m);
    for (const int fewer : {2, 1}) {
      omp_set_num_threads(fewer);
      EXPECT_EQ(run(*m, packed.batch()).loss, loss);
      EXPECT_EQ(gradients(*m), expected) << fewer << " threads";
    }
  }
  omp_set_num_threads(threads);
}

TEST(Decoder, AnEmptyBatchMakesTheSameCallsAndWritesNothing) {
  const std::vector<Row> rows = {make_row(10, 1)};
  const test::PackedRows packed(rows, 0.1F);
  for (const bool tied : {true, false}) {
    const auto m = test::random_model(test::small_spec(tied, false), options_for(64));
    run(*m, packed.batch());
    const auto calls = m->store->calls();
    m->store->forget_calls();

    const std::int32_t start = 0;
    MicroBatch empty;
    empty.cu_seqlens = std::span(&start, 1);
    const ForwardResult result = run(*m, empty);

    EXPECT_EQ(m->store->calls(), calls);
    EXPECT_EQ(result.loss, 0.0);
    EXPECT_EQ(result.targets, 0);
    for (const float g : gradients(*m)) ASSERT_TRUE(std::isnan(g));  // the store's own mark: nobody wrote
  }
}

TEST(Decoder, TheTiedMatrixIsWrittenByTheHeadAndAddedToByTheEmbedding) {
  const std::vector<Row> rows = {make_row(10, 1)};
  const test::PackedRows packed(rows, 0.1F);
  const auto m = test::random_model(test::small_spec(true, false), options_for(64));
  run(*m, packed.batch());
  const auto& calls = m->store->calls();
  const auto position = [&](const char* call, std::ptrdiff_t from) {
    return std::find(calls.begin() + from, calls.end(), call) - calls.begin();
  };
  const auto head = position("gradient 0", 0);
  const auto embedding = position("gradient 0", head + 1);

  EXPECT_LT(position("acquire 4", 0), head);
  EXPECT_LT(head, position("ready 4", 0));
  EXPECT_LT(position("ready 1", 0), embedding);
  EXPECT_LT(embedding, position("ready 0", 0));
  EXPECT_EQ(calls.back(), "ready 0");
}

TEST(Decoder, GradientsAreAddedWhereTheStoreSaysSo) {
  const std::vector<Row> first = {make_row(50, 1)};
  const std::vector<Row> second = {make_row(50, 2)};
  for (const bool tied : {true, false}) {
    const auto m = test::random_model(test::small_spec(tied, true), options_for(64));
    run(*m, test::PackedRows(first, 0.01F).batch());
    auto expected = gradients(*m);
    run(*m, test::PackedRows(second, 0.01F).batch());
    const auto other = gradients(*m);
    std::transform(expected.begin(), expected.end(), other.begin(), expected.begin(), std::plus<>());

    run(*m, test::PackedRows(first, 0.01F).batch());
    run(*m, test::PackedRows(second, 0.01F).batch(), true);

    EXPECT_LT(relative_difference(gradients(*m), expected), 1e-6);
  }
}

TEST(Decoder, TheHeadsChunksDoNotShow) {
  ModelSpec spec = test::small_spec(false, false);
  spec.vocab_size = 65'600;  // 256 rows of logits at one time
  spec.num_hidden_layers = 1;
  const auto m = test::random_model(spec, options_for(320));
  const std::vector<Row> rows = {make_row(200, 1, spec.vocab_size), make_row(110, 2, spec.vocab_size)};
  double loss = 0.0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    loss += run(*m, test::PackedRows(std::span(&rows[i], 1), 0.01F).batch(), i > 0).loss;  // one chunk each
  }
  const auto expected = gradients(*m);
  const ForwardResult result = run(*m, test::PackedRows(rows, 0.01F).batch());

  EXPECT_NEAR(result.loss, loss, 1e-6 * loss);
  EXPECT_LT(relative_difference(gradients(*m), expected), 1e-5);
}

TEST(Decoder, ThePaddedLengthDecidesDynamicRope) {
  Row row = make_row(40, 1);
  const test::PackedRows packed(std::span(&row, 1), 0.02F);
  ModelSpec spec = test::small_spec(false, false);
  spec.rope.kind = RopeKind::dynamic;
  spec.rope.factor = 2.0;
  spec.max_position_embeddings = 40;
  const auto m = test::random_model(spec, options_for(64));
  const auto loss_at = [&](std::int32_t padded_len) {
    MicroBatch batch = packed.batch();
    batch.padded_len = padded_len;
    return m->decoder->forward(*m->store, batch, false).loss;
  };
  const double trained = loss_at(40);

  EXPECT_NE(loss_at(48), trained);
  EXPECT_EQ(loss_at(8), trained);  // back to the default table
}

}  // namespace
}  // namespace dstrain::decoder_test
