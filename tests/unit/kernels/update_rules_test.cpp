// SPDX-License-Identifier: Apache-2.0
/// Every update rule: reference -> cpu on every instruction set; hand-made numbers for what a formula is easily wrong
/// in.
#include <cmath>
#include <functional>
#include <tuple>

#include "core/error.hpp"
#include "kernels/ops/optimizer.hpp"
#include "kernels/reference/optimizer.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::update_rules_test {
namespace {

/// A rule with parameters, and how many states it uses.
struct Rule {
  const char* name;
  UpdateRule rule;
  UpdateParameters parameters;
};

UpdateParameters with(const std::function<void(UpdateParameters&)>& change) {
  UpdateParameters p;
  p.lr = 1e-2;
  p.weight_decay = 0.1;
  p.step = 3;
  p.gradient_scale = 0.5;
  change(p);
  return p;
}

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = {
      {"adamw", UpdateRule::adamw, with([](auto& p) { p.bias_correction = false; })},
      {"adam", UpdateRule::adam, with([](auto&) {})},
      {"adam_late", UpdateRule::adam_late, with([](auto& p) { p.beta2 = 0.95; })},
      {"sgd", UpdateRule::sgd, with([](auto&) {})},
      {"sgd_momentum", UpdateRule::sgd, with([](auto& p) { p.momentum = 0.9, p.dampening = 0.2; })},
      {"sgd_first_step", UpdateRule::sgd, with([](auto& p) { p.momentum = 0.9, p.dampening = 0.2, p.step = 1; })},
      {"sgd_nesterov", UpdateRule::sgd, with([](auto& p) { p.momentum = 0.9, p.nesterov = true; })},
      {"adagrad", UpdateRule::adagrad, with([](auto& p) { p.lr_decay = 0.1, p.eps = 1e-10; })},
      {"rmsprop", UpdateRule::rmsprop, with([](auto&) {})},
      {"rmsprop_momentum", UpdateRule::rmsprop, with([](auto& p) { p.momentum = 0.9, p.alpha = 0.9; })},
      {"rmsprop_centered", UpdateRule::rmsprop, with([](auto& p) { p.momentum = 0.9, p.centered = true; })},
      {"lion", UpdateRule::lion, with([](auto& p) { p.beta2 = 0.99; })},
      {"momentum", UpdateRule::momentum, with([](auto& p) { p.momentum = 0.95; })},
      {"momentum_nesterov", UpdateRule::momentum, with([](auto& p) { p.momentum = 0.95, p.nesterov = true; })},
  };
  return all;
}

class UpdateRules : public KernelTest {};

TEST_P(UpdateRules, MatchTheReferenceAndWriteTheComputeCopy) {
  for (const Rule& rule : rules()) {
    for (const std::int64_t count : {1, 7, 16, 1031, 40000}) {
      SCOPED_TRACE(testing::Message() << rule.name << " " << count);
      const UpdateParameters& p = rule.parameters;
      Buffer weight(DType::f32, uniform(count, 1)), copy(dtype(), count);
      // Means of squares above squares of means, as they are in a run.
      Buffer states[3] = {Buffer(DType::f32, uniform(count, 2, 0.5, 1)), Buffer(DType::f32, uniform(count, 3, 0, 0.5)),
                          Buffer(DType::f32, uniform(count, 4))};
      if (rule.rule == UpdateRule::lion) states[0] = Buffer(DType::f32, uniform(count, 2));
      const Buffer gradient(DType::f32, uniform(count, 5));
      std::vector<reference::Element<double>> expected(static_cast<std::size_t>(count));
      const auto w = weight.values(), g = gradient.values();
      const std::vector<double> s[3] = {states[0].values(), states[1].values(), states[2].values()};
      for (std::size_t i = 0; i < expected.size(); ++i) {
        expected[i] = {w[i], {s[0][i], s[1][i], s[2][i]}};
        reference::update(rule.rule, expected[i], g[i], p);
      }
      UpdateArrays arrays{weight.f32(), gradient.f32(), {states[0].f32(), states[1].f32(), states[2].f32()}, {}};
      if (dtype() != DType::f32) arrays.compute_copy = copy.data();
      if (!p.centered && rule.rule == UpdateRule::rmsprop) arrays.state[1] = nullptr;
      if (p.momentum == 0.0 && rule.rule == UpdateRule::rmsprop) arrays.state[2] = nullptr;

      ops::update({}, rule.rule, arrays, count, p);

      const auto weights = weight.values();
      const std::vector<double> got[3] = {states[0].values(), states[1].values(), states[2].values()};
      std::vector<double> expected_weights, expected_states[3];
      for (const auto& e : expected) {
        expected_weights.push_back(e.weight);
        for (int k = 0; k < 3; ++k) expected_states[k].push_back(e.state[k]);
      }
      EXPECT_TRUE(all_close(weights, expected_weights, tolerance_for(DType::f32)));
      for (int k = 0; k < 3; ++k) EXPECT_TRUE(all_close(got[k], expected_states[k], tolerance_for(DType::f32))) << k;
      if (dtype() != DType::f32 && rule.rule != UpdateRule::momentum) {
        EXPECT_EQ(copy.bits(), Buffer(dtype(), weights).bits());
      }
    }
  }
}

TEST_P(UpdateRules, GiveTheSameBitsForAnyThreads) {
  constexpr std::int64_t count = 100'003;
  const Buffer gradient(DType::f32, uniform(count, 4));
  for (const Rule& rule : rules()) {
    SCOPED_TRACE(rule.name);
    expect_same_for_any_threads([&] {
      Buffer weight(DType::f32, uniform(count, 1)), a(DType::f32, uniform(count, 2, 0.5, 1)),
          b(DType::f32, uniform(count, 3, 0, 0.5)), c(DType::f32, uniform(count, 5));
      ops::update({}, rule.rule, {weight.f32(), gradient.f32(), {a.f32(), b.f32(), c.f32()}, {}}, count,
                  rule.parameters);
      return std::tuple(weight.bits(), a.bits(), b.bits(), c.bits());
    });
  }
}

TEST_P(UpdateRules, RefuseAMissingState) {
  Buffer x(DType::f32, 2);
  for (const Rule& rule : rules()) {
    if (rule.rule == UpdateRule::sgd && rule.parameters.momentum == 0.0) continue;  // it has none
    EXPECT_THROW(ops::update({}, rule.rule, {x.f32(), x.f32(), {}, {}}, 2, rule.parameters), ShapeError) << rule.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, UpdateRules, every_isa_and_dtype(), name_of_case);

// A weight that decays by the gradient moves by less than one that decays by itself once the step is normalised.
TEST(UpdateRulesReference, AdamAddsTheDecayToTheGradient) {
  UpdateParameters p;
  p.lr = 0.1;
  p.beta1 = p.beta2 = 0;
  p.eps = 0;
  p.weight_decay = 0.5;
  reference::Element<double> coupled{2, {0, 0, 0}}, decoupled{2, {0, 0, 0}};

  reference::update(UpdateRule::adam, coupled, 3.0, p);
  reference::update(UpdateRule::adamw, decoupled, 3.0, p);

  EXPECT_NEAR(coupled.state[0], 3 + 0.5 * 2, 1e-15);
  EXPECT_NEAR(coupled.weight, 2 - 0.1, 1e-12);
  EXPECT_NEAR(decoupled.weight, 2 - 0.1 * 0.5 * 2 - 0.1, 1e-12);
}

TEST(UpdateRulesReference, LionMovesByTheSignOfTheBlend) {
  UpdateParameters p;
  p.lr = 0.1;
  p.beta1 = 0.9;
  p.beta2 = 0.5;
  reference::Element<double> e{1, {-1, 0, 0}};

  reference::update(UpdateRule::lion, e, 5.0, p);  // 0.9 * -1 + 0.1 * 5 < 0

  EXPECT_NEAR(e.weight, 1.1, 1e-15);
  EXPECT_NEAR(e.state[0], 2, 1e-15);
}

}  // namespace
}  // namespace dstrain::test::update_rules_test
