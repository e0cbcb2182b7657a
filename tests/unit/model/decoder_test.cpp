// SPDX-License-Identifier: Apache-2.0
/// What must hold for any model: packing, padding, recomputation and accumulation do not show in the numbers.
#include "model/decoder.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "core/error.hpp"
#include "support/token_rows.hpp"
#include "unit/model/model_under_test.hpp"

namespace dstrain {
namespace {

using Row = std::vector<std::int32_t>;

Row make_row(std::int64_t length, std::uint32_t seed, std::int64_t vocab_size = 97) {
  Row row(static_cast<std::size_t>(length));
  std::uint32_t state = seed * 2654435761U + 1;
  for (auto& id : row) {
    state = state * 1664525U + 1013904223U;
    id = static_cast<std::int32_t>((state >> 8) % static_cast<std::uint32_t>(vocab_size));
  }
  return row;
}

DecoderOptions options_for(std::int64_t tokens, bool checkpointing = true, DType dtype = DType::f32) {
  DecoderOptions o;
  o.dtype = dtype;
  o.gradient_checkpointing = checkpointing;
  o.max_tokens = token_class(tokens);
  return o;
}

/// All gradients, tensor by tensor.
std::vector<float> gradients(const test::ModelUnderTest& m) {
  std::vector<float> all;
  for (const TensorLayout& t : m.layout.tensors)
    all.insert(all.end(), m.store->gradient_of(t), m.store->gradient_of(t) + t.count);
  return all;
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a.at(i)) - b[i], 2);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / norm);
}

ForwardResult run(test::ModelUnderTest& m, const MicroBatch& batch, bool accumulate = false) {
  m.store->begin_micro_step(accumulate);
  const ForwardResult result = m.decoder->forward(*m.store, batch, true);
  m.decoder->backward(*m.store, batch);
  EXPECT_TRUE(m.store->at_rest());
  return result;
}

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
}  // namespace dstrain
