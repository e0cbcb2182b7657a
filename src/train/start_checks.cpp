// SPDX-License-Identifier: Apache-2.0
#include "train/start_checks.hpp"

namespace dstrain {

std::int64_t trained_parameters(const ModelSpec& spec, const Tuning& tuning) {
  const ModelSpec tuned = tuned_spec(spec, tuning);
  return count_parameters(tuned, make_tuned_layout(tuned, tuning), tuning).trainable;
}

std::int64_t checkpoint_bytes(const MemoryPlan& plan, std::int64_t trained_parameters, int zero_stage, int ranks,
                              bool save_only_model) {
  constexpr std::int64_t f32_bytes = 4;
  std::int64_t states = 0;
  for (const auto& buffer : plan.buffers()) {
    // States live all the time, the optimizer's scratch for its phase; masters are the parameters themselves.
    if (!buffer.name.starts_with("optimizer/") || buffer.name == "optimizer/master_weights") continue;
    if (buffer.phases == phase_always) states += buffer.bytes();
  }
  return trained_parameters * f32_bytes + (save_only_model ? 0 : states * (zero_stage == 0 ? 1 : ranks));
}

void check_output_dir(Communicator& comm, const Topology& topology, const RunConfig& config, const MemoryPlan& plan,
                      std::int64_t trained_parameters) {
  if (config.save_strategy == "no") return;
  const auto bytes = checkpoint_bytes(plan, trained_parameters, config.zero_stage, comm.size(), config.save_only_model);
  const auto findings = check_output(
      comm, topology,
      {.folder = config.output_dir, .bytes = bytes, .every_host_writes = config.checkpoint_writers != "single"});
  on_all_ranks(comm, "preflight", [&] {
    if (comm.rank() == 0) report_findings(findings);
  });
}

}  // namespace dstrain
