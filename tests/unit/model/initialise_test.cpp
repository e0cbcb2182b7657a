// SPDX-License-Identifier: Apache-2.0
#include "model/initialise.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.hpp"
#include "unit/model/model_under_test.hpp"

namespace dstrain::initialise_test {
namespace {

std::vector<float> initial(const ModelSpec& spec, const TensorLayout& tensor, std::int64_t begin, std::int64_t count,
                           std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  fill_initial(spec, tensor, begin, count, values.data(), seed);
  return values;
}

TEST(Initialise, MatricesAreNormalWithTheSpecsDeviation) {
  const auto spec = preset_spec("nano");
  const auto layout = make_layout(spec);
  const auto values = initial(spec, layout.tensors[0], 0, layout.tensors[0].count, 42);
  double sum = 0.0;
  double squares = 0.0;
  for (const float v : values) sum += v, squares += static_cast<double>(v) * v;
  const auto n = static_cast<double>(values.size());

  // Four standard errors of mean and deviation of n normal numbers.
  EXPECT_NEAR(sum / n, 0.0, 4 * 0.02 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n), 0.02, 4 * 0.02 / std::sqrt(2 * n));
}

TEST(Initialise, NormsAreOneAndBiasesZero) {
  const auto spec = test::small_spec(true, true);
  const auto layout = make_layout(spec);
  for (const TensorLayout& tensor : layout.tensors) {
    if (tensor.shape.size() > 1) continue;
    const float expected = tensor.name.ends_with("bias") ? 0.0F : 1.0F;
    EXPECT_EQ(initial(spec, tensor, 0, tensor.count, 1),
              std::vector<float>(static_cast<std::size_t>(tensor.count), expected))
        << tensor.name;
  }
}

TEST(Initialise, ASliceIsThatPartOfTheWhole) {
  const auto spec = preset_spec("nano");
  const auto layout = make_layout(spec);
  const TensorLayout& tensor = layout.tensors[1];
  const auto whole = initial(spec, tensor, 0, tensor.count, 3);
  const auto slice = initial(spec, tensor, 1001, 777, 3);

  EXPECT_TRUE(std::equal(slice.begin(), slice.end(), whole.begin() + 1001));
}

TEST(Initialise, SeedsAndTensorsHaveTheirOwnNumbers) {
  const auto spec = preset_spec("nano");
  const auto layout = make_layout(spec);

  EXPECT_NE(initial(spec, layout.tensors[0], 0, 64, 1), initial(spec, layout.tensors[0], 0, 64, 2));
  EXPECT_NE(initial(spec, layout.tensors[0], 0, 64, 1), initial(spec, layout.tensors[1], 0, 64, 1));
}

TEST(Initialise, ARangeOutsideTheTensorIsRefused) {
  const auto spec = preset_spec("nano");
  const auto layout = make_layout(spec);
  float out = 0;

  EXPECT_THROW(fill_initial(spec, layout.tensors[0], layout.tensors[0].count, 1, &out, 1), Error);
}

}  // namespace
}  // namespace dstrain::initialise_test
