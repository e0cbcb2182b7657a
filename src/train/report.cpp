// SPDX-License-Identifier: Apache-2.0
#include "train/report.hpp"

#include <fmt/format.h>

#include <functional>

#include "comm/threads.hpp"
#include "core/device_runtime.hpp"
#include "core/error.hpp"
#include "core/memory_plan.hpp"
#include "core/system_memory.hpp"
#include "train/machine.hpp"
#include "train/run_options.hpp"

namespace dstrain {

namespace {

std::string count_text(std::int64_t n) {
  if (n >= 10'000'000'000) return fmt::format("{:.1f} B", static_cast<double>(n) * 1e-9);
  if (n >= 1'000'000) return fmt::format("{:.2f} M", static_cast<double>(n) * 1e-6);
  if (n >= 10'000) return fmt::format("{:.1f} K", static_cast<double>(n) * 1e-3);
  return fmt::format("{}", n);
}

/// 13,828,096
std::string with_commas(std::int64_t n) {
  std::string text = fmt::format("{}", n);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

/// Arena bytes of a rank with some options changed: what the hints of a refusal quote.
std::int64_t bytes_with(const ModelSpec& spec, EngineOptions options, int ranks) {
  const auto plan = Engine::plan(spec, options, ranks);
  std::int64_t bytes = 0;
  for (int kind = 0; kind < memory_kinds; ++kind) bytes += plan.arena_bytes(static_cast<MemoryKind>(kind));
  return bytes;
}

std::string trained_text(const StartReport& r) {
  const Tuning& tuning = r.options.tuning;
  const auto counts = count_parameters(r.setup.spec, r.layout, tuning);
  std::string text = fmt::format("trainable params: {} || all params: {} || trainable%: {:.4f}",
                                 with_commas(counts.trainable), with_commas(counts.all),
                                 100.0 * static_cast<double>(counts.trainable) / static_cast<double>(counts.all));
  if (tuning.kind == TuningKind::freeze) return text;
  const AdapterConfig& a = tuning.adapter;
  text += fmt::format("; {} of rank {}, alpha {}{}{}", a.use_dora ? "DoRA" : "LoRA", a.r, a.lora_alpha,
                      a.use_rslora ? ", rank-stabilised" : "", a.starts_from_pissa() ? ", from PiSSA" : "");
  return text;
}

/// Rank 0's cores, and who chose them; then ranks that stand on each other's feet.
std::string cores_text(const Topology& t) {
  const auto own = static_cast<int>(t.cores.size());
  const char* launcher = own < t.cores_of_node ? "bound by the launcher or the system" : "not bound";
  std::string text = fmt::format("rank 0 of {}: {} of {} ({})", t.hosts[0], ranges_text(t.cores), t.cores_of_node,
                                 t.bound_to.empty() ? launcher : t.bound_to + ", by cpu_binding");
  constexpr int most_named = 4;
  int crowded = 0;
  for (int r = 0; r < t.world_size && !t.bound_with.empty(); ++r) {
    const int other = t.bound_with[static_cast<std::size_t>(r)];
    if (other < 0 || (other < r && t.bound_with[static_cast<std::size_t>(other)] == r)) continue;  // none, or said
    if (crowded++ < most_named)
      text += fmt::format("\n  warning: ranks {} and {} of {} are bound to the same core", r, other,
                          t.hosts[static_cast<std::size_t>(r)]);
  }
  if (crowded > most_named) text += fmt::format(", and {} more pairs", crowded - most_named);
  if (crowded > 0) text += "\n  hint: start with mpirun --bind-to none, or give each rank cores of its own";
  // mpirun binds two ranks to one core each, whatever the machine has.
  if (crowded == 0 && t.bound_to.empty() && 2 * own * t.local_size <= t.cores_of_launcher)
    text += fmt::format(
        "\n  warning: the launcher bound rank 0 to {} of the {} cores that it has itself; mpirun --bind-to none "
        "lets the ranks share them all",
        own, t.cores_of_launcher);
  return text;
}

using Line = std::function<void(const char* name, const std::string& value)>;

void add_training(const StartReport& r, const Line& line) {
  const auto& c = r.config;
  const int ranks = r.topology.world_size;
  const int slots = virtual_ranks(c, ranks) * c.gradient_accumulation_steps;
  const auto& data = r.setup.feeder->info();
  line("dataset",
       fmt::format("{} rows, {} tokens, longest row {} (cutoff_len {}){}", data.rows, count_text(data.tokens),
                   data.max_row_tokens, c.cutoff_len, r.setup.data_note.empty() ? "" : "; " + r.setup.data_note));
  line("batch",
       fmt::format("{} rows = {} per rank x {} ranks{} x {} accumulation",
                   static_cast<std::int64_t>(c.per_device_train_batch_size) * slots, c.per_device_train_batch_size,
                   virtual_ranks(c, ranks), c.virtual_ranks ? " (virtual_ranks)" : "", c.gradient_accumulation_steps));
  line("steps",
       fmt::format("{} in all, {} per epoch, {} of warm-up, {} schedule, learning rate {}", r.total_steps,
                   r.steps_per_epoch, r.warmup_steps,
                   c.deepspeed_scheduler ? c.deepspeed_scheduler->type : c.lr_scheduler_type, c.learning_rate));
}

}  // namespace

std::string start_report(const StartReport& r) {
  const auto& c = r.config;
  const auto& spec = r.setup.spec;
  const int ranks = r.topology.world_size;
  std::string text;
  const Line line = [&text](const char* name, const std::string& value) {
    text += fmt::format("  {:<12} {}\n", name, value);
  };
  line("ranks", fmt::format("{} on {} host{}, {} thread{} each{}", ranks, r.topology.node_count,
                            r.topology.node_count == 1 ? "" : "s", r.options.threads, r.options.threads == 1 ? "" : "s",
                            fmt::format(" ({})", c.threads ? "threads" : r.topology.threads_from)));
  line("cores", cores_text(r.topology));
  line("model", fmt::format("{}: {} {}, {} layers, {} parameters, {}", c.model_name_or_path, spec.model_type,
                            r.setup.has_weights && !c.train_from_scratch ? "weights loaded" : "random weights",
                            spec.num_hidden_layers, count_text(r.layout.parameters),
                            c.fp16        ? "fp16 with fp32 master weights"
                            : c.pure_bf16 ? "pure bf16"
                            : c.bf16      ? "bf16 with fp32 master weights"
                                          : "fp32"));
  if (r.options.tuning.kind != TuningKind::full) line("trained", trained_text(r));
  line("stage", fmt::format("{}, ZeRO {}, gradient checkpointing {}{}", c.stage, c.zero_stage,
                            r.options.gradient_checkpointing ? "on" : "off", c.reproducible ? ", reproducible" : ""));
  for (const auto& source : r.setup.eval_sources) {
    if (!source.feeder) continue;
    const auto& info = source.feeder->info();
    line("evaluation", fmt::format("{}{} rows, {} tokens, batches of {}", source.name.empty() ? "" : source.name + ": ",
                                   info.rows, count_text(info.tokens), c.per_device_eval_batch_size));
  }
  if (r.setup.feeder) add_training(r, line);
  line("memory", fmt::format("{} planned + about {} runtime floor per rank", format_bytes(r.planned_bytes),
                             format_bytes(runtime_floor_bytes(ranks, r.topology.local_size, r.options.device.kind))));
  if (r.options.device.kind == DeviceKind::cuda)
    line("device",
         fmt::format("GPU {}: {}", r.options.device.index, require_device_runtime().describe(r.options.device.index)));
  line("matrix peak", fmt::format("{:.1f} GFLOP/s measured, all ranks (MFU is a share of it)", r.matrix_peak * 1e-9));
  line("output", c.output_dir);
  return text;
}

void refuse_if_too_large(const EngineOptions& options, const ModelSpec& spec, int ranks, int ranks_on_node,
                         std::int64_t planned_bytes, std::int64_t available) {
  const std::int64_t floor = runtime_floor_bytes(ranks, ranks_on_node, options.device.kind);
  const std::int64_t wanted = (planned_bytes + floor) * ranks_on_node;
  if (wanted <= available) return;
  std::string hint;
  const auto suggest = [&](const std::string& change, const EngineOptions& changed) {
    const auto bytes = (bytes_with(spec, changed, ranks) + floor) * ranks_on_node;
    if (bytes <= available) hint += fmt::format("{}{} needs {}", hint.empty() ? "" : "; ", change, format_bytes(bytes));
  };
  if (ranks > 1 && options.zero_stage < 3) {
    auto changed = options;
    changed.zero_stage = 3;
    suggest("zero_stage: 3", changed);
  }
  if (!options.gradient_checkpointing) {
    auto changed = options;
    changed.gradient_checkpointing = true;
    suggest("gradient checkpointing", changed);
  }
  auto smaller = options;
  smaller.max_tokens = std::max<std::int64_t>(1, options.max_tokens / 2);
  suggest("half the per_device_train_batch_size", smaller);
  throw RefusedError(
      fmt::format("the run needs {} of memory on this node ({} ranks x {} planned + {} runtime floor), {} are free",
                  format_bytes(wanted), ranks_on_node, format_bytes(planned_bytes), format_bytes(floor),
                  format_bytes(available)),
      {}, hint.empty() ? "use more nodes, or a smaller model, batch or cutoff_len" : hint);
}

}  // namespace dstrain
