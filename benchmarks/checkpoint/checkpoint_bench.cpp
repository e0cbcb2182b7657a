// SPDX-License-Identifier: Apache-2.0
/// What a checkpoint costs: the stall of one that is written behind steps and of one that is waited for, the slowdown
/// of the steps beside it, and the rate against plain write + fsync of the same bytes.
///
///     checkpoint_bench DIR GIB PAIRS STEP_S [BUFFER_MIB]
///
/// One rank, one thread of matrix products as forward and backward (STEP_S seconds of them), then a pass over the whole
/// state as the optimizer. Each pair measures, one after the other: plain, waited for, behind. Medians at the end.
#include <fmt/core.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/local_communicator.hpp"
#include "core/memory_plan.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/checkpoint/writer.hpp"
#include "io/files/file.hpp"
#include "kernels/ops.hpp"

namespace {

using namespace dstrain;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Parameters and two moments in one arena, as training holds them, and the copies.
class State {
 public:
  State(std::int64_t bytes, std::int64_t copies)
      : count_(bytes / 12), arena_([&] {
          MemoryPlan plan;
          for (auto& id : ids_) id = plan.add("state", count_, DType::f32);
          copies_ = plan.add("copies", copies, DType::u8);
          for (auto& id : probe_) id = plan.add("probe", 1024 * 1024, DType::f32);
          workspace_ = plan.add("workspace", ops::matmul_workspace_bytes(shape, DType::f32, DType::f32), DType::u8);
          plan.finalize();
          return plan;
        }()) {
    constexpr std::int64_t tensors = 96;
    const std::int64_t each = count_ / tensors;
    for (std::int64_t t = 0; t < tensors; ++t) content_.tensors.push_back({fmt::format("layer.{}.weight", t), {each}});
    const std::array kinds{CheckpointKind::parameter, CheckpointKind::exp_avg, CheckpointKind::exp_avg_sq};
    for (std::size_t k = 0; k < kinds.size(); ++k) {
      auto* values = arena_[ids_[k]].as<float>();
      for (std::int64_t i = 0; i < count_; ++i) values[i] = static_cast<float>(i % 8191) * 0.37F;
      for (std::int64_t t = 0; t < tensors; ++t)
        content_[kinds[k]].push_back({static_cast<std::int32_t>(t), 0, each, values + t * each});
    }
    for (const auto& id : probe_) std::fill_n(arena_[id].as<float>(), 1024 * 1024, 1.0F);
  }

  [[nodiscard]] const CheckpointContent& content() const { return content_; }
  [[nodiscard]] View copies() const { return arena_[copies_]; }
  [[nodiscard]] std::int64_t bytes() const { return count_ * 12; }
  [[nodiscard]] const char* data() const { return arena_[ids_[0]].as<char>(); }

  /// One matrix product, some milliseconds.
  void compute() const {
    Exec exec;
    exec.workspace = arena_[workspace_].data;
    exec.workspace_bytes = arena_[workspace_].bytes();
    ops::matmul(exec, Data{arena_[probe_[2]].data, DType::f32}, ConstData(arena_[probe_[0]].data, DType::f32),
                ConstData(arena_[probe_[1]].data, DType::f32), shape, false);
  }

  void update() {
    for (const auto& id : ids_) {
      auto* values = arena_[id].as<float>();
      for (std::int64_t i = 0; i < count_; ++i) values[i] = values[i] * 0.999F + 1e-4F;
    }
  }

 private:
  static constexpr MatmulShape shape{.M = 512, .N = 1024, .K = 768, .transpose_b = true};
  std::int64_t count_;
  std::array<BufferId, 3> ids_{};
  BufferId copies_;
  std::array<BufferId, 3> probe_{};
  BufferId workspace_;
  Arena arena_;
  CheckpointContent content_;
};

/// Seconds of writing and fsyncing the same bytes into a plain file.
double plain(const State& state, const fs::path& path) {
  const auto start = Clock::now();
  {
    const auto file = create_to_write(path);
    constexpr std::int64_t piece = 4 << 20;
    std::int64_t at = 0;
    for (const auto& slices : state.content().slices) {
      for (const auto& slice : slices) {
        for (std::int64_t done = 0; done < slice.count * 4; done += piece) {
          const auto n = std::min(piece, slice.count * 4 - done);
          write_at(file, at, static_cast<const char*>(slice.data) + done, n, path);
          at += n;
        }
      }
    }
    sync_file(file, path);
  }
  sync_folder(path.parent_path());
  const double seconds = since(start);
  fs::remove(path);
  ::sync();
  return seconds;
}

struct Behind {
  double stall_s = 0.0;  ///< of begin(), secure() and advance()
  double drain_s = 0.0;  ///< from begin() until complete
  std::vector<double> steps;
  std::int64_t copied = 0;
};

double compute_for(const State& state, int products) {
  const auto start = Clock::now();
  for (int i = 0; i < products; ++i) state.compute();
  return since(start);
}

Behind behind(State& state, CheckpointWriter& writer, Communicator&, const fs::path& dir, int step, int products) {
  Behind result;
  const auto begin = Clock::now();
  writer.begin(dir, step, state.content(), {});
  result.stall_s += since(begin);
  while (writer.in_flight()) {
    result.steps.push_back(compute_for(state, products));
    auto start = Clock::now();
    writer.secure();
    result.stall_s += since(start);
    state.update();
    start = Clock::now();
    writer.advance(writer.state());
    result.stall_s += since(start);
  }
  result.drain_s = since(begin);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fmt::print(stderr, "usage: checkpoint_bench DIR GIB PAIRS STEP_S [BUFFER_MIB]\n");
    return 2;
  }
  omp_set_num_threads(1);
  const fs::path dir = argv[1];
  const double gib = std::atof(argv[2]);
  const int pairs = std::atoi(argv[3]);
  const double step_s = std::atof(argv[4]);
  const std::int64_t buffer = (argc > 5 ? std::atoll(argv[5]) : 256) << 20;
  create_folder(dir);
  State state(static_cast<std::int64_t>(gib * (1 << 30)), buffer);
  LocalCommunicator comm;
  state.compute();
  const int products = std::max(1, static_cast<int>(step_s / (compute_for(state, 20) / 20)));

  std::vector<double> plains, waits, stalls, drains, quiet, beside, ratios, slow, rates;
  for (int pair = 0; pair < pairs; ++pair) {
    const double plain_s = plain(state, dir / "plain");
    CheckpointWriter writer(comm, state.copies());
    const auto start = Clock::now();
    writer.begin(dir, 2 * pair, state.content(), {});
    writer.finish();
    const double wait_s = since(start);
    fs::remove_all(dir / fmt::format("checkpoint-{}", 2 * pair));
    ::sync();
    const int some = std::max(1, products / 2);  // the machine alone
    const double quiet_s = compute_for(state, some) / some * products;
    state.update();
    const auto b = behind(state, writer, comm, dir, 2 * pair + 1, products);
    const auto folder = dir / fmt::format("checkpoint-{}", 2 * pair + 1);
    if (pair == 0 && !verify_checkpoint(folder).empty()) {
      fmt::print(stderr, "the checkpoint is not what was written\n");
      return 1;
    }
    fs::remove_all(folder);
    ::sync();
    double steps = 0.0;
    for (const double s : b.steps) steps += s / static_cast<double>(b.steps.size());
    fmt::print(
        "pair {}: plain {:.3f} s, waited {:.3f} s, behind: stall {:.4f} s, done after {:.3f} s; step {:.3f} s, beside "
        "it "
        "{:.3f} s ({} steps)\n",
        pair, plain_s, wait_s, b.stall_s, b.drain_s, quiet_s, steps, b.steps.size());
    plains.push_back(plain_s), waits.push_back(wait_s), stalls.push_back(b.stall_s), drains.push_back(b.drain_s);
    quiet.push_back(quiet_s), beside.push_back(steps);
    ratios.push_back(b.stall_s / wait_s), slow.push_back(steps / quiet_s - 1.0), rates.push_back(plain_s / wait_s);
  }
  const double mib = static_cast<double>(state.bytes()) / (1 << 20);
  fmt::print(
      "medians of {}: state {:.0f} MiB, plain {:.3f} s ({:.0f} MiB/s), waited {:.3f} s ({:.0f} MiB/s, {:.0f} % of "
      "plain), "
      "stall behind {:.4f} s ({:.1f} % of waited), step {:.3f} s, slowdown beside it {:+.1f} %\n",
      pairs, mib, median(plains), mib / median(plains), median(waits), mib / median(waits), 100 * median(rates),
      median(stalls), 100 * median(ratios), median(quiet), 100 * median(slow));
  return 0;
}
