// SPDX-License-Identifier: Apache-2.0
/// Conversions, sums, factors, dropout and noise: one thread per element.
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

template <typename D, typename S>
void convert_as(const Exec& exec, Data dst, ConstData src, std::int64_t count) {
  D* to = dst.as<D>();
  const S* from = src.as<S>();
  for_each_element(exec, count, [=] __device__(std::int64_t i) { narrow(to[i], widen(from[i])); });
}

template <typename Bits>
void copy_as(const Exec& exec, Data dst, ConstData src, std::int64_t count) {
  Bits* to = dst.as<Bits>();
  const Bits* from = src.as<Bits>();
  for_each_element(exec, count, [=] __device__(std::int64_t i) { to[i] = from[i]; });
}

template <typename D, typename S>
void add_as(const Exec& exec, Data dst, ConstData src, std::int64_t count) {
  D* to = dst.as<D>();
  const S* from = src.as<S>();
  for_each_element(exec, count, [=] __device__(std::int64_t i) { narrow(to[i], widen(to[i]) + widen(from[i])); });
}

template <typename S>
void scale_as(const Exec& exec, Data x, float factor, std::int64_t count) {
  S* at = x.as<S>();
  for_each_element(exec, count, [=] __device__(std::int64_t i) { narrow(at[i], widen(at[i]) * factor); });
}

template <typename S>
void scale_columns_as(const Exec& exec, Data x, const float* factor, std::int64_t T, std::int64_t N, std::int64_t ldx) {
  S* at = x.as<S>();
  for_each_element(exec, T * N, [=] __device__(std::int64_t i) {
    S& value = at[i / N * ldx + i % N];
    narrow(value, widen(value) * factor[i % N]);
  });
}

template <typename S>
void scale_block_as(const Exec& exec, Data x, float factor, std::int64_t T, std::int64_t N, std::int64_t ldx) {
  S* at = x.as<S>();
  for_each_element(exec, T * N, [=] __device__(std::int64_t i) {
    S& value = at[i / N * ldx + i % N];
    narrow(value, widen(value) * factor);
  });
}

template <typename S>
void add_columns_as(const Exec& exec, Data y, ConstData d, std::int64_t T, std::int64_t N, std::int64_t ldy,
                    std::int64_t ldd) {
  S* to = y.as<S>();
  const S* from = d.as<S>();
  for_each_element(exec, T * N, [=] __device__(std::int64_t i) {
    S& value = to[i / N * ldy + i % N];
    narrow(value, widen(value) + widen(from[i / N * ldd + i % N]));
  });
}

template <typename S>
void add_bias_as(const Exec& exec, Data y, ConstData bias, std::int64_t T, std::int64_t N, std::int64_t ldy) {
  S* to = y.as<S>();
  const S* from = bias.as<S>();
  for_each_element(exec, T * N, [=] __device__(std::int64_t i) {
    S& value = to[i / N * ldy + i % N];
    narrow(value, widen(value) + widen(from[i % N]));
  });
}

template <typename S>
void embedding_forward_as(const Exec& exec, Data y, ConstData table, const std::int32_t* ids, std::int64_t T,
                          std::int64_t D) {
  S* to = y.as<S>();
  const S* from = table.as<S>();
  for_each_element(exec, T * D, [=] __device__(std::int64_t i) { to[i] = from[ids[i / D] * D + i % D]; });
}

/// Four elements of one Philox block for each thread. `bits_of_kept(word)` says whether an element stays.
template <typename S>
void drop_in_place(const Exec& exec, Data x, std::int64_t count, DropoutKey key) {
  S* at = x.as<S>();
  const DeviceRng rng{Rng(key.seed, RngSite::model_dropout, key.site, key.sample).key()};
  const double limit = static_cast<double>(key.probability) * 0x1p32;
  const float kept = 1.0F / (1.0F - key.probability);
  for_each_element(exec, div_up(count, 4), [=] __device__(std::int64_t block) {
    const auto four = rng.block(static_cast<std::uint64_t>(4 * block));
    for (int k = 0; k < 4; ++k) {
      const std::int64_t i = 4 * block + k;
      if (i >= count) break;
      narrow(at[i], widen(at[i]) * (static_cast<double>(four.bits[k]) < limit ? 0.0F : kept));
    }
  });
}

template <typename S>
void dropout_as(const Exec& exec, Data y_TN, ConstData x_TN, std::int64_t count, std::int64_t first,
                const DropoutMask& mask, bool accumulate) {
  S* y = y_TN.as<S>();
  const S* x = x_TN.as<S>();
  const DeviceRng rng{mask.rng.key()};
  const float rate = mask.rate;
  const float factor = 1.0F / (1.0F - mask.rate);
  for_each_element(exec, count, [=] __device__(std::int64_t i) {
    const float value = rng.uniform(static_cast<std::uint64_t>(first + i)) >= rate ? widen(x[i]) * factor : 0.0F;
    narrow(y[i], accumulate ? widen(y[i]) + value : value);
  });
}

template <typename S>
void add_noise_as(const Exec& exec, Data x, std::int64_t count, float magnitude, const Rng& rng) {
  S* at = x.as<S>();
  const DeviceRng numbers{rng.key()};
  for_each_element(exec, count, [=] __device__(std::int64_t i) {
    const float u = numbers.uniform(static_cast<std::uint64_t>(i));
    narrow(at[i], widen(at[i]) + magnitude * (2.0F * u - 1.0F));
  });
}

template <typename S>
void copy_rows_as(const Exec& exec, Data dst, ConstData src, std::int64_t T, std::int64_t N, std::int64_t ldd,
                  std::int64_t lds) {
  S* to = dst.as<S>();
  const S* from = src.as<S>();
  for_each_element(exec, T * N,
                   [=] __device__(std::int64_t i) { to[i / N * ldd + i % N] = from[i / N * lds + i % N]; });
}

}  // namespace

void convert(const Exec& exec, Data dst, ConstData src, std::int64_t count) {
  if (dst.dtype == src.dtype) {
    if (size_of(dst.dtype) == 2) return copy_as<std::uint16_t>(exec, dst, src, count);
    if (size_of(dst.dtype) == 4) return copy_as<std::uint32_t>(exec, dst, src, count);
    return copy_as<std::uint8_t>(exec, dst, src, count * static_cast<std::int64_t>(size_of(dst.dtype)));
  }
  if (src.dtype == DType::f32) {
    DSTRAIN_BY_STORAGE(storage_index(dst.dtype, "convert"), S, (convert_as<S, float>(exec, dst, src, count)));
  } else if (dst.dtype == DType::f32) {
    DSTRAIN_BY_STORAGE(storage_index(src.dtype, "convert"), S, (convert_as<float, S>(exec, dst, src, count)));
  } else {
    fail_shape(text_of("convert goes from f32 or to f32, not from {} to {}", name_of(src.dtype), name_of(dst.dtype)));
  }
}

void add(const Exec& exec, Data dst, ConstData src, std::int64_t count) {
  if (dst.dtype == DType::f32) {
    DSTRAIN_BY_STORAGE(storage_index(src.dtype, "add"), S, (add_as<float, S>(exec, dst, src, count)));
  } else {
    DSTRAIN_BY_STORAGE(storage_index({dst.dtype, src.dtype}, "add"), S, (add_as<S, S>(exec, dst, src, count)));
  }
}

void copy_rows(const Exec& exec, Data dst, ConstData src, std::int64_t T, std::int64_t N, std::int64_t ldd,
               std::int64_t lds) {
  if (dst.dtype != src.dtype) fail_shape(text_of("copy_rows from {} to {}", name_of(src.dtype), name_of(dst.dtype)));
  DSTRAIN_BY_STORAGE(storage_index(dst.dtype, "copy_rows"), S, (copy_rows_as<S>(exec, dst, src, T, N, ldd, lds)));
}

void fill_zero(const Exec& exec, Data dst, std::int64_t count) {
  auto* bytes = dst.as<unsigned char>();
  const std::int64_t total = count * static_cast<std::int64_t>(size_of(dst.dtype));
  const auto unaligned = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(bytes) % 16);
  const std::int64_t head = unaligned == 0 ? 0 : (16 - unaligned < total ? 16 - unaligned : total);
  const std::int64_t wide = (total - head) / 16;
  for_each_element(exec, wide + head + (total - head) % 16, [=] __device__(std::int64_t i) {
    if (i < wide) {
      auto* words = reinterpret_cast<std::uint64_t*>(bytes + head + 16 * i);
      words[0] = 0;
      words[1] = 0;
    } else {
      const std::int64_t rest = i - wide;
      bytes[rest < head ? rest : 16 * wide + rest] = 0;
    }
  });
}

void scale(const Exec& exec, Data x, float factor, std::int64_t count) {
  DSTRAIN_BY_STORAGE(storage_index(x.dtype, "scale"), S, scale_as<S>(exec, x, factor, count));
}

void softcap(const Exec& exec, float* x, float cap, std::int64_t count) {
  for_each_element(exec, count, [=] __device__(std::int64_t i) { x[i] = cap * tanhf(x[i] / cap); });
}

void scale_columns(const Exec& exec, Data x_TV, const float* factor_V, std::int64_t T, std::int64_t V) {
  scale_columns(exec, x_TV, factor_V, T, V, V);
}

void scale_columns(const Exec& exec, Data x, const float* factor_N, std::int64_t T, std::int64_t N, std::int64_t ldx) {
  DSTRAIN_BY_STORAGE(storage_index(x.dtype, "scale_columns"), S, scale_columns_as<S>(exec, x, factor_N, T, N, ldx));
}

void scale_block(const Exec& exec, Data x, float factor, std::int64_t T, std::int64_t N, std::int64_t ldx) {
  DSTRAIN_BY_STORAGE(storage_index(x.dtype, "scale_block"), S, scale_block_as<S>(exec, x, factor, T, N, ldx));
}

void magnitude_factors(const Exec& exec, float* inverse, float* factor, float* shifted, std::int64_t count) {
  for_each_element(exec, count, [=] __device__(std::int64_t o) {
    inverse[o] = 1.0F / inverse[o];
    factor[o] *= inverse[o];
    shifted[o] = factor[o] - 1.0F;
  });
}

void add_columns(const Exec& exec, Data y, ConstData d, std::int64_t T, std::int64_t N, std::int64_t ldy,
                 std::int64_t ldd) {
  DSTRAIN_BY_STORAGE(storage_index({y.dtype, d.dtype}, "add_columns"), S,
                     add_columns_as<S>(exec, y, d, T, N, ldy, ldd));
}

void add_bias(const Exec& exec, Data y_TN, ConstData bias_N, std::int64_t T, std::int64_t N, std::int64_t ldy) {
  DSTRAIN_BY_STORAGE(storage_index({y_TN.dtype, bias_N.dtype}, "add_bias"), S,
                     add_bias_as<S>(exec, y_TN, bias_N, T, N, ldy));
}

void embedding_forward(const Exec& exec, Data y_TD, ConstData table_VD, const std::int32_t* ids_T, std::int64_t T,
                       std::int64_t D) {
  DSTRAIN_BY_STORAGE(storage_index({y_TD.dtype, table_VD.dtype}, "embedding_forward"), S,
                     embedding_forward_as<S>(exec, y_TD, table_VD, ids_T, T, D));
}

void dropout(const Exec& exec, Data x, std::int64_t count, DropoutKey key) {
  const int storage = storage_index(x.dtype, "dropout");
  if (!(key.probability >= 0.0F && key.probability < 1.0F))
    fail_shape(text_of("dropout with probability {}", key.probability));
  if (key.probability == 0.0F) return;
  DSTRAIN_BY_STORAGE(storage, S, drop_in_place<S>(exec, x, count, key));
}

void dropout(const Exec& exec, Data y_TN, ConstData x_TN, std::int64_t T, std::int64_t N, const DropoutMask& mask,
             bool accumulate) {
  if (!(mask.rate >= 0.0F && mask.rate < 1.0F)) fail_shape(text_of("dropout of {}", mask.rate));
  DSTRAIN_BY_STORAGE(storage_index({y_TN.dtype, x_TN.dtype}, "dropout"), S,
                     dropout_as<S>(exec, y_TN, x_TN, T * N, mask.first_row * N, mask, accumulate));
}

void add_uniform_noise(const Exec& exec, Data x, std::int64_t count, float magnitude, const Rng& rng) {
  DSTRAIN_BY_STORAGE(storage_index(x.dtype, "add_uniform_noise"), S, add_noise_as<S>(exec, x, count, magnitude, rng));
}

}  // namespace dstrain::DSTRAIN_KERNELS
