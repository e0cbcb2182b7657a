// SPDX-License-Identifier: Apache-2.0
/// Activations of feed-forward layers, with and without a gate: one thread per element of h.
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

struct Slope {
  float value;
  float slope;
};

template <Activation kind>
DSTRAIN_DEVICE Slope activation_at(float x) {
  if constexpr (kind == Activation::silu) {
    const float sigmoid = 1.0F / (1.0F + expf(-x));
    return {x * sigmoid, sigmoid * (1.0F + x * (1.0F - sigmoid))};
  } else if constexpr (kind == Activation::gelu) {
    const float density = expf(-0.5F * x * x) * 0.3989422804014327F;  // 1 / sqrt(2 pi)
    const float cumulated = 0.5F * erfcf(-x * 0.7071067811865476F);
    return {x * cumulated, cumulated + x * density};
  } else if constexpr (kind == Activation::gelu_tanh) {
    constexpr float c = 0.7978845608028654F;  // sqrt(2 / pi)
    const float tanh = tanhf(c * (x + 0.044715F * x * x * x));
    const float inner = c * (1.0F + 3.0F * 0.044715F * x * x);
    return {0.5F * x * (1.0F + tanh), 0.5F * (1.0F + tanh) + 0.5F * x * (1.0F - tanh * tanh) * inner};
  } else {
    return {x < 0.0F ? 0.0F : x, x > 0.0F ? 1.0F : 0.0F};  // a NaN stays one
  }
}

template <Activation kind, typename S>
void forward_as(const Exec& exec, Data h_TF, ConstData x_in, const ActivationShape& s) {
  S* h = h_TF.as<S>();
  const S* x = x_in.as<S>();
  const std::int64_t F = s.F;
  if (s.gated) {
    for_each_element(exec, s.T * F, [=] __device__(std::int64_t i) {
      const std::int64_t at = i / F * 2 * F + i % F;
      narrow(h[i], activation_at<kind>(widen(x[at])).value * widen(x[at + F]));
    });
  } else {
    for_each_element(exec, s.T * F,
                     [=] __device__(std::int64_t i) { narrow(h[i], activation_at<kind>(widen(x[i])).value); });
  }
}

template <Activation kind, typename S>
void backward_as(const Exec& exec, Data dx_out, ConstData dh_TF, ConstData x_in, const ActivationShape& s) {
  S* dx = dx_out.as<S>();
  const S* dh = dh_TF.as<S>();
  const S* x = x_in.as<S>();
  const std::int64_t F = s.F;
  if (s.gated) {
    for_each_element(exec, s.T * F, [=] __device__(std::int64_t i) {
      const std::int64_t at = i / F * 2 * F + i % F;
      const Slope a = activation_at<kind>(widen(x[at]));
      const float up = widen(x[at + F]);
      const float d = widen(dh[i]);
      narrow(dx[at], d * a.slope * up);
      narrow(dx[at + F], d * a.value);
    });
  } else {
    for_each_element(exec, s.T * F, [=] __device__(std::int64_t i) {
      narrow(dx[i], widen(dh[i]) * activation_at<kind>(widen(x[i])).slope);
    });
  }
}

template <typename S>
void forward_of(const Exec& exec, Data h, ConstData x, const ActivationShape& s) {
  switch (s.kind) {
    case Activation::silu:
      return forward_as<Activation::silu, S>(exec, h, x, s);
    case Activation::gelu:
      return forward_as<Activation::gelu, S>(exec, h, x, s);
    case Activation::gelu_tanh:
      return forward_as<Activation::gelu_tanh, S>(exec, h, x, s);
    case Activation::relu:
      return forward_as<Activation::relu, S>(exec, h, x, s);
  }
}

template <typename S>
void backward_of(const Exec& exec, Data dx, ConstData dh, ConstData x, const ActivationShape& s) {
  switch (s.kind) {
    case Activation::silu:
      return backward_as<Activation::silu, S>(exec, dx, dh, x, s);
    case Activation::gelu:
      return backward_as<Activation::gelu, S>(exec, dx, dh, x, s);
    case Activation::gelu_tanh:
      return backward_as<Activation::gelu_tanh, S>(exec, dx, dh, x, s);
    case Activation::relu:
      return backward_as<Activation::relu, S>(exec, dx, dh, x, s);
  }
}

}  // namespace

void activation_forward(const Exec& exec, Data h_TF, ConstData x, ActivationShape s) {
  DSTRAIN_BY_STORAGE(storage_index({h_TF.dtype, x.dtype}, "activation_forward"), S, forward_of<S>(exec, h_TF, x, s));
}

void activation_backward(const Exec& exec, Data dx, ConstData dh_TF, ConstData x, ActivationShape s) {
  DSTRAIN_BY_STORAGE(storage_index({dx.dtype, dh_TF.dtype, x.dtype}, "activation_backward"), S,
                     backward_of<S>(exec, dx, dh_TF, x, s));
}

}  // namespace dstrain::DSTRAIN_KERNELS
