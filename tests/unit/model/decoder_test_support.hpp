// SPDX-License-Identifier: Apache-2.0
/// Rows, options and whole passes for tests of the decoder.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/error.hpp"
#include "model/decoder.hpp"
#include "support/token_rows.hpp"
#include "unit/model/model_under_test.hpp"

namespace dstrain::test {

using Row = std::vector<std::int32_t>;

inline Row make_row(std::int64_t length, std::uint32_t seed, std::int64_t vocab_size = 97) {
  Row row(static_cast<std::size_t>(length));
  std::uint32_t state = seed * 2654435761U + 1;
  for (auto& id : row) {
    state = state * 1664525U + 1013904223U;
    id = static_cast<std::int32_t>((state >> 8) % static_cast<std::uint32_t>(vocab_size));
  }
  return row;
}

inline DecoderOptions options_for(std::int64_t tokens, bool checkpointing = true, DType dtype = DType::f32) {
  DecoderOptions o;
  o.dtype = dtype;
  o.gradient_checkpointing = checkpointing;
  o.max_tokens = token_class(tokens);
  return o;
}

/// All gradients, tensor by tensor.
inline std::vector<float> gradients(const ModelUnderTest& m) {
  std::vector<float> all;
  for (const TensorLayout& t : m.layout.tensors)
    all.insert(all.end(), m.store->gradient_of(t), m.store->gradient_of(t) + t.count);
  return all;
}

inline double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a.at(i)) - b[i], 2);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / norm);
}

inline ForwardResult run(ModelUnderTest& m, const MicroBatch& batch, bool accumulate = false) {
  m.store->begin_micro_step(accumulate);
  const ForwardResult result = m.decoder->forward(*m.store, batch, true);
  m.decoder->backward(*m.store, batch);
  EXPECT_TRUE(m.store->at_rest());
  return result;
}

}  // namespace dstrain::test
