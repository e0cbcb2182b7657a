// SPDX-License-Identifier: Apache-2.0
/// Conversion, addition and scaling of runs of elements.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

template <typename D, typename S>
DSTRAIN_FLATTEN void convert(void* dst_void, const void* src_void, std::int64_t count) {
  D* dst = static_cast<D*>(dst_void);
  const S* src = static_cast<const S*>(src_void);
  for_lanes(count, [&](std::int64_t i, auto part) { store(dst + i, load(src + i, part), part); });
}

template <typename D, typename S>
DSTRAIN_FLATTEN void add(void* dst_void, const void* src_void, std::int64_t count) {
  D* dst = static_cast<D*>(dst_void);
  const S* src = static_cast<const S*>(src_void);
  for_lanes(count, [&](std::int64_t i, auto part) { store(dst + i, load(dst + i, part) + load(src + i, part), part); });
}

template <typename S>
DSTRAIN_FLATTEN void scale(void* x_void, float factor, std::int64_t count) {
  S* x = static_cast<S*>(x_void);
  for_lanes(count, [&](std::int64_t i, auto part) { store(x + i, load(x + i, part) * factor, part); });
}

using Bits = std::uint16_t;

}  // namespace

const ElementwiseFunctions elementwise = {
    {convert<float, float>, convert<Bits, float>, convert<Half, float>},
    {convert<float, float>, convert<float, Bits>, convert<float, Half>},
    {add<float, float>, add<Bits, Bits>, add<Half, Half>},
    {add<float, float>, add<float, Bits>, add<float, Half>},
    {scale<float>, scale<Bits>, scale<Half>},
};

}  // namespace dstrain::cpu::DSTRAIN_ISA
