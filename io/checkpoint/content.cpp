// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/content.hpp"

#include <algorithm>
#include <unordered_set>

#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr std::array<std::string_view, checkpoint_kinds> kind_names = {
    "parameter",  "exp_avg",  "exp_avg_sq",     "momentum_buffer", "sum",
    "square_avg", "grad_avg", "exp_avg_sq_row", "exp_avg_sq_col",  "state1",
    "absmax1",    "state2",   "absmax2",        "exp_avg_bf16",    "exp_avg_sq_bf16"};

constexpr std::int64_t elements_per_absmax = 256;

/// Adds the boxes of [begin, end) counted inside the sub-array that `prefix` selects.
void add_boxes(std::span<const std::int64_t> shape, std::vector<std::int64_t>& prefix, std::int64_t begin,
               std::int64_t end, std::vector<TensorBox>& boxes) {
  const auto dim = prefix.size();
  std::int64_t row = 1;  // elements of one step in `dim`
  for (std::size_t d = dim + 1; d < shape.size(); ++d) row *= shape[d];

  const auto add_box = [&](std::int64_t first, std::int64_t count) {
    TensorBox box{prefix, std::vector<std::int64_t>(prefix.size(), 1)};
    box.start.push_back(first);
    box.extent.push_back(count);
    for (std::size_t d = dim + 1; d < shape.size(); ++d) {
      box.start.push_back(0);
      box.extent.push_back(shape[d]);
    }
    boxes.push_back(std::move(box));
  };
  const auto add_part_of_row = [&](std::int64_t index, std::int64_t from, std::int64_t to) {
    prefix.push_back(index);
    add_boxes(shape, prefix, from, to, boxes);
    prefix.pop_back();
  };

  auto first = begin / row;
  const auto last = end / row;  // the row that `end` lies in
  if (begin % row != 0) {
    const auto to = first == last ? end % row : row;
    add_part_of_row(first, begin % row, to);
    if (first == last) return;
    ++first;
  }
  if (last > first) add_box(first, last - first);
  if (end % row != 0) add_part_of_row(last, 0, end % row);
}

}  // namespace

std::string_view name_of(CheckpointKind kind) noexcept { return kind_names[static_cast<std::size_t>(kind)]; }

CheckpointKind checkpoint_kind(std::string_view name) {
  const auto at = std::find(kind_names.begin(), kind_names.end(), name);
  DSTRAIN_CHECK(at != kind_names.end(), "a checkpoint has no kind \"{}\"", name);
  return static_cast<CheckpointKind>(at - kind_names.begin());
}

DType storage_of(CheckpointKind kind) noexcept {
  if (kind == CheckpointKind::exp_avg_bf16 || kind == CheckpointKind::exp_avg_sq_bf16) return DType::bf16;
  return kind == CheckpointKind::state1 || kind == CheckpointKind::state2 ? DType::u8 : DType::f32;
}

std::vector<std::int64_t> shape_of(CheckpointKind kind, std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> own(shape.begin(), shape.end());
  if (kind == CheckpointKind::exp_avg_sq_row && !own.empty()) own.pop_back();
  if (kind == CheckpointKind::exp_avg_sq_col && own.size() >= 2) own.erase(own.end() - 2);
  if (kind == CheckpointKind::absmax1 || kind == CheckpointKind::absmax2) {
    std::int64_t count = 1;
    for (const auto extent : shape) count *= extent;
    return {(count + elements_per_absmax - 1) / elements_per_absmax};
  }
  return own;
}

std::int64_t count_of(CheckpointKind kind, const TensorInfo& tensor) {
  std::int64_t count = 1;
  for (const auto extent : shape_of(kind, tensor.shape)) count *= extent;
  return count;
}

std::vector<TensorBox> boxes_of_range(std::span<const std::int64_t> shape, std::int64_t begin, std::int64_t count) {
  std::vector<TensorBox> boxes;
  if (count <= 0) return boxes;
  if (shape.empty()) return {TensorBox{}};
  std::vector<std::int64_t> prefix;
  add_boxes(shape, prefix, begin, begin + count, boxes);
  return boxes;
}

void check_tensor_list(std::span<const TensorInfo> tensors) {
  constexpr std::size_t max_name = 1024;
  constexpr std::size_t max_dims = 16;
  std::unordered_set<std::string_view> names;
  for (const auto& tensor : tensors) {
    const auto& name = tensor.name;
    // HDF5 takes '/' as a group and "." as "here"; the states lie in groups beside the tensors.
    const bool is_group = std::find(kind_names.begin() + 1, kind_names.end(), name) != kind_names.end();
    const bool usable = !name.empty() && name.size() <= max_name && name != "." && name != ".." && !is_group &&
                        name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
    DSTRAIN_CHECK(usable, "a tensor cannot be called \"{}\" in a checkpoint", name);
    DSTRAIN_CHECK(names.insert(name).second, "two tensors are called \"{}\"", name);
    DSTRAIN_CHECK(tensor.shape.size() <= max_dims && checked_count(tensor.shape),
                  "tensor \"{}\" has the impossible shape {}", name, shape_text(tensor.shape));
  }
}

}  // namespace dstrain
