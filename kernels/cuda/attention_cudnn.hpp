// SPDX-License-Identifier: Apache-2.0
/// Attention by cuDNN: the graphs that were made, and both passes by them. Private to kernels/cuda.
///
/// What a step may run is made before it (attention_prepare). A call one of whose graphs is missing runs on dstrain's
/// own kernels, forward and backward each for itself: the log-sum-exp is kept in dstrain's form in either case.
#pragma once

#include "kernels/cuda/attention_cudnn_graph.hpp"
#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

/// Both passes; false where own kernels have to run, nothing was queued then. `workspace` has pieces_of(s).total()
/// bytes. Backward: rows outside every segment are the caller's.
bool cudnn_forward(const Exec& exec, Data out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                   const AttentionShape& s, char* workspace);
bool cudnn_backward(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse_NT,
                    ConstData q, ConstData k, ConstData v, const AttentionShape& s, char* workspace);

}  // namespace dstrain::DSTRAIN_KERNELS
