// SPDX-License-Identifier: Apache-2.0
/// What the files compiled once per instruction set offer: one table of functions per subject.
///
/// All functions work in the calling thread on the range they are given. Where a table holds an array, its index is the
/// storage type of the elements behind `void*`: 0 for f32, 1 for bf16, 2 for f16 (storage_index of cpu/check.hpp). What
/// they compute stands at the operations of kernels/ops.
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
  float (*forward_row[storage_types])(void* y, void* s, const void* x, const void* r, const void* w, float eps,
                                      std::int64_t D);
  /// One row; dw (f32, this thread's) is added to where not null.
  void (*backward_row[storage_types])(void* dx, float* dw, const void* dy, const void* x, const void* w, float rstd,
                                      std::int64_t D, bool add_dx);
  /// The same with 1 + w in the place of w.
  float (*forward_row_plus_one[storage_types])(void* y, void* s, const void* x, const void* r, const void* w, float eps,
                                               std::int64_t D);
  void (*backward_row_plus_one[storage_types])(void* dx, float* dw, const void* dy, const void* x, const void* w,
                                               float rstd, std::int64_t D, bool add_dx);
};

struct LayerNormFunctions {
  struct Row {
    float mean;
    float rstd;
  };
  /// One row; `s` and `r` null without a residual, b without a bias.
  Row (*forward_row[storage_types])(void* y, void* s, const void* x, const void* r, const void* w, const void* b,
                                    float eps, std::int64_t D);
  /// One row; dw and db (f32, this thread's) are added to where not null.
  void (*backward_row[storage_types])(void* dx, float* dw, float* db, const void* dy, const void* x, const void* w,
                                      Row row, std::int64_t D, bool add_dx);
};

struct RowNormFunctions {
  float (*sum_of_squares[storage_types])(const void* x, std::int64_t D);
  /// x[i] *= factor[i]
  void (*multiply[storage_types])(void* x, const float* factor, std::int64_t count);
  /// dw -= squared_r (w . dw) w
  void (*remove_component[storage_types])(float* dw, const void* w, float squared_r, std::int64_t D);
  void (*softcap)(float* x, float cap, std::int64_t count);
};

struct ActivationFunctions {
  /// One row of F values.
  struct OfKind {
    void (*gated_forward[storage_types])(void* h, const void* gate, const void* up, std::int64_t F);
    void (*gated_backward[storage_types])(void* dgate, void* dup, const void* dh, const void* gate, const void* up,
                                          std::int64_t F);
    void (*plain_forward[storage_types])(void* h, const void* x, std::int64_t F);
    void (*plain_backward[storage_types])(void* dx, const void* dh, const void* x, std::int64_t F);
  };
  OfKind of_kind[4];  ///< in the order of enum Activation
};

struct CrossEntropyFunctions {
  /// One row of V logits with target >= 0. Returns its loss; dlogits may be null. softcap, label_smoothing and
  /// times_probability as in ops::cross_entropy.
  float (*row[storage_types])(void* dlogits, const float* logits, std::int32_t target, float weight, std::int64_t V,
                              float softcap, float label_smoothing, bool times_probability);
};

struct ElementwiseFunctions {
  /// Index 0, where source and target are f32, is a copy.
  void (*from_f32[storage_types])(void* dst, const void* src, std::int64_t count);
  void (*to_f32[storage_types])(void* dst, const void* src, std::int64_t count);
  void (*add[storage_types])(void* dst, const void* src, std::int64_t count);
  void (*add_to_f32[storage_types])(void* dst, const void* src, std::int64_t count);
  void (*scale[storage_types])(void* x, float factor, std::int64_t count);
};

struct RopeFunctions {
  /// The heads of one token, the first rotary_dim elements of each; cos, sin are the rows of its position.
  using Token = void(void* x, const float* cos, const float* sin, std::int64_t heads, std::int64_t head_dim,
                     std::int64_t rotary_dim, bool inverse);
  Token* token[storage_types];              ///< pairs (i, i + rotary_dim/2)
  Token* token_interleaved[storage_types];  ///< pairs (2i, 2i + 1)
};

struct BiasFunctions {
  /// db[n] (+)= sum_t dy[t * ldy + n] for n in [begin, end), t ascending in blocks.
  void (*backward_columns[storage_types])(float* db, const void* dy, std::int64_t T, std::int64_t begin,
                                          std::int64_t end, std::int64_t ldy, bool accumulate);
};

/// Where the weights are written besides, and in which storage type (storage_index: 1 bf16, 2 f16).
struct ComputeCopy {
  void* data;  ///< null: nowhere
  int storage;
};

/// The scalars of one update, rounded to float as torch does.
struct UpdateScalars {
  float gradient_scale;
  float decay;           ///< 1 - lr * weight_decay
  float l2;              ///< weight decay that is added to the gradient
  float beta1;           ///< beta1
  float one_less_beta1;  ///< 1 - beta1
  float beta2;
  float one_less_beta2;    ///< 1 - beta2
  float root_correction2;  ///< sqrt(1 - beta2^step)
  float eps;
  float minus_step_size;  ///< -lr, with the bias correction of the rule
  float momentum;
  float one_less_dampening;
  float alpha;
  float one_less_alpha;
  bool nesterov;
  bool first_step;
};

/// The arrays of one update (UpdateArrays of ops/optimizer.hpp) in the calling thread's range.
struct UpdatePointers {
  float* master;
  const float* gradient;
  float* state[3];
  ComputeCopy copy;
};

struct OptimizerFunctions {
  /// By UpdateRule.
  void (*update[8])(const UpdatePointers& p, std::int64_t count, const UpdateScalars& a);
  double (*sum_of_squares)(const float* x, std::int64_t count);
};

/// The arrays of one 8-bit update; pointers stand at the first element of a block.
struct Update8BitPointers {
  float* master;
  const float* gradient;
  std::uint8_t* code1;
  std::uint8_t* code2;
  float* absmax1;
  float* absmax2;
  const float* map1;     ///< 256 values
  const float* map2;     ///< 256 values
  const float* middle1;  ///< 255 numbers: from middle[i] on a value is nearer to map[i + 1]
  const float* middle2;
  ComputeCopy copy;
};

struct Optimizer8BitFunctions {
  void (*adamw)(const Update8BitPointers& p, std::int64_t count, const UpdateScalars& a);
  void (*lion)(const Update8BitPointers& p, std::int64_t count, const UpdateScalars& a);
};

struct AdafactorFunctions {
  /// Sum over n elements of (g * scale)^2 + eps.
  double (*row_sum)(const float* g, std::int64_t n, float scale, float eps);
  /// sums[c] += (g[c] * scale)^2 + eps
  void (*add_squares)(double* sums, const float* g, std::int64_t n, float scale, float eps);
  /// update = g * scale * (row * column); returns the sum of squares.
  double (*scale_row)(float* update, const float* g, const float* column, float row, std::int64_t n, float scale);
  double (*unfactored)(float* update, float* exp_avg_sq, const float* g, std::int64_t n, float beta2t,
                       float one_less_beta2t, float scale, float eps);
  void (*apply)(float* master, float* exp_avg, const float* update, ComputeCopy copy, std::int64_t n, float factor,
                float beta1, float one_less_beta1, float minus_decay);
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
DSTRAIN_DECLARE_ISA_TABLE(Optimizer8BitFunctions, optimizer_8bit)
DSTRAIN_DECLARE_ISA_TABLE(AdafactorFunctions, adafactor)

}  // namespace dstrain::cpu
