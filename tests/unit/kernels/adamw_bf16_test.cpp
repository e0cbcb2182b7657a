// SPDX-License-Identifier: Apache-2.0
/// AdamW on bf16 alone against torch's own bits (tests/oracle/make_losses.py).
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "core/error.hpp"
#include "kernels/ops/optimizer.hpp"
#include "support/random.hpp"

namespace dstrain::test::adamw_bf16_test {
namespace {

std::vector<bfloat16> read_bits(std::ifstream& file) {
  std::string line;
  std::getline(file, line);
  std::istringstream in(line);
  std::vector<bfloat16> values;
  for (unsigned bits = 0; in >> std::hex >> bits;) {
    values.emplace_back();
    values.back().bits = static_cast<std::uint16_t>(bits);
  }
  return values;
}

std::vector<float> read_floats(std::ifstream& file) {
  std::string line;
  std::getline(file, line);
  std::istringstream in(line);
  std::vector<float> values;
  for (float value = 0; in >> value;) values.push_back(value);
  return values;
}

std::int64_t differing(const std::vector<bfloat16>& a, const std::vector<bfloat16>& b) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += a[i].bits != b[i].bits ? 1 : 0;
  return count;
}

Data data_of(std::vector<bfloat16>& values) { return {values.data(), DType::bf16}; }

TEST(AdamWBf16, HasTorchsBits) {
  std::ifstream file(std::string(DSTRAIN_SOURCE_DIR) + "/tests/oracle/adamw_bf16.txt");
  ASSERT_TRUE(file.good());
  std::vector<bfloat16> p = read_bits(file), m(p.size()), v(p.size());
  ASSERT_EQ(p.size(), 64U);
  for (int step = 1; step <= 12; ++step) {
    SCOPED_TRACE(step);
    const std::vector<float> gradient = read_floats(file);
    ASSERT_EQ(gradient.size(), p.size());
    const UpdateParameters u{.lr = 3e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1, .step = step};

    ops::adamw_bf16({}, data_of(p), data_of(m), data_of(v), gradient.data(), std::ssize(p), u);

    EXPECT_EQ(differing(p, read_bits(file)), 0);
    EXPECT_EQ(differing(m, read_bits(file)), 0);
    EXPECT_EQ(differing(v, read_bits(file)), 0);
  }
}

TEST(AdamWBf16, ScalesTheRoundedGradient) {
  std::vector<bfloat16> p(1), m(1), v(1);
  const float gradient = 1.01F;  // 1.0078125 in bf16
  const UpdateParameters u{.lr = 1, .beta1 = 0, .beta2 = 0.5, .eps = 0, .step = 1, .gradient_scale = 0.25};

  ops::adamw_bf16({}, data_of(p), data_of(m), data_of(v), &gradient, 1, u);

  EXPECT_EQ(static_cast<float>(m[0]), 1.0078125F / 4);
  EXPECT_EQ(static_cast<float>(p[0]), -1.0F);
}

TEST(AdamWBf16, RefusesOtherDtypes) {
  std::vector<bfloat16> p(1), m(1);
  float v = 0, gradient = 0;
  EXPECT_THROW(ops::adamw_bf16({}, data_of(p), data_of(m), {&v, DType::f32}, &gradient, 1, {}), ShapeError);
}

}  // namespace
}  // namespace dstrain::test::adamw_bf16_test
