// SPDX-License-Identifier: Apache-2.0
/// Conversions and sums of whole buffers on the CPU.
#include "kernels/cpu/simd/functions.hpp"

#include <cstring>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"

namespace dstrain::cpu {

namespace {
constexpr IsaTables<ElementwiseFunctions> tables = DSTRAIN_ISA_TABLES(elementwise);
}

void convert(const Exec& /*exec*/, Data dst, ConstData src, std::int64_t count) {
  const auto run = [&](auto copy) {
    parallel_for(count, elements_per_thread, [&](std::int64_t begin, std::int64_t end) {
      copy(dst.at(begin).data, src.at(begin).data, end - begin);
    });
  };
  if (dst.dtype == src.dtype) {
    const auto bytes = static_cast<std::int64_t>(size_of(dst.dtype));
    run([bytes](void* to, const void* from, std::int64_t n) {
      std::memmove(to, from, static_cast<std::size_t>(n * bytes));
    });
  } else if (dst.dtype == DType::bf16 && src.dtype == DType::f32) {
    run(tables.get().f32_to_bf16);
  } else if (dst.dtype == DType::f32 && src.dtype == DType::bf16) {
    run(tables.get().bf16_to_f32);
  } else {
    throw ShapeError(fmt::format("convert knows f32 and bf16, not {} to {}", name_of(src.dtype), name_of(dst.dtype)));
  }
}

void add(const Exec& /*exec*/, Data dst, ConstData src, std::int64_t count) {
  const bool widens = dst.dtype == DType::f32 && src.dtype == DType::bf16;
  const auto sum =
      widens ? tables.get().add_bf16_to_f32 : tables.get().add[storage_index({dst.dtype, src.dtype}, "add")];
  parallel_for(count, elements_per_thread,
               [&](std::int64_t begin, std::int64_t end) { sum(dst.at(begin).data, src.at(begin).data, end - begin); });
}

void fill_zero(const Exec& /*exec*/, Data dst, std::int64_t count) {
  const auto bytes = static_cast<std::int64_t>(size_of(dst.dtype));
  parallel_for(count, elements_per_thread, [&](std::int64_t begin, std::int64_t end) {
    std::memset(dst.at(begin).data, 0, static_cast<std::size_t>((end - begin) * bytes));
  });
}

void scale(const Exec& /*exec*/, Data x, float factor, std::int64_t count) {
  const auto times = tables.get().scale[storage_index(x.dtype, "scale")];
  parallel_for(count, elements_per_thread,
               [&](std::int64_t begin, std::int64_t end) { times(x.at(begin).data, factor, end - begin); });
}

}  // namespace dstrain::cpu
