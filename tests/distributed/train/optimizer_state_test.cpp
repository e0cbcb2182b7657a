// SPDX-License-Identifier: Apache-2.0
/// Each optimizer's states come back from a checkpoint: at another stage, and on one rank.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "comm/local_communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "core/memory_plan.hpp"
#include "dstrain/engine.hpp"
#include "model/layout.hpp"
#include "model/model_spec.hpp"
#include "support/token_rows.hpp"

namespace dstrain::optimizer_state_test {
namespace {

constexpr double rate = 1e-3;

/// Large enough for states of 8 bits, small enough for every stage of every optimizer.
ModelSpec spec_of_test() {
  ModelSpec spec = preset_spec("nano");
  spec.num_hidden_layers = 1;
  return spec;
}

std::vector<std::vector<std::int32_t>> token_rows_of(int slot, int step) {
  std::vector<std::vector<std::int32_t>> rows(1);
  for (int i = 0; i < 23; ++i) rows[0].push_back((7 * i + 13 * slot + 29 * step) % 300);
  return rows;
}

/// One step of `slots` slots; slot k on rank k mod size.
void run_step(Engine& engine, const Communicator& comm, int step, int slots) {
  engine.begin_step();
  for (int first = 0; first < slots; first += comm.size()) {
    const auto rows = token_rows_of(first + comm.rank(), step);
    const test::PackedRows packed(rows, 1.0F / static_cast<float>(22 * slots));
    engine.forward(packed.batch(), comm.size(), first + comm.size() >= slots);
    engine.backward();
  }
  engine.step(rate);
}

struct Kind {
  const char* name;
  OptimizerKind kind;
  double tolerance;  ///< of a weight after one more step, in learning rates
};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

// Sums over ranks round otherwise than on one: next to nothing for most, another 8-bit code or sign for some.
const Kind kinds[] = {
    {"adamw", OptimizerKind::adamw, 2e-2},        {"sgd", OptimizerKind::sgd, 1e-3},
    {"adagrad", OptimizerKind::adagrad, 2e-2},    {"rmsprop", OptimizerKind::rmsprop, 5e-2},
    {"lion", OptimizerKind::lion, 2.1},           {"adafactor", OptimizerKind::adafactor, 2e-2},
    {"adamw_8bit", OptimizerKind::adamw_8bit, 2}, {"lion_8bit", OptimizerKind::lion_8bit, 2.1},
    {"muon", OptimizerKind::muon, 0.5},           {"lamb", OptimizerKind::lamb, 0.2},
};

class OptimizerState : public testing::TestWithParam<Kind> {
 protected:
  [[nodiscard]] EngineOptions options(int stage, int slots) const {
    EngineOptions o;
    o.zero_stage = stage;
    o.max_tokens = 64;
    o.max_micro_steps = slots;
    o.optim.kind = GetParam().kind;
    if (o.optim.kind == OptimizerKind::sgd || o.optim.kind == OptimizerKind::rmsprop) o.optim.momentum = 0.9;
    if (o.optim.kind == OptimizerKind::muon) o.optim.momentum = 0.95, o.optim.nesterov = true;
    o.weight_decay = 0.1;
    return o;
  }

  std::filesystem::path fresh_folder() {
    auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) /
                  ("optimizer-" + std::string(GetParam().name) + "-" + std::to_string(comm_->size()));
    if (comm_->rank() == 0) {
      std::filesystem::remove_all(folder);
      std::filesystem::create_directories(folder);
    }
    comm_->barrier("test folder");
    return folder;
  }

  std::unique_ptr<Communicator> comm_ = make_world_communicator();
};

using Weights = std::map<std::int32_t, std::vector<float>>;

Weights weights_of(const Engine& engine) {
  Weights all;
  engine.for_each_slice([&](std::int32_t t, std::int64_t, std::int64_t count, const float* w, const float*) {
    all[t].assign(w, w + count);
  });
  return all;
}

TEST_P(OptimizerState, ComesBackAtAnotherStageAndOnOneRank) {
  const auto spec = spec_of_test();
  const int slots = comm_->size();
  const auto folder = fresh_folder();
  auto first = Engine::initialize(*comm_, spec, options(3, 1), {});
  for (int step = 0; step < 3; ++step) run_step(*first, *comm_, step, slots);
  first->save(folder, {}, false, 0);
  run_step(*first, *comm_, 3, slots);

  auto second = Engine::initialize(*comm_, spec, options(1, 1), {});
  second->load(folder / "checkpoint-3");
  run_step(*second, *comm_, 3, slots);
  LocalCommunicator alone;
  auto third = Engine::initialize(alone, spec, options(0, slots), {});
  third->load(folder / "checkpoint-3");
  run_step(*third, alone, 3, slots);

  EXPECT_EQ(third->optimizer_steps(), 4);
  const Weights one_rank = weights_of(*third);
  std::int64_t compared = 0;
  for (const Engine* engine : {first.get(), second.get()}) {
    engine->for_each_slice([&](std::int32_t t, std::int64_t begin, std::int64_t count, const float* w, const float*) {
      for (std::int64_t i = 0; i < count; ++i, ++compared) {
        const float expected = one_rank.at(t)[static_cast<std::size_t>(begin + i)];
        ASSERT_NEAR(w[i], expected, GetParam().tolerance * rate + 1e-6 * std::abs(expected))
            << "tensor " << t << " element " << begin + i;
      }
    });
  }
  comm_->all_reduce(View(&compared, 1, DType::i64), ReduceOp::sum, Stream{}, "compared");
  EXPECT_EQ(compared, 2 * first->layout().parameters);
}

TEST_P(OptimizerState, OfAnotherOptimizerIsRefused) {
  if (GetParam().kind != OptimizerKind::lion) GTEST_SKIP() << "one pair is enough";
  const auto spec = spec_of_test();
  const auto folder = fresh_folder();
  auto first = Engine::initialize(*comm_, spec, options(1, 1), {});
  first->save(folder, {}, false, 0);
  auto other = options(1, 1);
  other.optim.kind = OptimizerKind::adagrad;
  auto second = Engine::initialize(*comm_, spec, other, {});

  try {
    second->load(folder / "checkpoint-0");
    FAIL() << "Lion's states were taken for Adagrad's";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("holds no sum of"), std::string::npos) << error.what();
  }
}

// The states of 8 bits take a quarter of the room; Adafactor's next to none.
TEST_P(OptimizerState, TakesTheRoomThatThePlanSays) {
  const auto bytes_of = [&](OptimizerKind kind) {
    auto o = options(1, 1);
    o.optim.kind = kind;
    std::int64_t bytes = 0;
    const MemoryPlan plan = Engine::plan(preset_spec("110m"), o, 4);
    for (const auto& buffer : plan.buffers()) {
      const std::string_view name = buffer.name;
      if (name.starts_with("optimizer/") && name.find("master") == name.npos && name.find("muon_") == name.npos)
        bytes += buffer.bytes();
    }
    return static_cast<double>(bytes);
  };
  const double adamw = bytes_of(OptimizerKind::adamw);
  const auto share = [&](OptimizerKind kind) { return bytes_of(kind) / adamw; };

  switch (GetParam().kind) {
    case OptimizerKind::adamw_8bit:
      EXPECT_LT(share(OptimizerKind::adamw_8bit), 0.6);  // the embedding's stay in 32 bits
      break;
    case OptimizerKind::lion_8bit:
      EXPECT_LT(share(OptimizerKind::lion_8bit), 0.3);
      break;
    case OptimizerKind::adafactor:
      EXPECT_LT(share(OptimizerKind::adafactor), 0.01);
      break;
    case OptimizerKind::muon:
      EXPECT_LT(share(OptimizerKind::muon), 0.8);
      break;
    case OptimizerKind::adamw:
      EXPECT_GT(adamw, 0);
      break;
    case OptimizerKind::lamb:
      EXPECT_NEAR(share(OptimizerKind::lamb), 1.0, 1e-3);
      break;
    case OptimizerKind::rmsprop:
      EXPECT_NEAR(share(OptimizerKind::rmsprop), 1.0, 1e-3);  // square_avg and momentum_buffer
      break;
    default:
      EXPECT_NEAR(share(GetParam().kind), 0.5, 1e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, OptimizerState, testing::ValuesIn(kinds));

}  // namespace
}  // namespace dstrain::optimizer_state_test
