// SPDX-License-Identifier: Apache-2.0
/// AdamW and Lion on states of 8 bits: one block of threads per block of 256 elements. Bits as on the CPU.
#include "kernels/ops/optimizer_8bit.hpp"

#include "kernels/cpu/quantisation.hpp"
#include "kernels/cuda/optimizer_steps.cuh"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int block = static_cast<int>(state_block);

/// What 8 bits stand for: an argument of the kernels (1 KiB each), copied to shared memory by each block.
struct Map {
  float value[256];
  float middle[256];  ///< 255 numbers: from middle[i] on a value is nearer to value[i + 1]
};

Map map_of(bool is_signed) {
  Map map{};
  for (std::size_t i = 0; i < 256; ++i) map.value[i] = dynamic_map(is_signed)[i];
  for (std::size_t i = 0; i < 255; ++i) map.middle[i] = cpu::middles_of(is_signed)[i];
  return map;
}

/// The number of middles that x reaches: the index of the nearest value of the map.
DSTRAIN_DEVICE int nearest(float x, const float* middle) {
  int at = 0;
  for (int step = 128; step > 0; step /= 2) at += x >= middle[at + step - 1] ? step : 0;
  return at;
}

/// Writes the block's values back: its greatest magnitude, then each value's code.
DSTRAIN_DEVICE void narrow_block(const QuantisedState& state, std::int64_t i, bool here, float value,
                                 const float* middle) {
  const float absmax = block_combine(here ? fabsf(value) : 0.0F, Greatest{});
  const float inverse = absmax > 0.0F ? 1.0F / absmax : 0.0F;
  if (threadIdx.x == 0) state.absmax[blockIdx.x] = absmax;
  if (here) state.code[i] = static_cast<std::uint8_t>(nearest(value * inverse, middle));
}

__global__ void adamw_kernel(float* master, QuantisedState first, QuantisedState second, const float* gradient,
                             cpu::ComputeCopy copy, std::int64_t count, cpu::UpdateScalars a, const double* scale_at,
                             Map map1, Map map2) {
  if (!take_scale(a, scale_at)) return;  // the whole block
  DSTRAIN_SHARED(float, value1, 256);
  DSTRAIN_SHARED(float, value2, 256);
  DSTRAIN_SHARED(float, middle1, 256);
  DSTRAIN_SHARED(float, middle2, 256);
  const int me = static_cast<int>(threadIdx.x);
  value1[me] = map1.value[me];
  value2[me] = map2.value[me];
  middle1[me] = map1.middle[me];
  middle2[me] = map2.middle[me];
  __syncthreads();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * block + me;
  const bool here = i < count;
  float m = 0.0F;
  float v = 0.0F;
  if (here) {
    const float g = gradient[i] * a.gradient_scale;
    m = fmaf(a.one_less_beta1, g, value1[first.code[i]] * first.absmax[blockIdx.x] * a.beta1);
    v = fmaf(a.one_less_beta2 * g, g, value2[second.code[i]] * second.absmax[blockIdx.x] * a.beta2);
    const float denominator = sqrtf(v) / a.root_correction2 + a.eps;
    store_weight(master, copy, i, master[i] * a.decay + a.minus_step_size * m / denominator);
  }
  __syncthreads();  // absmax was read by all before one thread writes it
  narrow_block(first, i, here, m, middle1);
  narrow_block(second, i, here, v, middle2);
}

__global__ void lion_kernel(float* master, QuantisedState first, const float* gradient, cpu::ComputeCopy copy,
                            std::int64_t count, cpu::UpdateScalars a, const double* scale_at, Map map) {
  if (!take_scale(a, scale_at)) return;  // the whole block
  DSTRAIN_SHARED(float, values, 256);
  DSTRAIN_SHARED(float, middle, 256);
  const int me = static_cast<int>(threadIdx.x);
  values[me] = map.value[me];
  middle[me] = map.middle[me];
  __syncthreads();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * block + me;
  const bool here = i < count;
  float m = 0.0F;
  if (here) {
    const float g = gradient[i] * a.gradient_scale;
    const float old = values[first.code[i]] * first.absmax[blockIdx.x];
    const float direction = sign(old * a.beta1 + g * a.one_less_beta1);
    m = fmaf(a.one_less_beta2, g, old * a.beta2);
    store_weight(master, copy, i, fmaf(a.minus_step_size, direction, master[i] * a.decay));
  }
  __syncthreads();  // absmax was read by all before one thread writes it
  narrow_block(first, i, here, m, middle);
}

}  // namespace

void adamw_8bit(const Exec& exec, float* master, QuantisedState first, QuantisedState second, const float* gradient,
                Data compute_copy, std::int64_t count, const UpdateParameters& p) {
  launch(adamw_kernel, exec, {div_up(count, block)}, block, 0, master, first, second, gradient,
         cpu::compute_copy_at(compute_copy, 0), count, cpu::scalars_of(UpdateRule::adamw, p), p.gradient_scale_at,
         map_of(true), map_of(false));
}

void lion_8bit(const Exec& exec, float* master, QuantisedState first, const float* gradient, Data compute_copy,
               std::int64_t count, const UpdateParameters& p) {
  launch(lion_kernel, exec, {div_up(count, block)}, block, 0, master, first, gradient,
         cpu::compute_copy_at(compute_copy, 0), count, cpu::scalars_of(UpdateRule::lion, p), p.gradient_scale_at,
         map_of(true));
}

}  // namespace dstrain::DSTRAIN_KERNELS
