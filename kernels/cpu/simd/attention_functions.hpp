// SPDX-License-Identifier: Apache-2.0
/// What attention's vectorised files offer (see functions.hpp for the scheme): the work of one task in the calling
/// thread.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/isa.hpp"
#include "kernels/ops/dropout.hpp"

namespace dstrain::cpu {

/// One key/value head of one segment with the query heads that read it. Pointers stand at the segment's first row and
/// the first of the heads; strides in elements from one row to the next. Head g of the group lies g * head_dim elements
/// further.
struct AttentionTask {
  const void* q;
  const void* k;
  const void* v;
  void* out;   ///< forward: written; backward: the forward's result, read
  float* lse;  ///< of head 0; head g at lse + g * lse_stride; may be null in forward
  std::int64_t lse_stride;
  std::int64_t q_stride;
  std::int64_t kv_stride;
  std::int64_t out_stride;
  std::int64_t n_q;
  std::int64_t n_k;
  std::int64_t shift;    ///< the key at which query 0 stands: n_k - n_q, or 0 where queries go on behind the keys
  std::int64_t q_begin;  ///< forward: the queries [q_begin, q_end) of the segment
  std::int64_t q_end;
  std::int64_t group;  ///< query heads
  std::int64_t head_dim;
  std::int64_t window;  ///< 0: none
  float scale;
  const float* slopes;  ///< ALiBi, one per head of the group; null: none
  float softcap;        ///< 0: none
  /// Factors of the weights behind the softmax for keys [key, key + count) of a query of head g; null: nothing is
  /// dropped. `key` is a multiple of 4.
  void (*dropout)(float* factors, const AttentionTask& task, std::int64_t g, std::int64_t query, std::int64_t key,
                  std::int64_t count);
  const DropoutKey* dropout_key;
  std::int64_t dropout_head;  ///< what is added to its site for head 0 of the group
  std::int64_t first_row;     ///< row of query 0 in the micro-batch
  float* workspace;           ///< workspace_words
};

/// The additional operands of backward; strides as those of q, k, v and out.
struct AttentionGradients {
  const void* dout;
  void* dq;
  void* dk;
  void* dv;
};

/// Arrays by storage type. workspace_words: floats that one task needs.
struct AttentionForwardFunctions {
  /// Queries [q_begin, q_end) of all heads of the group.
  void (*run[storage_types])(const AttentionTask& task);
  std::int64_t (*workspace_words)(std::int64_t longest_segment, std::int64_t head_dim);
};

struct AttentionBackwardFunctions {
  /// The whole segment; writes its rows of dq, dk, dv.
  void (*run[storage_types])(const AttentionTask& task, const AttentionGradients& gradients);
  std::int64_t (*workspace_words)(std::int64_t longest_segment, std::int64_t head_dim);
};

/// The same for bf16 with products of pairs, in the same workspaces; null where the instruction set has no such
/// product. Only on CPUs with avx512_bf16.
struct AttentionBf16Functions {
  void (*forward)(const AttentionTask& task);
  void (*backward)(const AttentionTask& task, const AttentionGradients& gradients);
};

DSTRAIN_DECLARE_ISA_TABLE(AttentionForwardFunctions, attention_forward)
DSTRAIN_DECLARE_ISA_TABLE(AttentionBackwardFunctions, attention_backward)
DSTRAIN_DECLARE_ISA_TABLE(AttentionBf16Functions, attention_bf16)

}  // namespace dstrain::cpu
