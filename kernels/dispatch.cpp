// SPDX-License-Identifier: Apache-2.0
/// Sends each operation to the backend of its stream's device.
#include "core/error.hpp"
#include "kernels/cpu/backend.hpp"

namespace dstrain::ops {

namespace {

/// The only backend so far. A second one turns each call below into a choice by device kind.
void require_cpu(const Exec& exec) {
  if (exec.stream.device().kind != DeviceKind::cpu)
    throw Error("this build of dstrain has no kernels for the stream's device");
}

}  // namespace

void rms_norm_forward(const Exec& exec, Data y_TD, Data s_TD, float* rstd_T, ConstData x_TD, ConstData r_TD,
                      ConstData w_D, float eps, RmsNormShape s) {
  require_cpu(exec);
  cpu::rms_norm_forward(exec, y_TD, s_TD, rstd_T, x_TD, r_TD, w_D, eps, s);
}

void rms_norm_backward(const Exec& exec, Data dx_TD, float* dw_D, ConstData dy_TD, ConstData x_TD, ConstData w_D,
                       const float* rstd_T, RmsNormShape s, bool add_dx, bool add_dw) {
  require_cpu(exec);
  cpu::rms_norm_backward(exec, dx_TD, dw_D, dy_TD, x_TD, w_D, rstd_T, s, add_dx, add_dw);
}

std::int64_t rms_norm_workspace_bytes(RmsNormShape s) { return cpu::rms_norm_workspace_bytes(s); }

void rope(const Exec& exec, Data x, const float* cos_PH, const float* sin_PH, const std::int32_t* position_T,
          RopeShape s, bool inverse) {
  require_cpu(exec);
  cpu::rope(exec, x, cos_PH, sin_PH, position_T, s, inverse);
}

void rope_table(const Exec& exec, float* cos_PH, float* sin_PH, const float* inv_freq_H, std::int64_t count,
                std::int64_t half_dim, float attention_factor) {
  require_cpu(exec);
  cpu::rope_table(exec, cos_PH, sin_PH, inv_freq_H, count, half_dim, attention_factor);
}

void swiglu_forward(const Exec& exec, Data h_TF, ConstData gate_up, std::int64_t T, std::int64_t F) {
  require_cpu(exec);
  cpu::swiglu_forward(exec, h_TF, gate_up, T, F);
}

void swiglu_backward(const Exec& exec, Data dgate_up, ConstData dh_TF, ConstData gate_up, std::int64_t T,
                     std::int64_t F) {
  require_cpu(exec);
  cpu::swiglu_backward(exec, dgate_up, dh_TF, gate_up, T, F);
}

void embedding_forward(const Exec& exec, Data y_TD, ConstData table_VD, const std::int32_t* ids_T, std::int64_t T,
                       std::int64_t D) {
  require_cpu(exec);
  cpu::embedding_forward(exec, y_TD, table_VD, ids_T, T, D);
}

void embedding_backward(const Exec& exec, float* dtable_VD, ConstData dy_TD, const std::int32_t* ids_T, std::int64_t T,
                        std::int64_t D, std::int64_t V, bool accumulate) {
  require_cpu(exec);
  cpu::embedding_backward(exec, dtable_VD, dy_TD, ids_T, T, D, V, accumulate);
}

void convert(const Exec& exec, Data dst, ConstData src, std::int64_t count) {
  require_cpu(exec);
  cpu::convert(exec, dst, src, count);
}

void add(const Exec& exec, Data dst, ConstData src, std::int64_t count) {
  require_cpu(exec);
  cpu::add(exec, dst, src, count);
}

void fill_zero(const Exec& exec, Data dst, std::int64_t count) {
  require_cpu(exec);
  cpu::fill_zero(exec, dst, count);
}

void scale(const Exec& exec, Data x, float factor, std::int64_t count) {
  require_cpu(exec);
  cpu::scale(exec, x, factor, count);
}

void cross_entropy(const Exec& exec, Data dlogits, float* nll_T, const float* logits_TV, const std::int32_t* target_T,
                   const float* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld) {
  require_cpu(exec);
  cpu::cross_entropy(exec, dlogits, nll_T, logits_TV, target_T, weight_T, T, V, ld);
}

void argmax(const Exec& exec, std::int32_t* likeliest_T, const float* logits_TV, const std::int32_t* target_T,
            std::int64_t T, std::int64_t V, std::int64_t ld) {
  require_cpu(exec);
  cpu::argmax(exec, likeliest_T, logits_TV, target_T, T, V, ld);
}

void adamw(const Exec& exec, float* master, float* exp_avg, float* exp_avg_sq, const float* gradient, Data compute_copy,
           std::int64_t count, const AdamWParameters& p) {
  require_cpu(exec);
  cpu::adamw(exec, master, exp_avg, exp_avg_sq, gradient, compute_copy, count, p);
}

void update(const Exec& exec, UpdateRule rule, const UpdateArrays& arrays, std::int64_t count,
            const UpdateParameters& p) {
  require_cpu(exec);
  cpu::update(exec, rule, arrays, count, p);
}

void adamw_8bit(const Exec& exec, float* master, QuantisedState first, QuantisedState second, const float* gradient,
                Data compute_copy, std::int64_t count, const UpdateParameters& p) {
  require_cpu(exec);
  cpu::adamw_8bit(exec, master, first, second, gradient, compute_copy, count, p);
}

void lion_8bit(const Exec& exec, float* master, QuantisedState first, const float* gradient, Data compute_copy,
               std::int64_t count, const UpdateParameters& p) {
  require_cpu(exec);
  cpu::lion_8bit(exec, master, first, gradient, compute_copy, count, p);
}

void factored_sums(const Exec& exec, double* rows, double* columns, const float* gradient, const MatrixSlice& slice,
                   double scale, double eps) {
  require_cpu(exec);
  cpu::factored_sums(exec, rows, columns, gradient, slice, scale, eps);
}

double factored_update(const Exec& exec, float* update, const float* gradient, const float* row_factor,
                       const float* column_factor, const MatrixSlice& slice, double scale) {
  require_cpu(exec);
  return cpu::factored_update(exec, update, gradient, row_factor, column_factor, slice, scale);
}

double unfactored_update(const Exec& exec, float* update, float* exp_avg_sq, const float* gradient, std::int64_t count,
                         double beta2t, double scale, double eps) {
  require_cpu(exec);
  return cpu::unfactored_update(exec, update, exp_avg_sq, gradient, count, beta2t, scale, eps);
}

void apply_update(const Exec& exec, float* master, float* exp_avg, const float* update, Data compute_copy,
                  std::int64_t count, double factor, double beta1, double decay) {
  require_cpu(exec);
  cpu::apply_update(exec, master, exp_avg, update, compute_copy, count, factor, beta1, decay);
}

void sum_of_squares(const Exec& exec, double* out, const float* x, std::int64_t count, std::int64_t chunk) {
  require_cpu(exec);
  cpu::sum_of_squares(exec, out, x, count, chunk);
}

void add_bias(const Exec& exec, Data y_TN, ConstData bias_N, std::int64_t T, std::int64_t N, std::int64_t ldy) {
  require_cpu(exec);
  cpu::add_bias(exec, y_TN, bias_N, T, N, ldy);
}

void bias_backward(const Exec& exec, float* db_N, ConstData dy_TN, std::int64_t T, std::int64_t N, std::int64_t ldy,
                   bool accumulate) {
  require_cpu(exec);
  cpu::bias_backward(exec, db_N, dy_TN, T, N, ldy, accumulate);
}

void matmul(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& shape, bool accumulate) {
  require_cpu(exec);
  cpu::matmul(exec, c, a, b, shape, accumulate);
}

std::int64_t matmul_workspace_bytes(const MatmulShape& shape, DType a_b, DType c) {
  return cpu::matmul_workspace_bytes(shape, a_b, c);
}

void matmul_prepare(const MatmulShape& shape, DType a_b, DType c, bool accumulate) {
  cpu::matmul_prepare(shape, a_b, c, accumulate);
}

void attention_forward(const Exec& exec, Data out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                       const AttentionShape& s) {
  require_cpu(exec);
  cpu::attention_forward(exec, out, lse_NT, q, k, v, s);
}

void attention_backward(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse_NT,
                        ConstData q, ConstData k, ConstData v, const AttentionShape& s) {
  require_cpu(exec);
  cpu::attention_backward(exec, dq, dk, dv, dout, out, lse_NT, q, k, v, s);
}

std::int64_t attention_workspace_bytes(const AttentionShape& s, int threads) {
  return cpu::attention_workspace_bytes(s, threads);
}

}  // namespace dstrain::ops
