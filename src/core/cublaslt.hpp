// SPDX-License-Identifier: Apache-2.0
/// cuBLASLt by its functions' addresses, loaded when a GPU's product first asks for it.
///
/// A program that is linked to it runs its constructors at every start, 70 ms and 148 MiB of memory, also where
/// no GPU is ever used. Private to what is built with CUDA.
#pragma once

#include <cublasLt.h>

namespace dstrain {

struct CublasLt {
  decltype(&::cublasLtGetVersion) get_version;
  decltype(&::cublasLtGetStatusString) status_string;
  decltype(&::cublasLtCreate) create;
  decltype(&::cublasLtMatmul) matmul;
  decltype(&::cublasLtMatmulDescCreate) operation_create;
  decltype(&::cublasLtMatmulDescSetAttribute) operation_set;
  decltype(&::cublasLtMatmulDescDestroy) operation_destroy;
  decltype(&::cublasLtMatrixLayoutCreate) layout_create;
  decltype(&::cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&::cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&::cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&::cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&::cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&::cublasLtMatmulAlgoConfigGetAttribute) algorithm_attribute;
};

/// The library of the major version that this was built with; stays loaded. Local, safe in several threads.
/// @throws CudaError  it is not on this machine or lacks a function; the next call tries again
const CublasLt& cublaslt();

}  // namespace dstrain
