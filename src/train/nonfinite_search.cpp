// SPDX-License-Identifier: Apache-2.0
#include "train/nonfinite_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "comm/rank_list.hpp"

namespace dstrain {
namespace {

/// Findings in a message; those behind them are counted.
constexpr std::size_t most_told = 4;
/// Elements that come from a device at a time.
constexpr std::int64_t piece_count = 1 << 20;

/// All bits of the exponent are set.
template <typename Bits>
std::int64_t first_with_exponent(const void* values, std::int64_t count, Bits exponent) noexcept {
  for (std::int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, static_cast<const char*>(values) + i * static_cast<std::int64_t>(sizeof bits), sizeof bits);
    if ((bits & exponent) == exponent) return i;
  }
  return -1;
}

const char* kind_of(ConstData value) noexcept {
  std::uint32_t bits = 0;
  std::memcpy(&bits, value.data, size_of(value.dtype));
  const std::uint32_t mantissa = value.dtype == DType::f32 ? 0x7FFFFFU : (value.dtype == DType::bf16 ? 0x7FU : 0x3FFU);
  return (bits & mantissa) != 0 ? "nan" : "infinite";
}

/// "model.layers.0.norm.weight, element 5 is nan", or empty. Values on a device come to the host piece by piece.
std::string describe_tensor(const TensorLayout& tensor, ConstData values, const Stream& stream) {
  const std::int64_t piece = stream.on_device() ? piece_count : tensor.count;
  std::vector<char> host;
  for (std::int64_t begin = 0; begin < tensor.count; begin += piece) {
    const std::int64_t n = std::min(piece, tensor.count - begin);
    ConstData part = values.at(begin);
    if (stream.on_device()) {
      host.resize(static_cast<std::size_t>(n) * size_of(values.dtype));
      copy_bytes(stream, host.data(), part.data, static_cast<std::int64_t>(host.size()));
      stream.synchronize();
      part.data = host.data();
    }
    const std::int64_t at = first_nonfinite(part, n);
    if (at >= 0) return fmt::format("{}, element {} is {}", tensor.name, begin + at, kind_of(part.at(at)));
  }
  return {};
}

}  // namespace

std::int64_t first_nonfinite(ConstData values, std::int64_t count) noexcept {
  switch (values.dtype) {
    case DType::bf16:
      return first_with_exponent<std::uint16_t>(values.data, count, 0x7F80U);
    case DType::f16:
      return first_with_exponent<std::uint16_t>(values.data, count, 0x7C00U);
    default:
      return first_with_exponent<std::uint32_t>(values.data, count, 0x7F800000U);
  }
}

NonfiniteSearch::NonfiniteSearch(const ModelLayout& layout, ParameterStore& store)
    : layout_(layout), store_(store), seen_(layout.units.size(), false), gradients_(layout.units.size()) {}

void NonfiniteSearch::begin_micro_step(int index, bool computes) {
  micro_step_ = index;
  computes_ = computes;
}

void NonfiniteSearch::look_at_loss(double loss) {
  if (!computes_ || std::isfinite(loss) || !loss_.empty()) return;
  loss_ = fmt::format("the loss of micro-batch {} is {}", micro_step_, std::isnan(loss) ? std::abs(loss) : loss);
}

UnitWeights NonfiniteSearch::acquire(int unit, const Stream& stream) {
  UnitWeights weights = store_.acquire(unit, stream);
  const auto index = static_cast<std::size_t>(unit);
  if (!seen_[index] && parameter_.empty()) {
    for (const auto tensor : layout_.units[index].tensors) {
      const auto& layout = layout_.tensors[static_cast<std::size_t>(tensor)];
      const std::string found = describe_tensor(layout, weights.of(layout), stream);
      if (found.empty()) continue;
      parameter_ = fmt::format("the parameter {} ({})", found, layout_.units[index].name);
      break;
    }
  }
  seen_[index] = true;
  return weights;
}

UnitGradient NonfiniteSearch::gradient(int unit, const Stream& stream) {
  return gradients_[static_cast<std::size_t>(unit)] = store_.gradient(unit, stream);
}

/// Backward goes from the head to the embedding: the first unit that shows it is the one nearest to the cause.
void NonfiniteSearch::gradient_ready(int unit, const Stream& stream) {
  const auto index = static_cast<std::size_t>(unit);
  const UnitGradient& gradient = gradients_[index];
  if (computes_ && gradient_.empty() && gradient.flat != nullptr) {
    for (const auto tensor : layout_.units[index].tensors) {
      const auto& layout = layout_.tensors[static_cast<std::size_t>(tensor)];
      if (layout.part != PartKind::trainable) continue;
      const std::string found = describe_tensor(layout, ConstData(gradient.of(layout), DType::f32), stream);
      if (found.empty()) continue;
      gradient_ =
          fmt::format("the gradient of {} ({}) in micro-batch {}", found, layout_.units[index].name, micro_step_);
      break;
    }
  }
  store_.gradient_ready(unit, stream);
}

NonfiniteFinding NonfiniteSearch::gather(Communicator& comm) const {
  const char kind = !parameter_.empty() ? 'p' : (!loss_.empty() ? 'l' : (!gradient_.empty() ? 'g' : ' '));
  const std::string& own = kind == 'p' ? parameter_ : (kind == 'l' ? loss_ : gradient_);
  const auto all = all_gather_strings(comm, kind + own);
  NonfiniteFinding finding;
  for (const char wanted : {'p', 'l', 'g'}) {
    std::map<std::string, std::vector<int>> ranks_of;  // all ranks see a weight that is gathered
    for (std::size_t r = 0; r < all.size(); ++r) {
      if (!all[r].empty() && all[r].front() == wanted) ranks_of[all[r].substr(1)].push_back(static_cast<int>(r));
    }
    if (ranks_of.empty()) continue;
    std::size_t told = 0;
    for (const auto& [text, ranks] : ranks_of) {
      if (++told > most_told) break;
      finding.text += fmt::format("{}{} {}: {}", told == 1 ? "" : "; ", ranks.size() == 1 ? "rank" : "ranks",
                                  rank_list(ranks), text);
    }
    if (ranks_of.size() > most_told) finding.text += fmt::format("; and {} more", ranks_of.size() - most_told);
    finding.parameter = wanted == 'p';
    return finding;
  }
  finding.text = "every rank's own loss and gradients are finite: it is their sum that is not";
  return finding;
}

}  // namespace dstrain
