// SPDX-License-Identifier: Apache-2.0
/// `dstrain doctor`: everything that can be known before a run, on all ranks of a job or on this host alone.
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "cluster/hostfile.hpp"
#include "cluster/preflight/preflight.hpp"
#include "cluster/preflight/rules_links.hpp"
#include "comm/bootstrap.hpp"
#include "comm/link_test.hpp"
#include "comm/mpi_communicator.hpp"
#include "commands/commands.hpp"
#include "commands/doctor_report.hpp"
#include "commands/words.hpp"
#include "config/resolve.hpp"
#include "core/device_runtime.hpp"
#include "core/system_memory.hpp"
#include "train/report.hpp"
#include "train/run_options.hpp"
#include "train/run_setup.hpp"
#include "train/start_checks.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kDoctorHelp =
    "usage: [mpirun ... | srun --mpi=pmix | dstrain launch ...] dstrain doctor [cfg.yaml [key=value ...]] [flags]\n"
    "Looks at hosts, network, devices, limits and clocks, and measures the links between hosts, pair by pair. With a\n"
    "configuration also at memory, disk and folders against its plan. Exit code 0 good, 3 where a run would fail.\n"
    "  --hostfile F  asks every host of DeepSpeed's hostfile by ssh, from this host or rank 0\n"
    "  --ssh CMD     the ssh to ask with (default: $OMPI_MCA_plm_rsh_agent, else ssh)\n"
    "  --no_links    leaves the measurements out\n"
    "  --json        for programs\n";

/// The words of doctor itself; the rest is a configuration.
struct DoctorFlags {
  std::optional<std::string> hostfile;
  std::string ssh;
  bool links = true;
  bool json = false;
  Words configuration;
};

DoctorFlags parse(const Words& words) {
  DoctorFlags flags;
  const char* agent = std::getenv("OMPI_MCA_plm_rsh_agent");
  flags.ssh = agent != nullptr ? agent : "ssh";
  const auto value = [&](std::size_t& i, const std::string& name) {
    const auto equals = words[i].find('=');
    if (equals != std::string::npos) return words[i].substr(equals + 1);
    if (i + 1 == words.size()) throw ConfigError(name + " needs a value", "command line");
    return words[++i];
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto name = words[i].substr(0, words[i].find('='));
    if (name == "--hostfile" || name == "-H") {
      flags.hostfile = value(i, name);
    } else if (name == "--ssh") {
      flags.ssh = value(i, name);
    } else if (name == "--no_links" || name == "--no-links") {
      flags.links = false;
    } else if (name == "--json") {
      flags.json = true;
    } else {
      flags.configuration.push_back(words[i]);
    }
  }
  return flags;
}

void ask_by_ssh(const DoctorFlags& flags, DoctorReport& report) {
  if (!flags.hostfile) return;
  const auto file = read_hostfile(std::filesystem::path(*flags.hostfile));
  std::vector<std::string> names;
  for (const auto& host : file->hosts) names.push_back(host.name);
  report.ssh = ask_hosts(names, flags.ssh);
}

/// Memory, disk and folders against the plan of a configuration. Collective; findings on rank 0.
void check_plan(Communicator& comm, const Topology& topology, const Words& words, Findings& findings) {
  const auto text = on_rank0(comm, "read the configuration", [&] {
    const auto resolved =
        resolve_config(words, FileAccess::local(), {.world_size = topology.world_size, .inputs_must_exist = true});
    check_run(resolved.config, topology.world_size);
    return serialize(resolved.config);
  });
  auto config = deserialize(text);
  if (config.dataset.empty() && config.eval_dataset.empty()) config.dataset = {"synthetic"};
  const auto setup = setup_run(comm, config, /*read_data=*/false);
  const auto options = engine_options(config, setup, topology.world_size, topology.default_threads);
  const auto plan = Engine::plan(setup.spec, options, topology.world_size);
  std::int64_t planned = 0;
  for (int kind = 0; kind < memory_kinds; ++kind) planned += plan.arena_bytes(static_cast<MemoryKind>(kind));
  std::string problem;
  if (topology.local_rank == 0) {
    try {
      refuse_if_too_large(options, setup.spec, topology.world_size, topology.local_size, planned,
                          available_host_bytes());
    } catch (const RefusedError& error) {
      problem = fmt::format("{}\n{}", error.what(), error.hint());
    }
  }
  const auto problems = all_gather_strings(comm, problem);
  on_all_ranks(comm, "prepare the output folder", [&] {
    std::error_code none;
    if (comm.rank() == 0) std::filesystem::create_directories(config.output_dir, none);
  });
  const auto trained = trained_parameters(setup.spec, options.tuning);
  auto output =
      check_output(comm, topology,
                   {.folder = config.output_dir,
                    .bytes = checkpoint_bytes(plan, trained, config.zero_stage, comm.size(), config.save_only_model),
                    .every_host_writes = config.save_strategy != "no" && config.checkpoint_writers != "single"});
  if (comm.rank() != 0) return;
  for (std::size_t r = 0; r < problems.size(); ++r) {
    const auto line = problems[r].find('\n');
    if (line == std::string::npos) continue;
    findings.push_back(
        {Severity::error, "memory", problems[r].substr(0, line), topology.hosts[r], problems[r].substr(line + 1)});
  }
  findings.insert(findings.end(), output.begin(), output.end());
}

/// The GPU that a run would give this rank, or "cpu". Ranks that would share one are told so by the rules.
std::string device_of(const Topology& topology) {
  DeviceRuntime* runtime = device_runtime();
  const int count = runtime == nullptr ? 0 : runtime->count();
  if (count == 0) return "cpu";
  const auto choice =
      choose_device(DeviceWish::automatic, topology.local_rank, topology.local_size, count, {}, /*oversubscribe=*/true);
  return choice.device.kind == DeviceKind::cuda ? runtime->identity(choice.device.index) : "cpu";
}

ExitCode examine(MpiSession& session, const DoctorFlags& flags) {
  constexpr double patience_s = 120;
  auto world = make_world_communicator();
  world->set_timeout(patience_s);
  const auto& topology = session.topology();
  DoctorReport report;
  report.job = gather_job_facts(
      *world, gather_facts(topology, device_of(topology), topology.default_threads, {.gpus = true, .digest = true}));
  if (flags.links && topology.node_count > 1) report.links = measure_links(topology);
  const bool on_gpus =
      std::any_of(report.job.begin(), report.job.end(), [](const auto& r) { return r.device != "cpu"; });
  report.findings = check_all(
      report.job, {.uses_nccl = on_gpus,
                   .shared_memory_bytes = fixed_communicator_bytes({}, topology.world_size, topology.local_size),
                   .device_bytes = 0});
  const auto slow = check_links(report.job, report.links);
  report.findings.insert(report.findings.end(), slow.begin(), slow.end());
  if (!flags.configuration.empty()) check_plan(*world, topology, flags.configuration, report.findings);
  on_all_ranks(*world, "ask the hosts", [&] {
    if (session.rank() == 0) ask_by_ssh(flags, report);
  });
  const auto silent = check_ssh(report.ssh);
  report.findings.insert(report.findings.end(), silent.begin(), silent.end());
  if (session.rank() == 0) fmt::print("{}", flags.json ? doctor_json(report) : doctor_text(report));
  const bool bad = std::any_of(report.findings.begin(), report.findings.end(),
                               [](const auto& f) { return f.severity == Severity::error; });
  world->close();
  return bad ? ExitCode::refused : ExitCode::good;
}

}  // namespace

ExitCode doctor(const Words& words) {
  if (asks_for_help(words)) {
    fmt::print("{}", kDoctorHelp);
    return ExitCode::good;
  }
  const auto flags = parse(words);
  return static_cast<ExitCode>(spmd_main(0, nullptr, [&](MpiSession& session) { return examine(session, flags); }));
}

}  // namespace dstrain::commands
