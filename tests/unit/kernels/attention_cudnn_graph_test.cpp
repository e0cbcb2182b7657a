// SPDX-License-Identifier: Apache-2.0
/// cuDNN's graphs without a GPU: they are made for a GPU's description, compiled, and handed to a driver that takes
/// everything (support/taking_driver.c). What is compared is what cuDNN asks for with what is planned for it.
#include "kernels/cuda/attention_cudnn_graph.hpp"

#include <gtest/gtest.h>

#include <string>

namespace dstrain::cudnn {
namespace {

struct Gpu {
  const char* name;
  int sm;
  int multiprocessors;
  int shared_bytes;  ///< of a block, at most
};
const Gpu h100{"NVIDIA H100 80GB HBM3", 90, 132, 232448};
const Gpu b200{"NVIDIA B200", 100, 148, 232448};
const Gpu a100{"NVIDIA A100-SXM4-80GB", 80, 108, 166912};

/// As cuDNN writes one.
std::string properties_of(const Gpu& gpu) {
  return std::string(R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,)") +
         R"("multiProcessorCount":)" + std::to_string(gpu.multiprocessors) +
         R"(,"warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":)" +
         std::to_string(gpu.shared_bytes) +
         R"(,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":32,)"
         R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,)"
         R"("totalGlobalMem":85899345920,"smClockRateKHz":1980000,"memClockRateKHz":2619000,"l2CacheSize":52428800,)"
         R"("cudaDeviceId":0,"deviceVer":)" +
         std::to_string(10 * gpu.sm) + R"(,"driverVer":13000,"deviceName":")" + gpu.name + "\"}";
}

Description describe(const Call& call, const Gpu& gpu) { return describe(call, properties_of(gpu), gpu.sm); }

AttentionShape shape(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, std::int32_t window = 0) {
  AttentionShape s{};
  s.T = 4096;
  s.max_seqlen = 4096;
  s.heads = heads;
  s.kv_heads = kv_heads;
  s.head_dim = head_dim;
  s.q_stride = s.kv_stride = (heads + 2 * kv_heads) * head_dim;
  s.out_stride = heads * head_dim;
  s.window = window;
  s.kernels = AttentionKernels::cudnn;
  return s;
}

/// Skips where nothing can be compiled here, with cuDNN's reason.
#define DSTRAIN_NEED_CUDNN_COMPILER()                                                               \
  const Description tried = describe(*call_of(shape(8, 8, 128), DType::bf16, false, 1, 256), h100); \
  if (!tried.problem.empty()) GTEST_SKIP() << "skipped: " << tried.problem

void expect_planned(const Call& call, const Gpu& gpu) {
  const Description d = describe(call, gpu);
  SCOPED_TRACE(std::string(gpu.name) + ": " + (call.backward ? "backward " : "forward ") + std::to_string(call.batch) +
               " of " + std::to_string(call.rows) + ", " + std::to_string(call.heads) + " heads of " +
               std::to_string(call.head_dim));
  EXPECT_EQ(d.problem, "");
  EXPECT_LE(d.workspace_bytes, workspace_bytes(call)) << d.engine;
  EXPECT_TRUE(d.compiled_at_run_time) << d.engine << ": then docs/gpu.md and attention_prepare could say better";
}

TEST(CudnnGraph, WantsNoMoreWorkspaceThanIsPlannedOnHopper) {
  DSTRAIN_NEED_CUDNN_COMPILER();
  for (const std::int64_t head_dim : {64, 80, 96, 128}) {
    const AttentionShape s = shape(32, 8, head_dim);
    expect_planned(*call_of(s, DType::bf16, false, 8, 512), h100);
    expect_planned(*call_of(s, DType::bf16, true, 1, 4096), h100);
  }
  expect_planned(*call_of(shape(32, 32, 128), DType::f16, true, 8, 256), h100);
  expect_planned(*call_of(shape(32, 8, 128, 1024), DType::bf16, true, 1, 4096), h100);
  AttentionShape any = shape(32, 8, 128);
  any.kernels = AttentionKernels::cudnn_any_order;
  expect_planned(*call_of(any, DType::bf16, true, 1, 4096), h100);
}

TEST(CudnnGraph, WantsNoMoreWorkspaceThanIsPlannedOnBlackwell) {
  DSTRAIN_NEED_CUDNN_COMPILER();
  expect_planned(*call_of(shape(32, 8, 128), DType::bf16, false, 1, 4096), b200);
  expect_planned(*call_of(shape(32, 8, 128), DType::bf16, true, 1, 4096), b200);
}

// There the own kernels compute the backward pass.
TEST(CudnnGraph, HasForwardButNoPackedBackwardOnAmpere) {
  DSTRAIN_NEED_CUDNN_COMPILER();
  expect_planned(*call_of(shape(32, 8, 128), DType::bf16, false, 1, 4096), a100);
  EXPECT_NE(describe(*call_of(shape(32, 8, 128), DType::bf16, true, 1, 4096), a100).problem, "");
}

TEST(CudnnGraph, SaysWhatIsWrongWithADescription) {
  EXPECT_NE(describe(*call_of(shape(8, 8, 128), DType::bf16, false, 1, 256), "{}", 90).problem, "");
}

}  // namespace
}  // namespace dstrain::cudnn
