// SPDX-License-Identifier: Apache-2.0
#include "core/cublaslt.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <string>

#include "core/device_runtime.hpp"

namespace dstrain {
namespace {

/// Where the loader looks (the program's own folders, LD_LIBRARY_PATH, the system's), then where it lay at the build.
void* open_library() {
  const std::string name = fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR);
  std::string reason;
  for (const std::string& place : {name, std::string(DSTRAIN_CUBLASLT_LIBRARY)}) {
    if (void* library = dlopen(place.c_str(), RTLD_LAZY | RTLD_LOCAL)) return library;
    if (const char* said = dlerror(); reason.empty() && said != nullptr) reason = said;
  }
  throw CudaError(fmt::format("{} cannot be loaded: {}", name, reason), "",
                  fmt::format("install cuBLAS of CUDA {} or name its folder in LD_LIBRARY_PATH", CUBLAS_VER_MAJOR));
}

template <typename Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr) throw CudaError(fmt::format("libcublasLt has no {}", name));
}

CublasLt load() {
  void* library = open_library();
  CublasLt lt{};
  find(library, "cublasLtGetVersion", lt.get_version);
  find(library, "cublasLtGetStatusString", lt.status_string);
  find(library, "cublasLtCreate", lt.create);
  find(library, "cublasLtMatmul", lt.matmul);
  find(library, "cublasLtMatmulDescCreate", lt.operation_create);
  find(library, "cublasLtMatmulDescSetAttribute", lt.operation_set);
  find(library, "cublasLtMatmulDescDestroy", lt.operation_destroy);
  find(library, "cublasLtMatrixLayoutCreate", lt.layout_create);
  find(library, "cublasLtMatrixLayoutDestroy", lt.layout_destroy);
  find(library, "cublasLtMatmulPreferenceCreate", lt.preference_create);
  find(library, "cublasLtMatmulPreferenceSetAttribute", lt.preference_set);
  find(library, "cublasLtMatmulPreferenceDestroy", lt.preference_destroy);
  find(library, "cublasLtMatmulAlgoGetHeuristic", lt.heuristic);
  find(library, "cublasLtMatmulAlgoConfigGetAttribute", lt.algorithm_attribute);
  return lt;
}

}  // namespace

const CublasLt& cublaslt() {
  static const CublasLt loaded = load();
  return loaded;
}

}  // namespace dstrain
