// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/convert.hpp"

#include <bit>
#include <cstring>

#include "core/error.hpp"

namespace dstrain {
namespace {

/// memcpy in and out: file bytes need not be aligned.
template <typename Stored, typename Convert>
void load_each(float* to, const void* from, std::int64_t count, const Convert& convert) {
  const auto* in = static_cast<const char*>(from);
  for (std::int64_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, in + i * static_cast<std::int64_t>(sizeof value), sizeof value);
    to[i] = convert(value);
  }
}

template <typename Convert>
void store_each(void* to, const float* from, std::int64_t count, const Convert& convert) {
  auto* out = static_cast<char*>(to);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = convert(from[i]);
    std::memcpy(out + i * static_cast<std::int64_t>(sizeof value), &value, sizeof value);
  }
}

}  // namespace

bool is_floating(DType dtype) noexcept {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

void convert_to_f32(float* to, const void* from, DType dtype, std::int64_t count) {
  switch (dtype) {
    case DType::f32:
      if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
      return;
    case DType::f64:
      return load_each<double>(to, from, count, [](double v) { return static_cast<float>(v); });
    case DType::f16:
      return load_each<std::uint16_t>(to, from, count, [](std::uint16_t v) { return half_to_float(v); });
    case DType::bf16:
      return load_each<bfloat16>(to, from, count, [](bfloat16 v) { return static_cast<float>(v); });
    default:
      throw Error(fmt::format("{} is not a floating type", name_of(dtype)));
  }
}

void convert_from_f32(void* to, DType dtype, const float* from, std::int64_t count) {
  switch (dtype) {
    case DType::f32:
      if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
      return;
    case DType::f64:
      return store_each(to, from, count, [](float v) { return static_cast<double>(v); });
    case DType::f16:
      return store_each(to, from, count, [](float v) { return half_from_float(v); });
    case DType::bf16:
      return store_each(to, from, count, [](float v) { return bfloat16(v); });
    default:
      throw Error(fmt::format("{} is not a floating type", name_of(dtype)));
  }
}

}  // namespace dstrain
