// SPDX-License-Identifier: Apache-2.0
/// What the measurements of `dstrain bench` share. Private to bench*.cpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "commands/words.hpp"
#include "core/device.hpp"
#include "kernels/ops/common.hpp"

namespace dstrain::commands {

/// One line of a table: a name, how long a call took, and the rates that follow from it.
struct BenchLine {
  std::string name;
  double median_s = 0.0;
  double best_s = 0.0;
  double flops = 0.0;        ///< of one call; 0: not counted
  double moved_bytes = 0.0;  ///< read and written, or over the wire; 0: not counted
  std::string note;
};

/// Memory for operands on the device of a stream, given back at the end.
class BenchMemory {
 public:
  explicit BenchMemory(const Stream& stream) : stream_(stream) {}
  BenchMemory(const BenchMemory&) = delete;
  BenchMemory& operator=(const BenchMemory&) = delete;
  ~BenchMemory();
  /// `count` elements, filled with numbers in [-1, 1): zeros would be faster than any real data.
  Data random(std::int64_t count, DType dtype);
  void* bytes(std::int64_t bytes);

 private:
  Stream stream_;
  std::vector<void*> taken_;
};

/// Runs `call` a few times unmeasured, then `repeats` times, each to its end.
template <typename Call>
BenchLine measure(std::string name, int repeats, const Stream& stream, const Call& call) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  for (int i = -2; i < repeats; ++i) {
    stream.synchronize();
    const auto begin = Clock::now();
    call();
    stream.synchronize();
    if (i >= 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return {std::move(name), seconds[seconds.size() / 2], seconds.front(), 0.0, 0.0, ""};
}

struct BenchOptions {
  DType dtype = DType::f32;
  int repeats = 10;
  std::int64_t tokens = 1024;
  std::string model = "110m";
  bool lora = false;
  int zero_stage = 0;
  Device device;
};

using BenchLines = std::vector<BenchLine>;
/// The products of a model's layers, forward and backward.
BenchLines bench_gemm(const BenchOptions& options);
/// Causal attention of a model's heads, forward and backward.
BenchLines bench_attention(const BenchOptions& options);
/// Norms, activation, rotation, cross entropy, embedding, optimizer.
BenchLines bench_kernels(const BenchOptions& options);
/// Collectives of growing size; busbw as nccl-tests defines it. Collective.
BenchLines bench_collectives(Communicator& comm, const BenchOptions& options);
/// Whole training steps of a model with random weights. Collective.
BenchLines bench_step(Communicator& comm, const BenchOptions& options);

}  // namespace dstrain::commands
