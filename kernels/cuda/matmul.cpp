// SPDX-License-Identifier: Apache-2.0
/// Matrix products by cuBLASLt. The algorithm of a shape is asked for once, kept, and used for every call of it.
///
/// Our matrices are row-major and cuBLASLt's column-major: a row-major C = A B is a column-major C^T = B^T A^T, so that
/// B is handed over first and nothing is copied.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "core/cublaslt.hpp"
#include "core/device_runtime.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/matmul_parts.hpp"

namespace dstrain::cuda {

namespace {

/// What Hopper's kernels ask for at most; older chips use less.
constexpr std::int64_t workspace_size = std::int64_t{32} << 20;

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw CudaError(fmt::format("{} failed: {}", call, cublaslt().status_string(status)));
}

cudaDataType_t type_of(DType dtype) {
  if (dtype == DType::bf16) return CUDA_R_16BF;
  return dtype == DType::f16 ? CUDA_R_16F : CUDA_R_32F;
}

/// What exists was made by the library, so it is loaded.
template <typename T, auto destroy>
struct Destroy {
  void operator()(T handle) const noexcept { (cublaslt().*destroy)(handle); }
};
using Operation = std::unique_ptr<std::remove_pointer_t<cublasLtMatmulDesc_t>,
                                  Destroy<cublasLtMatmulDesc_t, &CublasLt::operation_destroy>>;
using Layout = std::unique_ptr<std::remove_pointer_t<cublasLtMatrixLayout_t>,
                               Destroy<cublasLtMatrixLayout_t, &CublasLt::layout_destroy>>;
using Preference = std::unique_ptr<std::remove_pointer_t<cublasLtMatmulPreference_t>,
                                   Destroy<cublasLtMatmulPreference_t, &CublasLt::preference_destroy>>;

/// What an algorithm is chosen by: sizes, strides, forms, dtypes, alignments and what is done to the sums, as plain
/// numbers.
using Key = std::array<std::int64_t, 15>;
enum class Epilogue : std::int64_t { none, accumulate, bias };

struct Chosen {
  Operation operation;
  Layout first;   ///< B as cuBLASLt sees it
  Layout second;  ///< A
  Layout result;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace = 0;
  bool found = false;  ///< false: no kernel takes it, matmul_plain does
};

struct Library {
  std::mutex mutex;
  cublasLtHandle_t handle = nullptr;
  std::map<Key, std::unique_ptr<Chosen>> chosen;
  bool tf32 = false;
};

/// Never destroyed: what is loaded in the middle of a program ends before what was made earlier.
Library& library() {
  static Library& instance = *std::make_unique<Library>().release();
  return instance;
}

cublasLtHandle_t handle() {
  Library& lib = library();
  if (lib.handle == nullptr) check(cublaslt().create(&lib.handle), "cublasLtCreate");
  return lib.handle;
}

/// The largest power of two up to 16 that divides an address: wider loads no kernel makes.
std::int64_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  std::int64_t alignment = 16;
  while (address % static_cast<std::uintptr_t>(alignment) != 0) alignment /= 2;
  return alignment;
}

Key key_of(const MatmulShape& s, DType a_b, DType c, Epilogue epilogue, std::int64_t align_a, std::int64_t align_b,
           std::int64_t align_c, std::int64_t align_bias) {
  return {s.M,
          s.N,
          s.K,
          s.lda,
          s.ldb,
          s.ldc,
          s.transpose_a ? 1 : 0,
          s.transpose_b ? 1 : 0,
          static_cast<std::int64_t>(a_b),
          static_cast<std::int64_t>(c),
          static_cast<std::int64_t>(epilogue),
          align_a,
          align_b,
          align_c,
          align_bias};
}

Layout layout(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t stride) {
  cublasLtMatrixLayout_t raw = nullptr;
  check(cublaslt().layout_create(&raw, type_of(dtype), static_cast<std::uint64_t>(rows),
                                 static_cast<std::uint64_t>(columns), stride),
        "cublasLtMatrixLayoutCreate");
  return Layout(raw);
}

template <typename T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check(cublaslt().preference_set(preference, attribute, &value, sizeof value), "cublasLtMatmulPreferenceSetAttribute");
}

template <typename T>
void set_operation(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(cublaslt().operation_set(operation, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}

Preference preference_of(const Key& key) {
  cublasLtMatmulPreference_t raw = nullptr;
  check(cublaslt().preference_create(&raw), "cublasLtMatmulPreferenceCreate");
  Preference preference(raw);
  set<std::uint64_t>(raw, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_size);
  // B is cuBLASLt's first operand.
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(key[12]));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(key[11]));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(key[13]));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(key[13]));
  // Parts of a sum meet in the workspace in f32, or are not cut: never in the result, in an order left to chance.
  set<std::uint32_t>(raw, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                     CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
  return preference;
}

std::unique_ptr<Chosen> choose(const MatmulShape& s, DType a_b, DType c, const Key& key) {
  auto chosen = std::make_unique<Chosen>();
  const bool tf32 = a_b == DType::f32 && library().tf32;
  cublasLtMatmulDesc_t raw = nullptr;
  check(cublaslt().operation_create(&raw, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "cublasLtMatmulDescCreate");
  chosen->operation.reset(raw);
  set_operation(raw, CUBLASLT_MATMUL_DESC_TRANSA, s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set_operation(raw, CUBLASLT_MATMUL_DESC_TRANSB, s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (key[10] == static_cast<std::int64_t>(Epilogue::bias)) {
    // Our columns are cuBLASLt's rows, of which each has one bias, of the result's dtype.
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    const cudaDataType_t type = type_of(c);
    set_operation(raw, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    set_operation(raw, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type);
  }
  chosen->first = layout(a_b, s.transpose_b ? s.K : s.N, s.transpose_b ? s.N : s.K, s.ldb);
  chosen->second = layout(a_b, s.transpose_a ? s.M : s.K, s.transpose_a ? s.K : s.M, s.lda);
  chosen->result = layout(c, s.N, s.M, s.ldc);

  const Preference preference = preference_of(key);
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  const cublasStatus_t status =
      cublaslt().heuristic(handle(), raw, chosen->first.get(), chosen->second.get(), chosen->result.get(),
                           chosen->result.get(), preference.get(), 1, &result, &found);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) check(status, "cublasLtMatmulAlgoGetHeuristic");
  chosen->found = status == CUBLAS_STATUS_SUCCESS && found > 0 && result.state == CUBLAS_STATUS_SUCCESS;
  chosen->algorithm = result.algo;
  chosen->workspace = result.workspaceSize;
  return chosen;
}

const Chosen& chosen_for(const MatmulShape& s, DType a_b, DType c, const Key& key) {
  Library& lib = library();
  const std::lock_guard lock(lib.mutex);
  std::unique_ptr<Chosen>& entry = lib.chosen[key];
  if (!entry) entry = choose(s, a_b, c, key);
  return *entry;
}

bool is_empty(const MatmulShape& s) { return s.M == 0 || s.N == 0; }

std::int64_t algorithm_number(const cublasLtMatmulAlgo_t& algorithm) {
  std::int32_t id = -1;
  std::size_t written = 0;
  if (cublaslt().algorithm_attribute(&algorithm, CUBLASLT_ALGO_CONFIG_ID, &id, sizeof id, &written) !=
      CUBLAS_STATUS_SUCCESS)
    return -1;
  return id;
}

}  // namespace

void allow_tf32(bool allowed) noexcept { library().tf32 = allowed; }

std::string matmul_record() {
  Library& lib = library();
  const std::lock_guard lock(lib.mutex);
  std::string text;
  for (const auto& [key, chosen] : lib.chosen) {
    text += fmt::format("M {} N {} K {} {}{} {} to {}{}: {}, workspace {} bytes\n", key[0], key[1], key[2],
                        key[6] != 0 ? 'T' : 'N', key[7] != 0 ? 'T' : 'N', name_of(static_cast<DType>(key[8])),
                        name_of(static_cast<DType>(key[9])),
                        key[10] == 0   ? ""
                        : key[10] == 1 ? " added"
                                       : " with bias",
                        chosen->found ? fmt::format("cuBLASLt algorithm {}", algorithm_number(chosen->algorithm))
                                      : std::string("own kernel"),
                        chosen->workspace);
  }
  return text;
}

std::int64_t matmul_workspace_bytes(const MatmulShape& shape, DType a_b, DType c) {
  check_product_dtypes(a_b, a_b, c, false);
  return is_empty(with_strides(shape)) ? 0 : workspace_size;
}

void matmul_prepare(const MatmulShape& shape, DType a_b, DType c, bool accumulate) {
  check_product_dtypes(a_b, a_b, c, accumulate);
  const MatmulShape s = with_strides(shape);
  if (is_empty(s) || s.K == 0) return;
  const Epilogue epilogue = accumulate ? Epilogue::accumulate : Epilogue::none;
  static_cast<void>(chosen_for(s, a_b, c, key_of(s, a_b, c, epilogue, 16, 16, 16, 16)));
  // Who multiplies with a bias prepares the product alone.
  if (!accumulate) static_cast<void>(chosen_for(s, a_b, c, key_of(s, a_b, c, Epilogue::bias, 16, 16, 16, 16)));
}

namespace {

/// False where cuBLASLt has no kernel for it: nothing was queued. @param bias  null: none
bool multiply(const Exec& exec, Data c, ConstData a, ConstData b, const void* bias, const MatmulShape& s,
              Epilogue epilogue) {
  const Key key = key_of(s, a.dtype, c.dtype, epilogue, alignment_of(a.data), alignment_of(b.data),
                         alignment_of(c.data), bias == nullptr ? 16 : alignment_of(bias));
  const Chosen& chosen = chosen_for(s, a.dtype, c.dtype, key);
  if (!chosen.found) return false;
  if (exec.workspace_bytes < static_cast<std::int64_t>(chosen.workspace)) {
    throw ShapeError(
        fmt::format("matmul needs {} bytes of workspace and got {}", chosen.workspace, exec.workspace_bytes));
  }
  if (bias != nullptr) set_operation(chosen.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  const float alpha = 1.0F;
  const float beta = epilogue == Epilogue::accumulate ? 1.0F : 0.0F;
  check(cublaslt().matmul(handle(), chosen.operation.get(), &alpha, b.data, chosen.first.get(), a.data,
                          chosen.second.get(), &beta, c.data, chosen.result.get(), c.data, chosen.result.get(),
                          &chosen.algorithm, exec.workspace, chosen.workspace,
                          static_cast<cudaStream_t>(exec.stream.native())),
        "cublasLtMatmul");
  return true;
}

}  // namespace

void matmul(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& shape, bool accumulate) {
  check_product_dtypes(a.dtype, b.dtype, c.dtype, accumulate);
  const MatmulShape s = with_strides(shape);
  if (is_empty(s)) return;
  const Epilogue epilogue = accumulate ? Epilogue::accumulate : Epilogue::none;
  if (s.K == 0 || !multiply(exec, c, a, b, nullptr, s, epilogue)) matmul_plain(exec, c, a, b, s, accumulate);
}

void matmul_bias(const Exec& exec, Data c, ConstData a, ConstData b, ConstData bias_N, const MatmulShape& shape) {
  check_product_dtypes(a.dtype, b.dtype, c.dtype, false);
  const MatmulShape s = with_strides(shape);
  if (is_empty(s)) return;
  if (bias_N.dtype == c.dtype && s.K > 0 && multiply(exec, c, a, b, bias_N.data, s, Epilogue::bias)) return;
  matmul(exec, c, a, b, s, false);
  add_bias(exec, c, bias_N, s.M, s.N, s.ldc);
}

}  // namespace dstrain::cuda
