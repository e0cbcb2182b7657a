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
  } else if (src.dtype == DType::f32) {
    run(tables.get().from_f32[storage_index(dst.dtype, "convert")]);
  } else if (dst.dtype == DType::f32) {
    run(tables.get().to_f32[storage_index(src.dtype, "convert")]);
  } else {
    throw ShapeError(
        fmt::format("convert goes from f32 or to f32, not from {} to {}", name_of(src.dtype), name_of(dst.dtype)));
  }
}

void add(const Exec& /*exec*/, Data dst, ConstData src, std::int64_t count) {
  const auto sum = dst.dtype == DType::f32 ? tables.get().add_to_f32[storage_index(src.dtype, "add")]
                                           : tables.get().add[storage_index({dst.dtype, src.dtype}, "add")];
  parallel_for(count, elements_per_thread,
               [&](std::int64_t begin, std::int64_t end) { sum(dst.at(begin).data, src.at(begin).data, end - begin); });
}

void copy_rows(const Exec& /*exec*/, Data dst, ConstData src, std::int64_t T, std::int64_t N, std::int64_t ldd,
               std::int64_t lds) {
  if (dst.dtype != src.dtype)
    throw ShapeError(fmt::format("copy_rows from {} to {}", name_of(src.dtype), name_of(dst.dtype)));
  const auto bytes = static_cast<std::size_t>(N) * size_of(dst.dtype);
  parallel_for(T, rows_grain(N), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) std::memcpy(dst.at(t * ldd).data, src.at(t * lds).data, bytes);
  });
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
