// SPDX-License-Identifier: Apache-2.0
/// Other losses than plain cross entropy, and pure bf16, against transformers and torch (tests/oracle/make_losses.py):
/// every step, through the feeder, for every ZeRO stage, on any number of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "data/feeder.hpp"
#include "data/token_store.hpp"
#include "dstrain/engine.hpp"
#include "model/model_spec.hpp"

namespace dstrain::losses_oracle_test {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr int steps = 6, width = 16, pad = 0;
constexpr int lengths[] = {16, 11, 9, 13};
constexpr int rows_per_step = 4;
constexpr double learning_rate = 5e-3;

fs::path oracle_folder() { return fs::path(DSTRAIN_SOURCE_DIR) / "tests/oracle"; }
Json expected_of(const std::string& name) {
  return Json::parse(std::ifstream(oracle_folder() / "losses.json"))["cases"][name];
}

ModelSpec spec_of(const fs::path& folder) {
  std::ifstream config(folder / "config.json");
  return parse_model_spec(std::string(std::istreambuf_iterator<char>(config), {}), "config.json");
}

/// All rows of the run in order: the formula of the script.
std::unique_ptr<TokenStore> all_rows(std::int64_t vocab) {
  TokenStoreContent content;
  content.facts.vocab_size = static_cast<std::int32_t>(vocab);
  for (int step = 0; step < steps; ++step) {
    for (int row = 0; row < rows_per_step; ++row) {
      EncodedRow encoded;
      for (int t = 0; t < lengths[row]; ++t) {
        encoded.input_ids.push_back(
            static_cast<std::int32_t>(3 + (7 * t + 11 * row + 5 * step + t * t * (row + 1)) % (vocab - 3)));
        encoded.labels.push_back(t < 3 ? ignore_label : encoded.input_ids.back());
      }
      content.encoded.rows.push_back(std::move(encoded));
    }
  }
  const std::string digest(32, '0');
  return TokenStore::from_image(TokenStore::make_image(content, digest), digest);
}

TokenLoss loss_of(const Json& keys) {
  TokenLoss loss;
  loss.label_smoothing = keys.value("smoothing", 0.0F);
  loss.times_probability = keys.value("dft", false);
  loss.times_entropy = keys.contains("eaft");
  loss.entropy_power = keys.value("eaft", 1.0F);
  return loss;
}

struct Case {
  const char* name;
  int stage;
  DType dtype = DType::f32;
  bool checkpointing = true;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name << " stage " << c.stage << " " << name_of(c.dtype); }

/// Four micro-batches of one row each, as four virtual ranks would have them.
FeederOptions feeder_options(const Json& keys) {
  FeederOptions options;
  options.plan = {.per_device_train_batch_size = 1,
                  .virtual_ranks = rows_per_step,
                  .num_train_epochs = 1,
                  .disable_shuffling = true};
  options.padding.multiple_of = width;
  if (keys.value("pads", false)) options.padding.counted_id = pad;
  return options;
}

/// A case as the script ran it: its numbers, its rows, and an engine's options.
struct OracleRun {
  OracleRun(Communicator& world, const Case& c)
      : comm(world),
        expected(expected_of(c.name)),
        folder(oracle_folder() / expected["keys"]["base"]),
        spec(spec_of(folder)),
        rows(all_rows(spec.vocab_size)),
        feeder(world, rows.get(), feeder_options(expected["keys"])),
        storage(static_cast<std::size_t>(feeder.storage_count() + 1) / 2) {
    feeder.bind(View(storage.data(), 2 * std::ssize(storage), DType::i32));
    options.zero_stage = c.stage;
    options.dtype = c.dtype;
    options.gradient_checkpointing = c.checkpointing;
    options.max_tokens = feeder.limits().padded_tokens;
    options.max_position = width;
    options.max_micro_steps = rows_per_step;
    options.weight_decay = 0.01;
    options.token_loss = loss_of(expected["keys"]);
    options.optim.pure_bf16 = expected["keys"].value("bf16", false);
  }

  [[nodiscard]] auto engine() { return Engine::initialize(comm, spec, options, {folder}); }

  Communicator& comm;
  Json expected;
  fs::path folder;
  ModelSpec spec;
  std::unique_ptr<TokenStore> rows;
  Feeder feeder;
  std::vector<std::int64_t> storage;
  EngineOptions options;
};

class LossesOracle : public testing::TestWithParam<Case> {
 protected:
  std::vector<double> tensor_norms(const Engine& engine, bool replicated) {
    std::vector<double> squares(engine.layout().tensors.size(), 0.0);
    engine.for_each_slice([&](std::int32_t tensor, std::int64_t, std::int64_t count, const float* w, const float*) {
      if (replicated && comm_->rank() != 0) return;
      for (std::int64_t i = 0; i < count; ++i)
        squares[static_cast<std::size_t>(tensor)] += static_cast<double>(w[i]) * w[i];
    });
    comm_->all_reduce(View(std::span(squares)), ReduceOp::sum, Stream{}, "tensor norms");
    for (auto& s : squares) s = std::sqrt(s);
    return squares;
  }

  StepResult run_step(Engine& engine, Feeder& feeder, int step) {
    const StepInfo info = feeder.next(step);
    engine.begin_step();
    for (std::int64_t round = 0; round < info.rounds; ++round) {
      const MicroBatch batch = feeder.has_slot(round) ? feeder.micro_batch(round) : MicroBatch{};
      engine.forward(batch, feeder.contributors(round), round + 1 == info.rounds);
      engine.backward();
    }
    return engine.step(learning_rate);
  }

  std::unique_ptr<Communicator> comm_ = make_world_communicator();
};

TEST_P(LossesOracle, MeetsEveryStep) {
  const auto c = GetParam();
  OracleRun run(*comm_, c);
  const Json& expected = run.expected;
  // Where the loss is multiplied by p, an absolute error of -log p (about 4) is a relative one of the loss.
  const double amplified = run.options.token_loss.times_probability ? 4.0 : 1.0;
  const double tolerance = c.dtype == DType::f32 ? 2e-5 : amplified / 64;

  auto engine = run.engine();

  for (int step = 0; step < steps; ++step) {
    const auto result = run_step(*engine, run.feeder, step);
    const double loss = expected["losses"][static_cast<std::size_t>(step)];
    const double norm = expected["grad_norms"][static_cast<std::size_t>(step)];
    EXPECT_NEAR(result.loss, loss, tolerance * loss) << "step " << step;
    EXPECT_NEAR(result.grad_norm, norm, 10 * tolerance * norm) << "step " << step;
  }
  const auto norms = tensor_norms(*engine, c.stage == 0);
  for (const auto& [name, norm] : expected["norms"].items()) {
    const auto index = engine->layout().find(name);
    ASSERT_GE(index, 0) << name;
    // Without rotation the softmax does not see biases of keys: their gradient is rounding alone, and Adam makes it
    // large.
    if (name.ends_with("query_key_value.bias")) continue;
    EXPECT_NEAR(norms[static_cast<std::size_t>(index)], norm.get<double>(), 5 * tolerance * norm.get<double>()) << name;
  }
  engine.reset();
  comm_->close();
}

class EvaluatedLosses : public LossesOracle {};

// What evaluation says of a batch is the same loss.
TEST_P(EvaluatedLosses, AreTheSame) {
  const auto c = GetParam();
  OracleRun run(*comm_, c);
  auto engine = run.engine();
  const StepInfo info = run.feeder.next(0);
  double sums[2] = {0.0, 0.0};

  for (std::int64_t round = 0; round < info.rounds; ++round) {
    const auto result =
        engine->evaluate_batch(run.feeder.has_slot(round) ? run.feeder.micro_batch(round) : MicroBatch{});
    sums[0] += result.nll_sum;
    sums[1] += static_cast<double>(result.targets);
  }
  comm_->all_reduce(View(sums, 2, DType::f64), ReduceOp::sum, Stream{}, "evaluated");

  const double loss = run.expected["losses"][0];
  EXPECT_NEAR(sums[0] / sums[1], loss, (c.dtype == DType::f32 ? 2e-5 : 1.0 / 64) * loss);
  engine.reset();
  comm_->close();
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : {"label_smoothing", "dft", "eaft", "pads"}) {
    for (const int stage : {0, 2, 3}) all.push_back({name, stage, DType::f32, stage != 0});
    all.push_back({name, 2, DType::bf16});
  }
  for (const char* name : {"label_smoothing_gemma2", "pads_bloom", "pads_smoothing"}) all.push_back({name, 3});
  for (const int stage : {0, 1, 2, 3}) all.push_back({"pure_bf16", stage, DType::bf16});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Cases, LossesOracle, testing::ValuesIn(cases()));
INSTANTIATE_TEST_SUITE_P(Cases, EvaluatedLosses,
                         testing::Values(Case{"label_smoothing", 0}, Case{"dft", 3}, Case{"eaft", 2, DType::bf16},
                                         Case{"pads_smoothing", 3}));

}  // namespace
}  // namespace dstrain::losses_oracle_test
