// SPDX-License-Identifier: Apache-2.0
/// What the files compiled once per instruction set offer: one table of functions per subject.
///
/// All functions work in the calling thread on the range they are given. Where a table holds an array, its index is the
/// storage type of the elements behind `void*`: 0 for f32, 1 for bf16 (storage_index of cpu/check.hpp). What they
/// compute stands at the operations of kernels/ops.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/isa.hpp"

namespace dstrain::cpu {

struct VectorMathFunctions {
  /// y[i] = e^x[i]; for the tests of the polynomial.
  void (*exp)(float* y, const float* x, std::int64_t count);
};

struct RmsNormFunctions {
  /// One row; `s` and `r` null without a residual. Returns 1 / rms.
  float (*forward_row[2])(void* y, void* s, const void* x, const void* r, const void* w, float eps, std::int64_t D);
  /// One row; dw (f32, this thread's) is added to where not null.
  void (*backward_row[2])(void* dx, float* dw, const void* dy, const void* x, const void* w, float rstd, std::int64_t D,
                          bool add_dx);
  /// The same with 1 + w in the place of w.
  float (*forward_row_plus_one[2])(void* y, void* s, const void* x, const void* r, const void* w, float eps,
                                   std::int64_t D);
  void (*backward_row_plus_one[2])(void* dx, float* dw, const void* dy, const void* x, const void* w, float rstd,
                                   std::int64_t D, bool add_dx);
};

struct LayerNormFunctions {
  struct Row {
    float mean;
    float rstd;
  };
  /// One row; `s` and `r` null without a residual, b without a bias.
  Row (*forward_row[2])(void* y, void* s, const void* x, const void* r, const void* w, const void* b, float eps,
                        std::int64_t D);
  /// One row; dw and db (f32, this thread's) are added to where not null.
  void (*backward_row[2])(void* dx, float* dw, float* db, const void* dy, const void* x, const void* w, Row row,
                          std::int64_t D, bool add_dx);
};

struct RowNormFunctions {
  float (*sum_of_squares[2])(const void* x, std::int64_t D);
  /// x[i] *= factor[i]
  void (*multiply[2])(void* x, const float* factor, std::int64_t count);
  /// dw -= squared_r (w . dw) w
  void (*remove_component[2])(float* dw, const void* w, float squared_r, std::int64_t D);
  void (*softcap)(float* x, float cap, std::int64_t count);
};

struct ActivationFunctions {
  /// One row of F values.
  struct OfKind {
    void (*gated_forward[2])(void* h, const void* gate, const void* up, std::int64_t F);
    void (*gated_backward[2])(void* dgate, void* dup, const void* dh, const void* gate, const void* up, std::int64_t F);
    void (*plain_forward[2])(void* h, const void* x, std::int64_t F);
    void (*plain_backward[2])(void* dx, const void* dh, const void* x, std::int64_t F);
  };
  OfKind of_kind[4];  ///< in the order of enum Activation
};

struct CrossEntropyFunctions {
  /// One row of V logits with target >= 0. Returns the negative log likelihood; dlogits may be null.
  /// softcap as in ops::cross_entropy.
  float (*row[2])(void* dlogits, const float* logits, std::int32_t target, float weight, std::int64_t V, float softcap);
};

struct ElementwiseFunctions {
  void (*f32_to_bf16)(void* dst, const void* src, std::int64_t count);
  void (*bf16_to_f32)(void* dst, const void* src, std::int64_t count);
  void (*add[2])(void* dst, const void* src, std::int64_t count);
  void (*add_bf16_to_f32)(void* dst, const void* src, std::int64_t count);
  void (*scale[2])(void* x, float factor, std::int64_t count);
};

struct RopeFunctions {
  /// The heads of one token, the first rotary_dim elements of each; cos, sin are the rows of its position.
  using Token = void(void* x, const float* cos, const float* sin, std::int64_t heads, std::int64_t head_dim,
                     std::int64_t rotary_dim, bool inverse);
  Token* token[2];              ///< pairs (i, i + rotary_dim/2)
  Token* token_interleaved[2];  ///< pairs (2i, 2i + 1)
};

struct BiasFunctions {
  /// db[n] (+)= sum_t dy[t * ldy + n] for n in [begin, end), t ascending in blocks.
  void (*backward_columns[2])(float* db, const void* dy, std::int64_t T, std::int64_t begin, std::int64_t end,
                              std::int64_t ldy, bool accumulate);
};

/// The scalars of one AdamW update, rounded to float as torch does.
struct AdamWScalars {
  float decay;           ///< 1 - lr * weight_decay
  float one_less_beta1;  ///< 1 - beta1
  float beta2;
  float one_less_beta2;    ///< 1 - beta2
  float root_correction2;  ///< sqrt(1 - beta2^step)
  float eps;
  float minus_step_size;  ///< -lr / (1 - beta1^step)
  float gradient_scale;
};

struct OptimizerFunctions {
  /// compute_copy: bf16, may be null.
  void (*adamw)(float* master, float* exp_avg, float* exp_avg_sq, const float* gradient, void* compute_copy,
                std::int64_t count, const AdamWScalars& a);
  double (*sum_of_squares)(const float* x, std::int64_t count);
};

DSTRAIN_DECLARE_ISA_TABLE(VectorMathFunctions, vector_math)
DSTRAIN_DECLARE_ISA_TABLE(RmsNormFunctions, rms_norm)
DSTRAIN_DECLARE_ISA_TABLE(LayerNormFunctions, layer_norm)
DSTRAIN_DECLARE_ISA_TABLE(RowNormFunctions, row_norm)
DSTRAIN_DECLARE_ISA_TABLE(ActivationFunctions, activation)
DSTRAIN_DECLARE_ISA_TABLE(CrossEntropyFunctions, cross_entropy)
DSTRAIN_DECLARE_ISA_TABLE(ElementwiseFunctions, elementwise)
DSTRAIN_DECLARE_ISA_TABLE(RopeFunctions, rope)
DSTRAIN_DECLARE_ISA_TABLE(BiasFunctions, bias)
DSTRAIN_DECLARE_ISA_TABLE(OptimizerFunctions, optimizer)

}  // namespace dstrain::cpu
