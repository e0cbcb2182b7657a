// SPDX-License-Identifier: Apache-2.0
/// `dstrain train` (and `dstrain cfg.yaml`): one run, on every rank that the launcher placed.
#include <fmt/core.h>
#include <omp.h>

#include <algorithm>

#include "cluster/bind_rank.hpp"
#include "cluster/preflight/preflight.hpp"
#include "comm/bootstrap.hpp"
#include "comm/mesh.hpp"
#include "comm/mpi_communicator.hpp"
#include "commands/job.hpp"
#include "commands/words.hpp"
#include "config/describe.hpp"
#include "config/resolve.hpp"
#include "train/device_setup.hpp"
#include "train/run_options.hpp"
#include "train/run_setup.hpp"
#include "train/stop_signal.hpp"
#include "train/trainer.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kTrainHelp =
    "usage: mpirun -np N dstrain cfg.yaml [key=value ...]\n"
    "       mpirun -np N dstrain train --stage sft --model_name_or_path MODEL ... (the same keys as flags)\n"
    "Fine-tunes as the configuration says. Only rank 0 reads configuration, model and data. `dstrain config --explain "
    "KEY` says\n"
    "what a key means, `dstrain plan` what a run needs.\n";

ExitCode run(MpiSession& session, const Words& words) {
  auto world = make_world_communicator();
  ResolvedConfig resolved;  // rank 0
  const auto text = on_rank0(*world, "read the configuration", [&] {
    resolved = resolve_config(words, FileAccess::local(), {.world_size = session.size(), .inputs_must_exist = true});
    check_run(resolved.config, session.size());
    return serialize(resolved.config);
  });
  const RunConfig config = deserialize(text);
  if (!runs_training(config)) StopSignal::let_go();  // nothing to keep
  const DeviceChoice device = choose_run_device(*world, session.topology(), config);
  world = communicator_for(std::move(world), device, static_cast<double>(config.ddp_timeout),
                           session.topology().node_of_rank);
  const Mesh mesh(
      *world,
      {.pp = config.pipeline_parallel_size, .cp = config.context_parallel_size, .tp = config.tensor_parallel_size});
  world->set_timeout(static_cast<double>(config.ddp_timeout));
  Topology topology = session.topology();
  bind_rank(topology, config.cpu_binding, runs_on_gpus(config.device));
  const int threads = config.threads.value_or(topology.default_threads);
  const bool on_gpu = device.device.kind == DeviceKind::cuda;
  preflight(*world, topology, on_gpu ? require_device_runtime().identity(device.device.index) : "cpu", threads,
            {.uses_nccl = on_gpu, .shares_gpus = device.shared}, {.gpus = on_gpu});
  omp_set_num_threads(threads);
  const auto outcome = dstrain::train({.comm = mesh.sharding_group(),
                                       .topology = topology,
                                       .config = config,
                                       .resolved_yaml = session.rank() == 0 ? resolved.to_yaml() : std::string(),
                                       .notes = resolved.notes,
                                       .device = device.device});
  world->close();
  return outcome;
}

}  // namespace

ExitCode train(const Words& words) {
  if (words.empty() || asks_for_help(words)) {
    fmt::print("{}{}", kTrainHelp, words.empty() ? "" : keys_help());
    return words.empty() ? ExitCode::usage : ExitCode::good;
  }
  return run_job(words);
}

ExitCode run_job(const Words& words) {
  static const StopSignal signals;  // to the very end of the process
  return static_cast<ExitCode>(spmd_main(0, nullptr, [&](MpiSession& session) { return run(session, words); }));
}

}  // namespace dstrain::commands
