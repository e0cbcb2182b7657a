// SPDX-License-Identifier: Apache-2.0
/// The operations of kernels/ops on the CPU: same names, arguments and meaning. dispatch.cpp chooses this backend.
///
/// Threads are those of core/parallel.hpp; the bits of a result depend on the instruction set in use
/// (cpu/simd/isa.hpp), never on the number of threads. All throw ShapeError for dtypes they do not know and for a
/// workspace that is too small, before anything is written.
#pragma once

#include "kernels/ops.hpp"

namespace dstrain::cpu {

void rms_norm_forward(const Exec& exec, Data y_TD, Data s_TD, float* rstd_T, ConstData x_TD, ConstData r_TD,
                      ConstData w_D, float eps, RmsNormShape s);
void rms_norm_backward(const Exec& exec, Data dx_TD, float* dw_D, ConstData dy_TD, ConstData x_TD, ConstData w_D,
                       const float* rstd_T, RmsNormShape s, bool add_dx, bool add_dw);
std::int64_t rms_norm_workspace_bytes(RmsNormShape s);

void rope(const Exec& exec, Data x, const float* cos_PH, const float* sin_PH, const std::int32_t* position_T,
          RopeShape s, bool inverse);
void rope_table(const Exec& exec, float* cos_PH, float* sin_PH, const float* inv_freq_H, std::int64_t count,
                std::int64_t half_dim, float attention_factor);

void activation_forward(const Exec& exec, Data h_TF, ConstData x, ActivationShape s);
void activation_backward(const Exec& exec, Data dx, ConstData dh_TF, ConstData x, ActivationShape s);
void dropout(const Exec& exec, Data x, std::int64_t count, DropoutKey key);

void layer_norm_forward(const Exec& exec, Data y_TD, Data s_TD, LayerNormStatistics kept, ConstData x_TD,
                        ConstData r_TD, ConstData w_D, ConstData b_D, float eps, LayerNormShape s);
void layer_norm_backward(const Exec& exec, Data dx_TD, LayerNormGradients gradients, ConstData dy_TD, ConstData x_TD,
                         ConstData w_D, LayerNormStatistics kept, LayerNormShape s, bool add_dx, bool add_dw);
std::int64_t layer_norm_workspace_bytes(LayerNormShape s);

void head_norm_forward(const Exec& exec, Data x, Data kept, float* rstd, ConstData w_H, float eps, HeadNormShape s);
void head_norm_backward(const Exec& exec, Data dx, float* dw_H, ConstData kept, const float* rstd, ConstData w_H,
                        HeadNormShape s, bool add_dw);
std::int64_t head_norm_workspace_bytes(HeadNormShape s);

void inverse_row_norms(const Exec& exec, float* r_V, ConstData w_VD, std::int64_t V, std::int64_t D);
void scale_columns(const Exec& exec, Data x_TV, const float* factor_V, std::int64_t T, std::int64_t V);
void remove_row_component(const Exec& exec, float* dw_VD, ConstData w_VD, const float* r_V, std::int64_t V,
                          std::int64_t D);
void softcap(const Exec& exec, float* x, float cap, std::int64_t count);

void embedding_forward(const Exec& exec, Data y_TD, ConstData table_VD, const std::int32_t* ids_T, std::int64_t T,
                       std::int64_t D);
void embedding_backward(const Exec& exec, float* dtable_VD, ConstData dy_TD, const std::int32_t* ids_T, std::int64_t T,
                        std::int64_t D, std::int64_t V, bool accumulate);
void convert(const Exec& exec, Data dst, ConstData src, std::int64_t count);
void add(const Exec& exec, Data dst, ConstData src, std::int64_t count);
void fill_zero(const Exec& exec, Data dst, std::int64_t count);
void scale(const Exec& exec, Data x, float factor, std::int64_t count);

void cross_entropy(const Exec& exec, Data dlogits, float* nll_T, const float* logits_TV, const std::int32_t* target_T,
                   const float* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld, float softcap);

void argmax(const Exec& exec, std::int32_t* likeliest_T, const float* logits_TV, const std::int32_t* target_T,
            std::int64_t T, std::int64_t V, std::int64_t ld);

void adamw(const Exec& exec, float* master, float* exp_avg, float* exp_avg_sq, const float* gradient, Data compute_copy,
           std::int64_t count, const AdamWParameters& p);
void update(const Exec& exec, UpdateRule rule, const UpdateArrays& arrays, std::int64_t count,
            const UpdateParameters& p);
void adamw_8bit(const Exec& exec, float* master, QuantisedState first, QuantisedState second, const float* gradient,
                Data compute_copy, std::int64_t count, const UpdateParameters& p);
void lion_8bit(const Exec& exec, float* master, QuantisedState first, const float* gradient, Data compute_copy,
               std::int64_t count, const UpdateParameters& p);
void factored_sums(const Exec& exec, double* rows, double* columns, const float* gradient, const MatrixSlice& slice,
                   double scale, double eps);
double factored_update(const Exec& exec, float* update, const float* gradient, const float* row_factor,
                       const float* column_factor, const MatrixSlice& slice, double scale);
double unfactored_update(const Exec& exec, float* update, float* exp_avg_sq, const float* gradient, std::int64_t count,
                         double beta2t, double scale, double eps);
void apply_update(const Exec& exec, float* master, float* exp_avg, const float* update, Data compute_copy,
                  std::int64_t count, double factor, double beta1, double decay);
void sum_of_squares(const Exec& exec, double* out, const float* x, std::int64_t count, std::int64_t chunk);

void add_bias(const Exec& exec, Data y_TN, ConstData bias_N, std::int64_t T, std::int64_t N, std::int64_t ldy);
void bias_backward(const Exec& exec, float* db_N, ConstData dy_TN, std::int64_t T, std::int64_t N, std::int64_t ldy,
                   bool accumulate);

void matmul(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& shape, bool accumulate);
std::int64_t matmul_workspace_bytes(const MatmulShape& shape, DType a_b, DType c);
void matmul_prepare(const MatmulShape& shape, DType a_b, DType c, bool accumulate);

void attention_forward(const Exec& exec, Data out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                       const AttentionShape& s);
void attention_backward(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse_NT,
                        ConstData q, ConstData k, ConstData v, const AttentionShape& s);
std::int64_t attention_workspace_bytes(const AttentionShape& s, int threads);

void scale_columns(const Exec& exec, Data x, const float* factor_N, std::int64_t T, std::int64_t N, std::int64_t ldx);
void add_columns(const Exec& exec, Data y, ConstData d, std::int64_t T, std::int64_t N, std::int64_t ldy,
                 std::int64_t ldd);
void column_dots(const Exec& exec, float* out_N, ConstData a, ConstData b, const float* factor_N, std::int64_t T,
                 std::int64_t N, std::int64_t lda, std::int64_t ldb, bool accumulate);
void dropout(const Exec& exec, Data y_TN, ConstData x_TN, std::int64_t T, std::int64_t N, const DropoutMask& mask,
             bool accumulate);
void updated_row_norms(const Exec& exec, float* norm, ConstData w, ConstData a, ConstData b, float scale,
                       std::int64_t out, std::int64_t in, std::int64_t rank, bool transposed);
void gather_columns(const Exec& exec, Data y_TR, ConstData a_RV, const std::int32_t* ids_T, std::int64_t T,
                    std::int64_t R, std::int64_t V);
void gather_columns_backward(const Exec& exec, float* da_RV, ConstData dy_TR, const std::int32_t* ids_T, std::int64_t T,
                             std::int64_t R, std::int64_t V, bool accumulate);
void add_uniform_noise(const Exec& exec, Data x, std::int64_t count, float magnitude, const Rng& rng);

}  // namespace dstrain::cpu
