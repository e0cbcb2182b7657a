// SPDX-License-Identifier: Apache-2.0
/// Updates on 8-bit states on the CPU: blocks over threads; and the values that 8 bits stand for.
#include "kernels/ops/optimizer_8bit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/optimizer_scalars.hpp"
#include "kernels/cpu/quantisation.hpp"

namespace dstrain {

namespace {

/// torch.linspace(0.1, 1, count, float32): from both ends towards the middle, in float.
std::vector<float> boundaries(int count) {
  const float step = (1.0F - 0.1F) / static_cast<float>(count - 1);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    values[at] = i < count / 2 ? std::fma(step, static_cast<float>(i), 0.1F)
                               : std::fma(-step, static_cast<float>(count - 1 - i), 1.0F);
  }
  return values;
}

/// bitsandbytes' create_dynamic_map(signed, 7, 8): seven decades, each with twice the values of the one below; 0 and 1.
std::array<float, 256> make_dynamic_map(bool is_signed) {
  constexpr int exponents = 7;
  std::vector<float> values;
  for (int i = 0; i < exponents; ++i) {
    const int steps = is_signed ? (1 << i) : (1 << (i + 1));
    const std::vector<float> edges = boundaries(steps + 1);
    const auto decade = static_cast<float>(std::pow(10.0, i - (exponents - 1)));
    for (int k = 0; k < steps; ++k) {
      const auto at = static_cast<std::size_t>(k);
      const float mean = (edges[at] + edges[at + 1]) / 2.0F;
      values.push_back(decade * mean);
      if (is_signed) values.push_back(-(decade * mean));
    }
  }
  values.push_back(0.0F);
  values.push_back(1.0F);
  std::sort(values.begin(), values.end());
  std::array<float, 256> map{};
  std::copy(values.begin(), values.end(), map.begin());
  return map;
}

}  // namespace

const std::array<float, 256>& dynamic_map(bool is_signed) {
  static const std::array<float, 256> maps[2] = {make_dynamic_map(false), make_dynamic_map(true)};
  return maps[is_signed ? 1 : 0];
}

namespace cpu {

namespace {

constexpr IsaTables<Optimizer8BitFunctions> tables = DSTRAIN_ISA_TABLES(optimizer_8bit);

/// middle[i]: the least float that is nearer to map[i + 1] than to map[i].
std::array<float, 255> make_middles(const std::array<float, 256>& map) {
  std::array<float, 255> middles{};
  for (std::size_t i = 0; i < middles.size(); ++i) {
    const double exact = (static_cast<double>(map[i]) + static_cast<double>(map[i + 1])) / 2.0;
    auto middle = static_cast<float>(exact);
    if (static_cast<double>(middle) <= exact) middle = std::nextafter(middle, std::numeric_limits<float>::infinity());
    middles[i] = middle;
  }
  return middles;
}

}  // namespace

const std::array<float, 255>& middles_of(bool is_signed) {
  static const std::array<float, 255> middles[2] = {make_middles(dynamic_map(false)), make_middles(dynamic_map(true))};
  return middles[is_signed ? 1 : 0];
}

namespace {

using Run = void (*)(const Update8BitPointers& p, std::int64_t count, const UpdateScalars& a);

void run_blocks(Run run, UpdateRule rule, float* master, QuantisedState first, QuantisedState second,
                const float* gradient, Data compute_copy, std::int64_t count, const UpdateParameters& p) {
  (void)compute_copy_at(compute_copy, 0);
  const UpdateScalars scalars = scalars_of(rule, p);
  const std::int64_t blocks = (count + state_block - 1) / state_block;
  const auto moved = [](auto* base, std::int64_t by) { return base == nullptr ? nullptr : base + by; };
  parallel_for(blocks, elements_per_thread / state_block / 4, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t at = begin * state_block;
    const Update8BitPointers pointers{master + at,
                                      gradient + at,
                                      first.code + at,
                                      moved(second.code, at),
                                      first.absmax + begin,
                                      moved(second.absmax, begin),
                                      dynamic_map(true).data(),
                                      dynamic_map(false).data(),
                                      middles_of(true).data(),
                                      middles_of(false).data(),
                                      compute_copy_at(compute_copy, at)};
    run(pointers, std::min(count, end * state_block) - at, scalars);
  });
}

}  // namespace

void adamw_8bit(const Exec& /*exec*/, float* master, QuantisedState first, QuantisedState second, const float* gradient,
                Data compute_copy, std::int64_t count, const UpdateParameters& p) {
  run_blocks(tables.get().adamw, UpdateRule::adamw, master, first, second, gradient, compute_copy, count, p);
}

void lion_8bit(const Exec& /*exec*/, float* master, QuantisedState first, const float* gradient, Data compute_copy,
               std::int64_t count, const UpdateParameters& p) {
  run_blocks(tables.get().lion, UpdateRule::lion, master, first, {}, gradient, compute_copy, count, p);
}

}  // namespace cpu
}  // namespace dstrain
