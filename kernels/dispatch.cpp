// SPDX-License-Identifier: Apache-2.0
/// Sends each operation to the backend of its stream's device.
///
/// Compiled with DSTRAIN_WITH_CUDA the device's backend is kernels/cuda; with DSTRAIN_EMULATED_DEVICE (tests) the same
/// kernels run on the CPU. With DSTRAIN_EMULATE_ALL or DSTRAIN_DEVICE_FOR_ALL (the operations' own tests) calls on CPU
/// streams go there too, and are over when they return. Without any there is the CPU.
#include "core/error.hpp"
#include "kernels/cpu/backend.hpp"
#ifdef DSTRAIN_EMULATED_DEVICE
#include "kernels/cuda/backend.hpp"
#include "support/emulated/emulated_device.hpp"
#define DSTRAIN_DEVICE_BACKEND emulated
#elif defined(DSTRAIN_WITH_CUDA)
#include "kernels/cuda/backend.hpp"
#define DSTRAIN_DEVICE_BACKEND cuda
#endif

namespace dstrain::ops {

namespace {

bool on_device(DeviceKind kind) {
#if defined(DSTRAIN_EMULATE_ALL) || defined(DSTRAIN_DEVICE_FOR_ALL)
  static_cast<void>(kind);
  return true;
#else
  return kind == DeviceKind::cuda;
#endif
}

#ifndef DSTRAIN_DEVICE_BACKEND
[[noreturn]] void no_device() { throw Error("this build of dstrain has no kernels for the stream's device"); }
#endif

}  // namespace

// A call on the device's backend, or on the CPU's.
#ifdef DSTRAIN_EMULATED_DEVICE
#define DSTRAIN_ON_DEVICE(...)       \
  const EmulatedDevice::Open opened; \
  return DSTRAIN_DEVICE_BACKEND::__VA_ARGS__
#elif defined(DSTRAIN_DEVICE_FOR_ALL)
struct WaitAtEnd {
  ~WaitAtEnd() noexcept(false) { Stream({DeviceKind::cuda, 0}, nullptr).synchronize(); }
};
#define DSTRAIN_ON_DEVICE(...) \
  const WaitAtEnd wait_at_end; \
  return DSTRAIN_DEVICE_BACKEND::__VA_ARGS__
#elif defined(DSTRAIN_DEVICE_BACKEND)
#define DSTRAIN_ON_DEVICE(...) return DSTRAIN_DEVICE_BACKEND::__VA_ARGS__
#else
#define DSTRAIN_ON_DEVICE(...) no_device()
#endif
#ifdef DSTRAIN_EMULATED_DEVICE
#define DSTRAIN_NOTE(operation, ...)                      \
  note_kernel(#operation, exec.stream, __VA_ARGS__);      \
  if (!EmulatedDevice::runs_kernels()) {                  \
    return decltype(cpu::operation(exec, __VA_ARGS__))(); \
  }                                                       \
  static_cast<void>(0)
#else
#define DSTRAIN_NOTE(operation, ...) static_cast<void>(0)
#endif
#define DSTRAIN_SEND(operation, ...)                 \
  if (on_device(exec.stream.device().kind)) {        \
    DSTRAIN_NOTE(operation, __VA_ARGS__);            \
    DSTRAIN_ON_DEVICE(operation(exec, __VA_ARGS__)); \
  }                                                  \
  return cpu::operation(exec, __VA_ARGS__)
#define DSTRAIN_ASK(operation, ...)            \
  if (on_device(device)) {                     \
    DSTRAIN_ON_DEVICE(operation(__VA_ARGS__)); \
  }                                            \
  return cpu::operation(__VA_ARGS__)

void rms_norm_forward(const Exec& exec, Data y_TD, Data s_TD, float* rstd_T, ConstData x_TD, ConstData r_TD,
                      ConstData w_D, float eps, RmsNormShape s) {
  DSTRAIN_SEND(rms_norm_forward, y_TD, s_TD, rstd_T, x_TD, r_TD, w_D, eps, s);
}

void rms_norm_backward(const Exec& exec, Data dx_TD, float* dw_D, ConstData dy_TD, ConstData x_TD, ConstData w_D,
                       const float* rstd_T, RmsNormShape s, bool add_dx, bool add_dw) {
  DSTRAIN_SEND(rms_norm_backward, dx_TD, dw_D, dy_TD, x_TD, w_D, rstd_T, s, add_dx, add_dw);
}

std::int64_t rms_norm_workspace_bytes(RmsNormShape s, DeviceKind device) { DSTRAIN_ASK(rms_norm_workspace_bytes, s); }

void rope(const Exec& exec, Data x, const float* cos_PH, const float* sin_PH, const std::int32_t* position_T,
          RopeShape s, bool inverse) {
  DSTRAIN_SEND(rope, x, cos_PH, sin_PH, position_T, s, inverse);
}

void rope_table(const Exec& exec, float* cos_PH, float* sin_PH, const float* inv_freq_H, std::int64_t count,
                std::int64_t half_dim, float attention_factor) {
  DSTRAIN_SEND(rope_table, cos_PH, sin_PH, inv_freq_H, count, half_dim, attention_factor);
}

void activation_forward(const Exec& exec, Data h_TF, ConstData x, ActivationShape s) {
  DSTRAIN_SEND(activation_forward, h_TF, x, s);
}

void activation_backward(const Exec& exec, Data dx, ConstData dh_TF, ConstData x, ActivationShape s) {
  DSTRAIN_SEND(activation_backward, dx, dh_TF, x, s);
}

void dropout(const Exec& exec, Data x, std::int64_t count, DropoutKey key) { DSTRAIN_SEND(dropout, x, count, key); }

void layer_norm_forward(const Exec& exec, Data y_TD, Data s_TD, LayerNormStatistics kept, ConstData x_TD,
                        ConstData r_TD, ConstData w_D, ConstData b_D, float eps, LayerNormShape s) {
  DSTRAIN_SEND(layer_norm_forward, y_TD, s_TD, kept, x_TD, r_TD, w_D, b_D, eps, s);
}

void layer_norm_backward(const Exec& exec, Data dx_TD, LayerNormGradients gradients, ConstData dy_TD, ConstData x_TD,
                         ConstData w_D, LayerNormStatistics kept, LayerNormShape s, bool add_dx, bool add_dw) {
  DSTRAIN_SEND(layer_norm_backward, dx_TD, gradients, dy_TD, x_TD, w_D, kept, s, add_dx, add_dw);
}

std::int64_t layer_norm_workspace_bytes(LayerNormShape s, DeviceKind device) {
  DSTRAIN_ASK(layer_norm_workspace_bytes, s);
}

void head_norm_forward(const Exec& exec, Data x, Data kept, float* rstd, ConstData w_H, float eps, HeadNormShape s) {
  DSTRAIN_SEND(head_norm_forward, x, kept, rstd, w_H, eps, s);
}

void head_norm_backward(const Exec& exec, Data dx, float* dw_H, ConstData kept, const float* rstd, ConstData w_H,
                        HeadNormShape s, bool add_dw) {
  DSTRAIN_SEND(head_norm_backward, dx, dw_H, kept, rstd, w_H, s, add_dw);
}

std::int64_t head_norm_workspace_bytes(HeadNormShape s, DeviceKind device) {
  DSTRAIN_ASK(head_norm_workspace_bytes, s);
}

void inverse_row_norms(const Exec& exec, float* r_V, ConstData w_VD, std::int64_t V, std::int64_t D) {
  DSTRAIN_SEND(inverse_row_norms, r_V, w_VD, V, D);
}

void scale_columns(const Exec& exec, Data x_TV, const float* factor_V, std::int64_t T, std::int64_t V) {
  DSTRAIN_SEND(scale_columns, x_TV, factor_V, T, V);
}

void remove_row_component(const Exec& exec, float* dw_VD, ConstData w_VD, const float* r_V, std::int64_t V,
                          std::int64_t D) {
  DSTRAIN_SEND(remove_row_component, dw_VD, w_VD, r_V, V, D);
}

void softcap(const Exec& exec, float* x, float cap, std::int64_t count) { DSTRAIN_SEND(softcap, x, cap, count); }

void embedding_forward(const Exec& exec, Data y_TD, ConstData table_VD, const std::int32_t* ids_T, std::int64_t T,
                       std::int64_t D) {
  DSTRAIN_SEND(embedding_forward, y_TD, table_VD, ids_T, T, D);
}

void embedding_backward(const Exec& exec, float* dtable_VD, ConstData dy_TD, const std::int32_t* ids_T, std::int64_t T,
                        std::int64_t D, std::int64_t V, bool accumulate) {
  DSTRAIN_SEND(embedding_backward, dtable_VD, dy_TD, ids_T, T, D, V, accumulate);
}

void convert(const Exec& exec, Data dst, ConstData src, std::int64_t count) { DSTRAIN_SEND(convert, dst, src, count); }

void add(const Exec& exec, Data dst, ConstData src, std::int64_t count) { DSTRAIN_SEND(add, dst, src, count); }

void fill_zero(const Exec& exec, Data dst, std::int64_t count) { DSTRAIN_SEND(fill_zero, dst, count); }

void scale(const Exec& exec, Data x, float factor, std::int64_t count) { DSTRAIN_SEND(scale, x, factor, count); }

void cross_entropy(const Exec& exec, Data dlogits, float* nll_T, const float* logits_TV, const std::int32_t* target_T,
                   const float* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld, float softcap,
                   const TokenLoss& loss) {
  DSTRAIN_SEND(cross_entropy, dlogits, nll_T, logits_TV, target_T, weight_T, T, V, ld, softcap, loss);
}

void loss_sums(const Exec& exec, double* sums, const float* nll_T, const std::int32_t* target_T, const float* weight_T,
               std::int64_t T) {
  DSTRAIN_SEND(loss_sums, sums, nll_T, target_T, weight_T, T);
}

void unit_matrix(const Exec& exec, Data x, const float* matrix, std::int64_t rows, std::int64_t columns,
                 bool transposed) {
  DSTRAIN_SEND(unit_matrix, x, matrix, rows, columns, transposed);
}

std::int64_t unit_matrix_workspace_bytes(DeviceKind device) { DSTRAIN_ASK(unit_matrix_workspace_bytes, ); }

void widen_matrix(const Exec& exec, float* matrix, ConstData x, std::int64_t rows, std::int64_t columns,
                  bool transposed) {
  DSTRAIN_SEND(widen_matrix, matrix, x, rows, columns, transposed);
}

void copy_rows(const Exec& exec, Data dst, ConstData src, std::int64_t T, std::int64_t N, std::int64_t ldd,
               std::int64_t lds) {
  DSTRAIN_SEND(copy_rows, dst, src, T, N, ldd, lds);
}

void argmax(const Exec& exec, std::int32_t* likeliest_T, const float* logits_TV, const std::int32_t* target_T,
            std::int64_t T, std::int64_t V, std::int64_t ld) {
  DSTRAIN_SEND(argmax, likeliest_T, logits_TV, target_T, T, V, ld);
}

void adamw(const Exec& exec, float* master, float* exp_avg, float* exp_avg_sq, const float* gradient, Data compute_copy,
           std::int64_t count, const AdamWParameters& p) {
  DSTRAIN_SEND(adamw, master, exp_avg, exp_avg_sq, gradient, compute_copy, count, p);
}

void update(const Exec& exec, UpdateRule rule, const UpdateArrays& arrays, std::int64_t count,
            const UpdateParameters& p) {
  DSTRAIN_SEND(update, rule, arrays, count, p);
}

void adamw_bf16(const Exec& exec, Data weights, Data exp_avg, Data exp_avg_sq, const float* gradient,
                std::int64_t count, const UpdateParameters& p) {
  DSTRAIN_SEND(adamw_bf16, weights, exp_avg, exp_avg_sq, gradient, count, p);
}

void adamw_8bit(const Exec& exec, float* master, QuantisedState first, QuantisedState second, const float* gradient,
                Data compute_copy, std::int64_t count, const UpdateParameters& p) {
  DSTRAIN_SEND(adamw_8bit, master, first, second, gradient, compute_copy, count, p);
}

void lion_8bit(const Exec& exec, float* master, QuantisedState first, const float* gradient, Data compute_copy,
               std::int64_t count, const UpdateParameters& p) {
  DSTRAIN_SEND(lion_8bit, master, first, gradient, compute_copy, count, p);
}

void factored_sums(const Exec& exec, double* rows, double* columns, const float* gradient, const MatrixSlice& slice,
                   double scale, double eps) {
  DSTRAIN_SEND(factored_sums, rows, columns, gradient, slice, scale, eps);
}

double factored_update(const Exec& exec, float* update, const float* gradient, const float* row_factor,
                       const float* column_factor, const MatrixSlice& slice, double scale) {
  DSTRAIN_SEND(factored_update, update, gradient, row_factor, column_factor, slice, scale);
}

double unfactored_update(const Exec& exec, float* update, float* exp_avg_sq, const float* gradient, std::int64_t count,
                         double beta2t, double scale, double eps) {
  DSTRAIN_SEND(unfactored_update, update, exp_avg_sq, gradient, count, beta2t, scale, eps);
}

void apply_update(const Exec& exec, float* master, float* exp_avg, const float* update, Data compute_copy,
                  std::int64_t count, double factor, double beta1, double decay) {
  DSTRAIN_SEND(apply_update, master, exp_avg, update, compute_copy, count, factor, beta1, decay);
}

void sum_of_squares(const Exec& exec, double* out, const float* x, std::int64_t count, std::int64_t chunk) {
  DSTRAIN_SEND(sum_of_squares, out, x, count, chunk);
}

void add_in_order(const Exec& exec, double* sum, const double* x, std::int64_t rows, std::int64_t ld,
                  std::int64_t count, bool accumulate) {
  DSTRAIN_SEND(add_in_order, sum, x, rows, ld, count, accumulate);
}

void update_scale(const Exec& exec, double* norm, double* scale, const double* squares, const double* losses,
                  std::int64_t rows, std::int64_t ld, const ScaleRule& rule) {
  DSTRAIN_SEND(update_scale, norm, scale, squares, losses, rows, ld, rule);
}

void add_bias(const Exec& exec, Data y_TN, ConstData bias_N, std::int64_t T, std::int64_t N, std::int64_t ldy) {
  DSTRAIN_SEND(add_bias, y_TN, bias_N, T, N, ldy);
}

void bias_backward(const Exec& exec, float* db_N, ConstData dy_TN, std::int64_t T, std::int64_t N, std::int64_t ldy,
                   bool accumulate) {
  DSTRAIN_SEND(bias_backward, db_N, dy_TN, T, N, ldy, accumulate);
}

void matmul(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& shape, bool accumulate) {
  DSTRAIN_SEND(matmul, c, a, b, shape, accumulate);
}

void matmul_bias(const Exec& exec, Data c, ConstData a, ConstData b, ConstData bias_N, const MatmulShape& shape) {
  DSTRAIN_SEND(matmul_bias, c, a, b, bias_N, shape);
}

std::int64_t matmul_workspace_bytes(const MatmulShape& shape, DType a_b, DType c, DeviceKind device) {
  DSTRAIN_ASK(matmul_workspace_bytes, shape, a_b, c);
}

void matmul_prepare(const MatmulShape& shape, DType a_b, DType c, bool accumulate, DeviceKind device) {
  DSTRAIN_ASK(matmul_prepare, shape, a_b, c, accumulate);
}

void attention_forward(const Exec& exec, Data out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                       const AttentionShape& s) {
  DSTRAIN_SEND(attention_forward, out, lse_NT, q, k, v, s);
}

void attention_backward(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse_NT,
                        ConstData q, ConstData k, ConstData v, const AttentionShape& s) {
  DSTRAIN_SEND(attention_backward, dq, dk, dv, dout, out, lse_NT, q, k, v, s);
}

std::int64_t attention_workspace_bytes(const AttentionShape& s, int threads, DeviceKind device) {
  DSTRAIN_ASK(attention_workspace_bytes, s, threads);
}

void attention_prepare(const Exec& exec, const AttentionShape& s, DType dtype, bool backward) {
  if (on_device(exec.stream.device().kind)) {
    DSTRAIN_ON_DEVICE(attention_prepare(exec, s, dtype, backward));
  }
  cpu::attention_prepare(exec, s, dtype, backward);
}

std::string attention_choice(const AttentionShape& s, DType dtype, bool backward, DeviceKind device) {
  DSTRAIN_ASK(attention_choice, s, dtype, backward);
}

void scale_columns(const Exec& exec, Data x, const float* factor_N, std::int64_t T, std::int64_t N, std::int64_t ldx) {
  DSTRAIN_SEND(scale_columns, x, factor_N, T, N, ldx);
}

void add_columns(const Exec& exec, Data y, ConstData d, std::int64_t T, std::int64_t N, std::int64_t ldy,
                 std::int64_t ldd) {
  DSTRAIN_SEND(add_columns, y, d, T, N, ldy, ldd);
}

void column_dots(const Exec& exec, float* out_N, ConstData a, ConstData b, const float* factor_N, std::int64_t T,
                 std::int64_t N, std::int64_t lda, std::int64_t ldb, bool accumulate) {
  DSTRAIN_SEND(column_dots, out_N, a, b, factor_N, T, N, lda, ldb, accumulate);
}

void dropout(const Exec& exec, Data y_TN, ConstData x_TN, std::int64_t T, std::int64_t N, const DropoutMask& mask,
             bool accumulate) {
  DSTRAIN_SEND(dropout, y_TN, x_TN, T, N, mask, accumulate);
}

void updated_row_norms(const Exec& exec, float* norm, ConstData w, ConstData a, ConstData b, float scale,
                       std::int64_t out, std::int64_t in, std::int64_t rank, bool transposed) {
  DSTRAIN_SEND(updated_row_norms, norm, w, a, b, scale, out, in, rank, transposed);
}

void gather_columns(const Exec& exec, Data y_TR, ConstData a_RV, const std::int32_t* ids_T, std::int64_t T,
                    std::int64_t R, std::int64_t V) {
  DSTRAIN_SEND(gather_columns, y_TR, a_RV, ids_T, T, R, V);
}

void gather_columns_backward(const Exec& exec, float* da_RV, ConstData dy_TR, const std::int32_t* ids_T, std::int64_t T,
                             std::int64_t R, std::int64_t V, bool accumulate) {
  DSTRAIN_SEND(gather_columns_backward, da_RV, dy_TR, ids_T, T, R, V, accumulate);
}

void scale_block(const Exec& exec, Data x, float factor, std::int64_t T, std::int64_t N, std::int64_t ldx) {
  DSTRAIN_SEND(scale_block, x, factor, T, N, ldx);
}

void magnitude_factors(const Exec& exec, float* inverse, float* factor, float* shifted, std::int64_t count) {
  DSTRAIN_SEND(magnitude_factors, inverse, factor, shifted, count);
}

void add_uniform_noise(const Exec& exec, Data x, std::int64_t count, float magnitude, const Rng& rng) {
  DSTRAIN_SEND(add_uniform_noise, x, count, magnitude, rng);
}

}  // namespace dstrain::ops
