// SPDX-License-Identifier: Apache-2.0
#include "comm/launcher.hpp"

#include <unistd.h>

#include <charconv>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/error.hpp"

namespace dstrain {
namespace {

std::optional<int> number(const Environment& environment, const char* name) {
  const char* text = environment(name);
  if (text == nullptr) return std::nullopt;
  const std::string_view view(text);
  int value = 0;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  return error == std::errc{} && end == view.data() + view.size() && value >= 0 ? std::optional(value) : std::nullopt;
}

struct Dialect {
  const char* launcher;
  const char* rank;
  const char* world_size;
  const char* proof;  ///< a variable that must be there as well
  bool connects_mpi;
};

/// The first whose variables are all set counts: mpirun inside a Slurm job leaves Slurm's variables in place.
constexpr Dialect dialects[] = {
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", nullptr, true},
    {"PMI", "PMI_RANK", "PMI_SIZE", nullptr, true},
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID", false},
    {"torchrun", "RANK", "WORLD_SIZE", "MASTER_ADDR", false},
    {"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_ID", false},
};

}  // namespace

std::string host_name() {
  char host[HOST_NAME_MAX + 1] = {};
  gethostname(host, sizeof host - 1);
  return host;
}

LauncherVariables read_launcher_variables(const Environment& environment) {
  for (const auto& d : dialects) {
    const auto rank = number(environment, d.rank), size = number(environment, d.world_size);
    if (!rank || !size || (d.proof != nullptr && environment(d.proof) == nullptr)) continue;
    // PMIx serves any launcher that has it; srun without it sets its own variables alone.
    const bool pmix = environment("PMIX_RANK") != nullptr;
    return {.launcher = d.launcher, .rank = *rank, .world_size = *size, .connects_mpi = d.connects_mpi || pmix};
  }
  return {.launcher = {},
          .rank = number(environment, "PMIX_RANK").value_or(0),
          .world_size = 1,
          .connects_mpi = environment("PMIX_RANK") != nullptr};
}

LauncherVariables read_launcher_variables() {
  return read_launcher_variables([](const char* name) { return std::getenv(name); });
}

void refuse_lone_ranks(const LauncherVariables& launcher) {
  if (launcher.connects_mpi || launcher.world_size < 2) return;
  const bool srun = launcher.launcher == "srun";
  if (!srun && launcher.launcher != "torchrun") return;
  if (launcher.rank != 0) {
    // srun --kill-on-bad-exit ends everybody with the first to go: rank 0 must have spoken by then.
    std::this_thread::sleep_for(std::chrono::seconds(1));
    throw RefusedError("");
  }
  throw RefusedError(
      fmt::format("{} started {} processes that MPI cannot join: each would train alone", launcher.launcher,
                  launcher.world_size),
      {},
      srun ? "srun --mpi=pmix (`srun --mpi=list` shows what there is), or mpirun inside the allocation"
           : "start one process per node with `dstrain launch` and the same variables, or use mpirun or srun; RANK and "
             "WORLD_SIZE alone place no MPI ranks");
}

InitWatch::InitWatch(const LauncherVariables& launcher, double timeout_s)
    : thread_([this, launcher, timeout_s] { watch(launcher, timeout_s); }) {}

InitWatch::~InitWatch() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void InitWatch::watch(const LauncherVariables& launcher, double timeout_s) {
  // Container images and busy file systems delay some processes by minutes: that is worth a word, and no reason to end.
  constexpr double patience = 10;
  std::unique_lock lock(mutex_);
  const auto wait = [&](double seconds) {
    return wake_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return done_; });
  };
  if (wait(timeout_s)) return;
  const auto tag = fmt::format("{}@{}", launcher.rank, host_name());
  if (launcher.rank == 0) {
    const auto text = fmt::format(
        "warning: MPI_Init waits for {:.3g} s already ({}): not all {} processes have arrived\n"
        "  fix: look for dstrain on every host of the job (`dstrain doctor --hostfile F` asks each one)\n",
        timeout_s, tag, launcher.world_size);
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
  if (wait(timeout_s * (patience - 1) + (launcher.rank == 0 ? 0 : 2))) return;
  if (launcher.rank == 0) {
    const auto text = fmt::format("error: MPI_Init did not end in {:.3g} s ({})\n", timeout_s * patience, tag);
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
  std::fflush(nullptr);
  std::_Exit(static_cast<int>(ExitCode::refused));  // MPI is not up: there is nothing to abort with
}

}  // namespace dstrain
