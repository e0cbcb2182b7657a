// SPDX-License-Identifier: Apache-2.0
/// Gradients of a fused layer with adapters against differences of its own forward pass, with dropout on.
#include "model/adapters/lora.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "model/linear.hpp"
#include "support/random.hpp"

namespace dstrain::lora_test {
namespace {

constexpr std::int64_t T = 6, in = 5, rank = 2, out_q = 4, out_k = 3, out = out_q + out_k;

struct Variant {
  float dropout;
  bool dora;
  bool k_too;  ///< both matrices are adapted, else q alone
};

void PrintTo(const Variant& v, std::ostream* stream) {
  *stream << "dropout " << v.dropout << (v.dora ? " dora" : "") << (v.k_too ? " q k" : " q");
}

std::vector<float> floats(std::int64_t n, int seed) {
  const auto values = test::uniform(n, seed);
  return {values.begin(), values.end()};
}

/// A unit of two fused matrices with adapters, and everything a pass needs.
struct Layer {
  ModelLayout layout;
  Linear linear;
  std::vector<float> trainable, frozen, gradient;
  std::vector<float> rows = std::vector<float>(T * 8), row_gradients = rows, input = std::vector<float>(T * in),
                     update = std::vector<float>(T * 16), scaled = std::vector<float>(T * out), factors, workspace;
  AdapterPass pass;

  explicit Layer(const Variant& v) {
    append_tensor(layout, 0, "q.weight", {out_q, in}, false, PartKind::frozen);
    append_tensor(layout, 0, "k.weight", {out_k, in}, true, PartKind::frozen);
    const auto adapt = [&](std::int32_t weight, const std::string& name, std::int64_t rows_out, bool adjacent) {
      AdapterLayout a;
      a.weight = weight;
      a.rank = rank;
      a.out = rows_out;
      a.in = in;
      a.scale = 1.5F;
      a.dropout = v.dropout;
      append_tensor(layout, 0, name + ".lora_A.weight", {rank, in}, adjacent);
      a.a = static_cast<std::int32_t>(layout.tensors.size()) - 1;
      append_tensor(layout, 0, name + ".lora_B.weight", {rows_out, rank});
      a.b = a.a + 1;
      if (v.dora) append_tensor(layout, 0, name + ".lora_magnitude_vector", {rows_out});
      if (v.dora) a.magnitude = a.a + 2;
      layout.adapters.push_back(a);
    };
    adapt(0, "q", out_q, false);
    if (v.k_too) adapt(1, "k", out_k, false);
    finish_layout(layout);
    linear = make_linear(layout, 0, {in, out}, "q");
    trainable = floats(layout.units[0].parts[0].padded(), 1);
    frozen = floats(layout.units[0].parts[1].padded(), 2);
    gradient.assign(trainable.size(), 0.0F);
    factors.resize(3 * out);
    pass.rows_TR = {rows.data(), DType::f32};
    pass.gradients_TR = {row_gradients.data(), DType::f32};
    pass.input = {input.data(), DType::f32};
    pass.update = {update.data(), DType::f32};
    pass.scaled = {scaled.data(), DType::f32};
    pass.factors = factors.data();
    pass.shifted = factors.data() + out;
    pass.inverse_norms = factors.data() + 2 * out;
    pass.versions.assign(2, 0);
    pass.training = true;
    pass.seed = 7;
    pass.sample = 3;
    workspace.resize(1 << 20);
  }

  [[nodiscard]] UnitWeights weights(std::uint64_t version) {
    UnitWeights w;
    w.parts = {ConstData(trainable.data(), DType::f32), ConstData(frozen.data(), DType::f32)};
    w.version = version;
    w.adapters = &pass;
    return w;
  }
  [[nodiscard]] Exec exec() { return {Stream{}, workspace.data(), static_cast<std::int64_t>(workspace.size() * 4)}; }

  double loss(const std::vector<float>& x, const std::vector<float>& dy, std::uint64_t version) {
    std::vector<float> y(T * out);
    linear.forward(exec(), {y.data(), DType::f32}, {x.data(), DType::f32}, T, weights(version));
    return std::inner_product(y.begin(), y.end(), dy.begin(), 0.0);
  }
};

class LoraLayer : public testing::TestWithParam<Variant> {};

/// Central differences of a loss that is linear in each single value: a large step has no error but rounding.
template <typename Loss>
void expect_differences(const Loss& loss, std::vector<float>& values, std::int64_t begin, std::int64_t count,
                        const float* gradient, const char* what) {
  for (std::int64_t i = 0; i < count; ++i) {
    float& value = values[static_cast<std::size_t>(begin + i)];
    const float kept = value;
    value = kept + 0.5F;
    const double above = loss();
    value = kept - 0.5F;
    const double below = loss();
    value = kept;
    EXPECT_NEAR(above - below, gradient[i], 2e-4) << what << " " << i;
  }
}

TEST_P(LoraLayer, GradientsAreThoseOfItsForwardPass) {
  Layer layer(GetParam());
  std::vector<float> x = floats(T * in, 3);
  const std::vector<float> dy = floats(T * out, 4);
  const auto w = layer.weights(1);
  // The first pass makes DoRA's factors; they stay while the version does, as the norm counts as a constant.
  (void)layer.loss(x, dy, 1);
  std::vector<float> dx(T * in);

  layer.linear.weight_gradient(layer.exec(), w, {layer.gradient.data(), false}, {dy.data(), DType::f32},
                               {x.data(), DType::f32}, T);
  layer.linear.input_gradient(layer.exec(), {dx.data(), DType::f32}, {dy.data(), DType::f32}, T, w);

  const auto loss = [&] { return layer.loss(x, dy, 1); };
  expect_differences(loss, x, 0, T * in, dx.data(), "x");
  for (const TensorLayout& tensor : layer.layout.tensors) {
    if (tensor.part == PartKind::frozen) continue;
    if (tensor.name.ends_with("magnitude_vector")) {
      // The factors follow the magnitudes only with a new version; the norms do not depend on them.
      std::uint64_t version = 2;
      expect_differences([&] { return layer.loss(x, dy, version++); }, layer.trainable, tensor.offset, tensor.count,
                         layer.gradient.data() + tensor.offset, tensor.name.c_str());
      (void)layer.loss(x, dy, version);
    }
  }
  Layer fresh(GetParam());
  (void)fresh.loss(x, dy, 1);
  for (const TensorLayout& tensor : layer.layout.tensors) {
    if (tensor.part == PartKind::frozen || tensor.name.ends_with("magnitude_vector")) continue;
    expect_differences([&] { return fresh.loss(x, dy, 1); }, fresh.trainable, tensor.offset, tensor.count,
                       layer.gradient.data() + tensor.offset, tensor.name.c_str());
  }
}

TEST_P(LoraLayer, GradientsAreAddedWhereAsked) {
  Layer layer(GetParam());
  const std::vector<float> x = floats(T * in, 3), dy = floats(T * out, 4);
  const auto w = layer.weights(1);

  layer.linear.weight_gradient(layer.exec(), w, {layer.gradient.data(), false}, {dy.data(), DType::f32},
                               {x.data(), DType::f32}, T);
  const std::vector<float> once = layer.gradient;
  layer.linear.weight_gradient(layer.exec(), w, {layer.gradient.data(), true}, {dy.data(), DType::f32},
                               {x.data(), DType::f32}, T);

  for (std::size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(layer.gradient[i], 2 * once[i], 1e-5);
}

TEST_P(LoraLayer, SwitchedOffIsTheBaseModel) {
  Layer layer(GetParam());
  const std::vector<float> x = floats(T * in, 3);
  layer.pass.active = false;
  std::vector<float> y(T * out), base(T * out);

  layer.linear.forward(layer.exec(), {y.data(), DType::f32}, {x.data(), DType::f32}, T, layer.weights(1));
  Linear plain = layer.linear;
  plain.lora = {};
  plain.forward(layer.exec(), {base.data(), DType::f32}, {x.data(), DType::f32}, T, layer.weights(1));

  EXPECT_EQ(y, base);
}

// Without dropout in evaluation, and the same mask again for the same slot.
TEST(LoraDropout, IsOffInEvaluationAndKeyedByTheSlot) {
  Layer layer({0.5F, false, true});
  const std::vector<float> x = floats(T * in, 3), dy = floats(T * out, 4);

  const double first = layer.loss(x, dy, 1);
  EXPECT_EQ(layer.loss(x, dy, 1), first);
  layer.pass.sample = 4;
  EXPECT_NE(layer.loss(x, dy, 1), first);
  layer.pass.training = false;
  const double off = layer.loss(x, dy, 1);
  layer.pass.sample = 3;
  EXPECT_EQ(layer.loss(x, dy, 1), off);
}

INSTANTIATE_TEST_SUITE_P(Variants, LoraLayer,
                         testing::Values(Variant{0.0F, false, true}, Variant{0.0F, false, false},
                                         Variant{0.0F, true, true}, Variant{0.4F, false, true},
                                         Variant{0.4F, true, true}, Variant{0.4F, true, false}));

}  // namespace
}  // namespace dstrain::lora_test
