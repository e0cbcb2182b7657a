// SPDX-License-Identifier: Apache-2.0
/// Every optimizer on slices against torch, transformers and bitsandbytes on whole tensors
/// (tests/oracle/make_optimizers.py), for every stage on any number of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/memory_plan.hpp"
#include "unit/zero/fake_model.hpp"

namespace dstrain::test::optimizers_test {
namespace {

using Json = nlohmann::json;

constexpr int steps = 10;
const FakeShape shape{.vocabulary = 37, .hidden = 72, .blocks = 1, .tied = false, .frozen = false};

/// The gradient of the oracle's step: fractions of many sizes.
float oracle_gradient(std::int64_t step, int /*site*/, std::int32_t tensor, std::int64_t i, float /*weight*/) {
  const std::uint32_t bits =
      mixed_bits(static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(tensor), static_cast<std::uint64_t>(i));
  return (static_cast<float>(bits >> 8) / 16777216.0F - 0.5F) * (1.0F / static_cast<float>(1U << (bits % 10)));
}

/// How far results may lie from the oracle's.
struct Tolerance {
  double each;     ///< of a weight, in learning rates
  double typical;  ///< of 99 in 100 weights, in learning rates
};

struct Case {
  const char* name;
  OptimizerSettings settings;
  Tolerance tolerance{2e-3, 1e-3};
};

OptimizerSettings settings_of(OptimizerKind kind, const std::function<void(OptimizerSettings&)>& change = {}) {
  OptimizerSettings s;
  s.kind = kind;
  if (change) change(s);
  return s;
}

// A rounding of the last bit can choose the next 8-bit code, and turn the sign that Lion steps by; Muon rounds to bf16.
const std::vector<Case>& cases() {
  using enum OptimizerKind;
  static const std::vector<Case> all = {
      {"adamw", settings_of(adamw)},
      {"adam", settings_of(adam)},
      {"sgd", settings_of(sgd)},
      {"sgd_momentum", settings_of(sgd, [](auto& s) { s.momentum = 0.9, s.dampening = 0.3; })},
      {"sgd_nesterov", settings_of(sgd, [](auto& s) { s.momentum = 0.9, s.nesterov = true; })},
      {"adagrad", settings_of(adagrad, [](auto& s) { s.lr_decay = 0.1, s.eps = 1e-10; })},
      {"rmsprop", settings_of(rmsprop)},
      {"rmsprop_centered", settings_of(rmsprop, [](auto& s) { s.momentum = 0.8, s.alpha = 0.9, s.centered = true; })},
      {"adafactor", settings_of(adafactor)},
      {"adafactor_scaled", settings_of(adafactor, [](auto& s) { s.first_beta = 0.9, s.scale_parameter = true; })},
      {"lamb", settings_of(lamb)},
      {"lamb_bounded",
       settings_of(lamb, [](auto& s) { s.max_coeff = 0.4, s.min_coeff = 0.3, s.bias_correction = false; })},
      {"lion", settings_of(lion, [](auto& s) { s.beta2 = 0.99; }), {4.1, 1e-3}},
      {"lion_8bit", settings_of(lion_8bit, [](auto& s) { s.beta2 = 0.99; }), {4.1, 1e-3}},
      {"adamw_8bit", settings_of(adamw_8bit), {2, 2e-3}},
      {"muon", settings_of(muon, [](auto& s) { s.momentum = 0.95, s.nesterov = true; }), {1.5, 0.5}},
  };
  return all;
}

void run(ZeroStore& store, const ModelLayout& layout, Communicator& comm, double lr) {
  std::vector<TensorRates> rates(layout.tensors.size());
  for (std::size_t t = 0; t < rates.size(); t += 2) rates[t].weight_decay = 0.1;
  for (int step = 1; step <= steps; ++step) {
    store.begin_step();
    store.begin_micro_step(1, true);
    run_micro_step(store, layout, shape.tied, oracle_gradient, comm.rank() == 0 ? step : -1);
    (void)store.reduce_gradients();
    store.optimizer_step({.lr = lr * (1 + step % 3), .step = step, .gradient_scale = 0.5}, rates);
  }
}

struct Deviation {
  std::int64_t seen = 0;
  std::int64_t beyond_typical = 0;
};

void compare(const ZeroStore& store, const Case& c, const Json& expected, Deviation& deviation) {
  const double lr = expected["lr"];
  for (const OwnedSlice& slice : store.owned()) {
    const auto& tensor = expected["tensors"][static_cast<std::size_t>(slice.tensor)];
    const std::int64_t stride = tensor["stride"];
    for (std::int64_t i = (slice.begin + stride - 1) / stride; i * stride < slice.begin + slice.count; ++i) {
      const double want = tensor["values"][static_cast<std::size_t>(i)];
      const double off = std::abs(slice.master[i * stride - slice.begin] - want);
      const double rounding = 1e-6 * std::abs(want);  // of ten updates
      ASSERT_LE(off, c.tolerance.each * lr + rounding) << "tensor " << slice.tensor << " element " << i * stride;
      ++deviation.seen;
      deviation.beyond_typical += off > c.tolerance.typical * lr + rounding ? 1 : 0;
    }
  }
}

TEST(Optimizers, AreThoseOfTheirProgramsOnEveryStage) {
  const Json oracle = Json::parse(std::ifstream(std::string(DSTRAIN_SOURCE_DIR) + "/tests/oracle/optimizers.json"));
  const auto comm = make_world_communicator();
  const ModelLayout layout = fake_layout(shape);
  for (const Case& c : cases()) {
    for (int stage = 0; stage <= 3; ++stage) {
      SCOPED_TRACE(testing::Message() << c.name << " stage " << stage);
      const StoreUnderTest store = make_store(layout, {.stage = stage, .optim = c.settings}, *comm);
      fill_weights(*store.store);
      const Json& expected = oracle["cases"][c.name];

      run(*store.store, layout, *comm, expected["lr"]);

      Deviation deviation;
      compare(*store.store, c, expected, deviation);
      comm->all_reduce(View(&deviation.seen, 1, DType::i64), ReduceOp::sum, Stream{}, "seen");
      comm->all_reduce(View(&deviation.beyond_typical, 1, DType::i64), ReduceOp::sum, Stream{}, "beyond");
      EXPECT_GE(deviation.seen, 6 * 48);
      EXPECT_LE(deviation.beyond_typical * 100, deviation.seen)
          << "of " << deviation.seen << " weights more than a hundredth are off";
    }
  }
  comm->close();
}

}  // namespace
}  // namespace dstrain::test::optimizers_test
