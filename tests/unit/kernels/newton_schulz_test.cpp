// SPDX-License-Identifier: Apache-2.0
/// The ends of a Newton-Schulz iteration, against plain loops; and rows that are copied out of wider ones.
#include "kernels/ops/newton_schulz.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "core/error.hpp"
#include "kernels/ops/elementwise.hpp"
#include "support/random.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::newton_schulz_test {
namespace {

constexpr DeviceKind kind = on_device ? DeviceKind::cuda : DeviceKind::cpu;
const std::pair<std::int64_t, std::int64_t> shapes[] = {{1, 1}, {3, 7}, {64, 33}, {70, 300}};

/// With the workspace that unit_matrix() asks for.
struct Workspace {
  std::vector<double> memory =
      std::vector<double>(static_cast<std::size_t>(ops::unit_matrix_workspace_bytes(kind)) / sizeof(double) + 1);
  [[nodiscard]] Exec exec() { return {{}, memory.data(), static_cast<std::int64_t>(memory.size() * sizeof(double))}; }
};

TEST(UnitMatrix, HasLengthOneAndTheRoundedDirection) {
  Workspace workspace;
  for (const auto& [rows, columns] : shapes) {
    for (const bool transposed : {false, true}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << columns << " transposed " << transposed);
      const Buffer matrix(DType::f32, uniform(rows * columns, 1, -3, 3));
      const auto values = matrix.values();
      std::vector<double> rounded;
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        const std::int64_t at = transposed ? i % rows * columns + i / rows : i;
        rounded.push_back(static_cast<double>(
            static_cast<float>(bfloat16(static_cast<float>(values[static_cast<std::size_t>(at)])))));
      }
      double squares = 0.0;
      for (const double v : rounded) squares += v * v;
      const float norm = static_cast<float>(bfloat16(static_cast<float>(std::sqrt(squares))));
      const float divisor = static_cast<float>(bfloat16(norm + 1e-7F));
      for (double& v : rounded) v = static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(v) / divisor)));
      Buffer x(DType::bf16, rows * columns);

      ops::unit_matrix(workspace.exec(), x.data(), matrix.f32(), rows, columns, transposed);

      EXPECT_EQ(x.values(), rounded);
    }
  }
}

TEST(UnitMatrix, OfZerosStaysZero) {
  Workspace workspace;
  const Buffer matrix(DType::f32, 12);
  Buffer x(DType::bf16, 12, 3.0);

  ops::unit_matrix(workspace.exec(), x.data(), matrix.f32(), 3, 4, false);

  EXPECT_EQ(x.values(), std::vector<double>(12, 0.0));
}

TEST(WidenMatrix, TakesTheTransposeBack) {
  for (const auto& [rows, columns] : shapes) {
    const Buffer x(DType::bf16, uniform(rows * columns, 2));
    const auto values = x.values();
    for (const bool transposed : {false, true}) {
      Buffer matrix(DType::f32, rows * columns);

      ops::widen_matrix({}, matrix.f32(), x.data(), rows, columns, transposed);

      const auto wide = matrix.values();
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) {
          EXPECT_EQ(wide[static_cast<std::size_t>(r * columns + c)],
                    values[static_cast<std::size_t>(transposed ? c * rows + r : r * columns + c)]);
        }
      }
    }
  }
}

TEST(NewtonSchulzEnds, RefuseOtherDtypes) {
  Workspace workspace;
  Buffer matrix(DType::f32, 4), x(DType::f32, 4);
  EXPECT_THROW(ops::unit_matrix(workspace.exec(), x.data(), matrix.f32(), 2, 2, false), ShapeError);
  EXPECT_THROW(ops::widen_matrix({}, matrix.f32(), x.data(), 2, 2, false), ShapeError);
}

TEST(CopyRows, TakesColumnsOutOfWiderRows) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Buffer from(dtype, uniform(5 * 11, 3));
    Buffer to(dtype, 5 * 8, 1.0);

    ops::copy_rows({}, to.data().at(1), from.data().at(4), 5, 7, 8, 11);

    const auto source = from.values(), copied = to.values();
    for (std::size_t t = 0; t < 5; ++t) {
      EXPECT_EQ(copied[t * 8], 1.0) << "between the rows nothing is written";
      for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(copied[t * 8 + 1 + i], source[t * 11 + 4 + i]);
    }
  }
  Buffer narrow(DType::bf16, 4), wide(DType::f32, 4);
  EXPECT_THROW(ops::copy_rows({}, narrow.data(), wide.data(), 1, 4, 4, 4), ShapeError);
}

}  // namespace
}  // namespace dstrain::test::newton_schulz_test
