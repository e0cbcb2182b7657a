// SPDX-License-Identifier: Apache-2.0
/// A checkpoint whose every value is known, cut over any number of ranks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/local_communicator.hpp"
#include "io/checkpoint/content.hpp"
#include "io/checkpoint/write.hpp"

namespace dstrain::test {

/// Shapes with rows that cuts fall into, one dim, three dims, none of them a power of two; the last one is empty.
inline const std::vector<TensorInfo> test_tensors{{"model.embed_tokens.weight", {37, 11}},
                                                  {"model.layers.0.norm.weight", {11}},
                                                  {"model.layers.0.conv.weight", {5, 3, 7}},
                                                  {"lm_head.weight", {13, 11}},
                                                  {"model.empty", {0, 4}}};
/// Has no optimizer states.
inline constexpr std::int32_t frozen_tensor = 1;

/// Exact in the kind's dtype; in fp32 different for every element of every tensor and kind.
inline float test_value(CheckpointKind kind, std::int32_t tensor, std::int64_t i) {
  if (storage_of(kind) != DType::f32) return static_cast<float>((7 * tensor + i + static_cast<int>(kind)) % 251);
  return 0.0625F * static_cast<float>(kind) + 1000.0F * static_cast<float>(tensor) + static_cast<float>(i);
}

/// Reads a range and widens it.
inline std::vector<float> read_values(CheckpointReader& reader, CheckpointKind kind, std::int32_t tensor,
                                      std::int64_t begin, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count), -1.0F);
  if (storage_of(kind) == DType::f32) {
    reader.read(kind, tensor, begin, count, values.data());
    return values;
  }
  if (storage_of(kind) == DType::bf16) {
    std::vector<bfloat16> narrow(static_cast<std::size_t>(count));
    reader.read(kind, tensor, begin, count, narrow.data());
    for (std::size_t i = 0; i < narrow.size(); ++i) values[i] = static_cast<float>(narrow[i]);
    return values;
  }
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(count), 252);
  reader.read(kind, tensor, begin, count, codes.data());
  std::copy(codes.begin(), codes.end(), values.begin());
  return values;
}

struct TestContent {
  CheckpointContent content;
  std::deque<std::vector<float>> buffers;
  std::deque<std::vector<std::uint8_t>> codes;
  std::deque<std::vector<bfloat16>> narrow;
};

/// Rank `rank`'s part: the tensors one behind the other, cut into `size` runs without regard to rows or tensors. Each
/// kind is cut elsewhere, so that ranks without anything of a kind occur.
inline TestContent make_test_content(int rank, int size, bool with_moments = true) {
  TestContent result;
  result.content.tensors = test_tensors;
  result.content.metadata = {{"trainer_state", R"({"global_step": 7, "note": "schön"})"},
                             {"config", std::string(100'000, 'c')}};
  for (int k = 0; k < (with_moments ? checkpoint_kinds : 1); ++k) {
    const auto kind = static_cast<CheckpointKind>(k);
    std::int64_t total = 0;
    for (const auto& tensor : test_tensors) total += count_of(kind, tensor);
    const auto cut = [&](int r) {
      if (r <= 0) return std::int64_t{0};
      return r >= size ? total : std::min(total, total * r / size + 5 * k);
    };
    std::int64_t tensor_begin = 0;
    for (std::size_t t = 0; t < test_tensors.size(); ++t) {
      const auto count = count_of(kind, test_tensors[t]);
      const auto begin = std::max(cut(rank), tensor_begin) - tensor_begin;
      const auto end = std::min(cut(rank + 1), tensor_begin + count) - tensor_begin;
      tensor_begin += count;
      if (kind != CheckpointKind::parameter && static_cast<std::int32_t>(t) == frozen_tensor) continue;
      if (begin >= end) continue;
      auto& values = result.buffers.emplace_back();
      for (auto i = begin; i < end; ++i) values.push_back(test_value(kind, static_cast<std::int32_t>(t), i));
      const void* data = values.data();
      if (storage_of(kind) == DType::u8) data = result.codes.emplace_back(values.begin(), values.end()).data();
      if (storage_of(kind) == DType::bf16) {
        auto& narrow = result.narrow.emplace_back();
        for (const float value : values) narrow.emplace_back(value);
        data = narrow.data();
      }
      result.content[kind].push_back({static_cast<std::int32_t>(t), begin, end - begin, data});
    }
  }
  return result;
}

/// Writes the checkpoint of one rank, fifty elements under a digest.
inline std::filesystem::path save(const std::filesystem::path& output_dir, std::int64_t step, bool with_moments = true,
                                  std::optional<int> limit = {}) {
  LocalCommunicator comm;
  const auto data = make_test_content(0, 1, with_moments);
  return write_checkpoint(comm, output_dir, step, data.content, {.save_total_limit = limit, .piece_count = 50});
}

/// Sorted.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace dstrain::test
