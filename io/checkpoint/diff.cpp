// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/diff.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.hpp"
#include "io/checkpoint/read.hpp"

namespace dstrain {
namespace {

double number(float x) { return static_cast<double>(x); }
double number(std::uint8_t x) { return static_cast<double>(x); }
double number(bfloat16 x) { return static_cast<double>(static_cast<float>(x)); }

/// Adds elements that differ to `d`; the same bits differ in nothing, also where they are NaN.
template <typename T>
void compare_piece(const T* a, const T* b, std::int64_t n, TensorDifference& d) {
  if (std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(T)) == 0) return;
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::memcmp(a + i, b + i, sizeof(T)) == 0) continue;
    ++d.differing;
    const double x = number(a[i]), y = number(b[i]);
    if (!std::isfinite(x) || !std::isfinite(y)) {
      ++d.not_finite;
      continue;
    }
    const double absolute = std::abs(x - y);
    d.max_absolute = std::max(d.max_absolute, absolute);
    const double larger = std::max(std::abs(x), std::abs(y));
    if (larger > 0) d.max_relative = std::max(d.max_relative, absolute / larger);
  }
}

class Comparison {
 public:
  Comparison(const std::filesystem::path& a, const std::filesystem::path& b)
      : a_(CheckpointReader::open(a)), b_(CheckpointReader::open(b)) {
    // Pieces of the one need not be pieces of the other: what is touched in part is verified in the scratch.
    piece_count_ = std::max(a_.scratch_count(), b_.scratch_count());
    values_a_.resize(static_cast<std::size_t>(piece_count_));
    values_b_.resize(values_a_.size());
    scratch_.resize(values_a_.size());
  }

  CheckpointDifference run() {
    result_.step_a = a_.step();
    result_.step_b = b_.step();
    for (const auto kind : all_checkpoint_kinds()) {
      for (std::size_t t = 0; t < a_.tensors().size(); ++t) {
        if (a_.has(kind, static_cast<std::int32_t>(t))) compare(kind, static_cast<std::int32_t>(t));
      }
      for (std::size_t t = 0; t < b_.tensors().size(); ++t) {
        const auto& tensor = b_.tensors()[t];
        const auto other = a_.find(tensor.name);
        if (b_.has(kind, static_cast<std::int32_t>(t)) && (other < 0 || !a_.has(kind, other)))
          note(kind, tensor, "only in the second");
      }
    }
    compare_metadata();
    return std::move(result_);
  }

 private:
  void note(CheckpointKind kind, const TensorInfo& tensor, std::string problem) {
    result_.tensors.push_back(
        {.kind = kind, .tensor = tensor.name, .problem = std::move(problem), .elements = count_of(kind, tensor)});
  }

  void compare(CheckpointKind kind, std::int32_t index) {
    const auto& tensor = a_.tensors()[static_cast<std::size_t>(index)];
    const auto other = b_.find(tensor.name);
    if (other < 0 || !b_.has(kind, other)) return note(kind, tensor, "only in the first");
    const auto& shape = b_.tensors()[static_cast<std::size_t>(other)].shape;
    if (shape != tensor.shape)
      return note(kind, tensor, fmt::format("shapes {} and {}", shape_text(tensor.shape), shape_text(shape)));

    TensorDifference d{.kind = kind, .tensor = tensor.name, .elements = count_of(kind, tensor)};
    for (std::int64_t begin = 0; begin < d.elements; begin += piece_count_) {
      const auto n = std::min(piece_count_, d.elements - begin);
      a_.read(kind, index, begin, n, values_a_.data(), scratch_);
      b_.read(kind, other, begin, n, values_b_.data(), scratch_);
      if (storage_of(kind) == DType::f32) {
        compare_piece(values_a_.data(), values_b_.data(), n, d);
      } else if (storage_of(kind) == DType::bf16) {
        compare_piece(reinterpret_cast<const bfloat16*>(values_a_.data()),
                      reinterpret_cast<const bfloat16*>(values_b_.data()), n, d);
      } else {
        compare_piece(reinterpret_cast<const std::uint8_t*>(values_a_.data()),
                      reinterpret_cast<const std::uint8_t*>(values_b_.data()), n, d);
      }
    }
    if (d.differing == 0) {
      ++result_.equal_tensors;
    } else {
      result_.tensors.push_back(std::move(d));
    }
  }

  void compare_metadata() {
    for (const auto& [key, text] : a_.metadata()) {
      const auto at = b_.metadata().find(key);
      if (at == b_.metadata().end()) {
        result_.metadata.push_back({key, "only in the first"});
      } else if (at->second != text) {
        const auto where = std::mismatch(text.begin(), text.end(), at->second.begin(), at->second.end()).first;
        result_.metadata.push_back({key, fmt::format("differs from byte {} on ({} and {} bytes)", where - text.begin(),
                                                     text.size(), at->second.size())});
      }
    }
    for (const auto& [key, text] : b_.metadata()) {
      if (!a_.metadata().contains(key)) result_.metadata.push_back({key, "only in the second"});
    }
  }

  CheckpointReader a_, b_;
  std::int64_t piece_count_ = 0;
  std::vector<float> values_a_, values_b_, scratch_;
  CheckpointDifference result_;
};

}  // namespace

CheckpointDifference compare_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b) {
  return Comparison(a, b).run();
}

}  // namespace dstrain
