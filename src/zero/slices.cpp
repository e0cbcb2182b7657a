// SPDX-License-Identifier: Apache-2.0
#include "zero/slices.hpp"

#include <algorithm>
#include <string_view>

#include "core/error.hpp"
#include "kernels/ops/optimizer_8bit.hpp"

namespace dstrain {

namespace {

/// Elements that a state takes in its row: whole cache lines.
std::int64_t padded_state(const StateSlice& state) {
  const std::int64_t line = 64 / static_cast<std::int64_t>(size_of(state.spec.dtype));
  return (state.count + line - 1) / line * line;
}

std::size_t row_of(const std::vector<StateRow>& rows, const StateSpec& spec) {
  std::size_t row = 0;
  while (row < rows.size() && (std::string_view(rows[row].name) != spec.name || rows[row].dtype != spec.dtype)) ++row;
  DSTRAIN_CHECK(row < rows.size(), "no row was planned for {}", spec.name);
  return row;
}

/// Gives each state of each slice the next place in its row. @param at  pointer of an element of a row
template <typename At>
void place_states(std::vector<OwnedSlice>& slices, const std::vector<StateRow>& rows, const At& at) {
  std::vector<std::int64_t> used(rows.size(), 0);
  for (OwnedSlice& slice : slices) {
    for (StateSlice& state : slice.states) {
      if (state.spec.name == nullptr) continue;
      const std::size_t row = row_of(rows, state.spec);
      state.data = at(rows[row], used[row]);
      used[row] += padded_state(state);
    }
  }
}

/// Cuts every tensor of every unit to range_of(its part).
template <typename RangeOf>
std::vector<OwnedSlice> cut(const ModelLayout& layout, const ZeroBuffers& buffers, const RangeOf& range_of) {
  std::vector<OwnedSlice> slices;
  for (std::size_t u = 0; u < layout.units.size(); ++u) {
    for (const std::int32_t index : layout.units[u].tensors) {
      const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
      const PartRange range = range_of(buffers.units[u].weights[static_cast<int>(tensor.part)]);
      const std::int64_t begin = std::max(tensor.offset, range.begin);
      const std::int64_t end = std::min(tensor.offset + tensor.count, range.begin + range.count);
      if (begin >= end) continue;
      slices.push_back({.tensor = index, .begin = begin - tensor.offset, .count = end - begin});
      if (!buffers.updates.empty() && tensor.part == PartKind::trainable)
        slices.back().states = states_of(buffers.updates[static_cast<std::size_t>(index)], tensor, slices.back());
    }
  }
  return slices;
}

}  // namespace

std::array<StateSlice, most_states> states_of(const TensorUpdate& update, const TensorLayout& tensor,
                                              const OwnedSlice& slice) {
  std::array<StateSlice, most_states> states{};
  for (std::size_t i = 0; i < states.size(); ++i) {
    const StateSpec& spec = update.states[i];
    if (spec.name == nullptr) continue;
    switch (spec.extent) {
      case StateExtent::element:
        states[i] = {spec, slice.begin, slice.count, nullptr};
        break;
      case StateExtent::block: {
        DSTRAIN_CHECK(slice.begin % state_block == 0, "a slice of {} begins inside a block", tensor.name);
        const std::int64_t end = (slice.begin + slice.count + state_block - 1) / state_block;
        states[i] = {spec, slice.begin / state_block, end - slice.begin / state_block, nullptr};
        break;
      }
      case StateExtent::row:
      case StateExtent::column:
        states[i] = {spec, 0, state_count(spec.extent, tensor), nullptr};
        break;
    }
  }
  return states;
}

std::vector<StateRow> state_rows(const ModelLayout& layout, const ZeroBuffers& buffers) {
  std::vector<StateRow> rows;
  for (const TensorUpdate& update : buffers.updates) {
    for (const StateSpec& spec : update.states) {
      if (spec.name == nullptr) continue;
      const auto same = [&](const StateRow& row) {
        return std::string_view(row.name) == spec.name && row.dtype == spec.dtype;
      };
      if (std::none_of(rows.begin(), rows.end(), same)) {
        const bool by_host = spec.extent == StateExtent::row || spec.extent == StateExtent::column;
        rows.push_back({spec.name, spec.dtype, 0, {}, by_host});
      }
    }
  }
  // Without sharding all ranks keep the same.
  for (int rank = 0; rank < (buffers.scheme.sharded_state ? buffers.ranks : 1); ++rank) {
    std::vector<std::int64_t> used(rows.size(), 0);
    for (const OwnedSlice& slice : kept_slices(layout, buffers, rank)) {
      for (const StateSlice& state : slice.states) {
        if (state.spec.name != nullptr) used[row_of(rows, state.spec)] += padded_state(state);
      }
    }
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].count = std::max(rows[i].count, used[i]);
  }
  return rows;
}

std::vector<OwnedSlice> kept_slices(const ModelLayout& layout, const ZeroBuffers& buffers, int rank) {
  return cut(layout, buffers, [&](const PartPlace& part) { return kept_range(buffers, part, rank); });
}

std::vector<OwnedSlice> shard_slices(const ModelLayout& layout, const ZeroBuffers& buffers, int rank) {
  return cut(layout, buffers, [&](const PartPlace& part) {
    const std::int64_t begin = part.slices.begin(rank);
    return PartRange{begin, part.slices.end(rank) - begin};
  });
}

std::vector<OwnedSlice> slices_in_memory(const ModelLayout& layout, const ZeroMemory& memory) {
  std::vector<OwnedSlice> slices = kept_slices(layout, memory.buffers(), memory.rank());
  for (OwnedSlice& slice : slices) {
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(slice.tensor)];
    const int kind = static_cast<int>(tensor.part);
    const PartRange kept = kept_range(memory.buffers(), memory.unit(tensor.unit).weights[kind], memory.rank());
    const std::int64_t at = tensor.offset + slice.begin - kept.begin;
    slice.weights = memory.kept_weights(tensor.unit, kind).at(at);
    const auto moved = [at](float* base) { return base == nullptr ? nullptr : base + at; };
    slice.master = moved(memory.master(tensor.unit, kind));
    if (tensor.part == PartKind::trainable) slice.gradient = moved(memory.kept_gradient(tensor.unit));
  }
  place_states(slices, memory.buffers().state_rows, [&](const StateRow& row, std::int64_t element) {
    const View view = memory.view(row.buffer);
    return static_cast<void*>(view.as<char>() + element * static_cast<std::int64_t>(size_of(row.dtype)));
  });
  return slices;
}

}  // namespace dstrain
