// SPDX-License-Identifier: Apache-2.0
/// cuDNN's graphs of attention, made for a GPU or, to learn what they would be, for the description of one. Private to
/// kernels/cuda and its tests.
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/attention_cudnn_calls.hpp"

namespace dstrain::cudnn {

/// Operands of one call, at its first head. Places are in elements from there, one per segment and one behind.
struct Operands {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  void* out = nullptr;          ///< read by backward
  float* statistics = nullptr;  ///< log-sum-exp, [row, head of the call]
  const void* dout = nullptr;
  void* dq = nullptr;
  void* dk = nullptr;
  void* dv = nullptr;
  const std::int32_t* q_places = nullptr;
  const std::int32_t* kv_places = nullptr;
  const std::int32_t* out_places = nullptr;
  const std::int32_t* statistics_places = nullptr;
  const std::int32_t* lengths = nullptr;
  float scale = 1.0F;
};

/// A graph of cuDNN with its compiled kernels.
class Plan {
 public:
  Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  virtual ~Plan() = default;
  [[nodiscard]] virtual std::int64_t workspace_bytes() const = 0;
  /// Queues it on the stream of `exec`.
  virtual void run(const Exec& exec, const Operands& operands, void* workspace) const = 0;
};

struct MadePlan {
  std::unique_ptr<Plan> plan;  ///< null: see problem
  std::string problem;
};

/// What cuDNN says of a call's first plan. Compiles it.
struct Description {
  std::string problem;  ///< empty: there is a plan, and the rest holds
  std::string engine;   ///< its name and knobs
  std::int64_t workspace_bytes = 0;
  bool compiled_at_run_time = false;
};

/// @param properties  the GPU as cuDNN serialises one (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, cuDNN 9.8)
/// @param sm          its compute capability times 10: 90
/// Needs a libcuda.so.1 that takes the compiled code (cuLibraryLoadData), but no GPU.
Description describe(const Call& call, const std::string& properties, int sm);

}  // namespace dstrain::cudnn

/// Compiles a call for the device in use.
namespace dstrain::cuda {
cudnn::MadePlan make_cudnn_plan(const cudnn::Call& call);
}
/// The same by loops on a CPU, of the tests (tests/support/emulated).
namespace dstrain::emulated {
cudnn::MadePlan make_cudnn_plan(const cudnn::Call& call);
}
