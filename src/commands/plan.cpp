// SPDX-License-Identifier: Apache-2.0
/// `dstrain plan`: what each rank of a run will allocate, for any number of ranks, in one process.
#include "plan/memory_report.hpp"

#include <fmt/core.h>
#include <omp.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "comm/plan_communicator.hpp"
#include "commands/commands.hpp"
#include "commands/words.hpp"
#include "config/describe.hpp"
#include "config/resolve.hpp"
#include "core/log.hpp"
#include "core/memory_plan.hpp"
#include "core/parallel.hpp"
#include "plan/deepspeed_estimator.hpp"
#include "train/machine.hpp"
#include "train/run_options.hpp"
#include "train/run_setup.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kPlanHelp =
    "usage: dstrain plan cfg.yaml [key=value ...] [--ranks N] [--ranks_per_node M] [--json]\n"
    "       dstrain plan --deepspeed-table cfg.yaml [--ranks N] [--ranks_per_node M]   DeepSpeed's estimate beside "
    "ours\n"
    "       dstrain plan --deepspeed-table --total_params N --largest_layer_params N [--num_nodes N] "
    "[--num_gpus_per_node N]\n"
    "                    [--additional_buffer_factor F]                                DeepSpeed's estimate alone\n"
    "Prints every buffer of one rank. The model may be a folder, a config.json or preset:<name>. Where the data can be "
    "read, the\n"
    "largest micro-batch is taken from it (as training does), else every row is taken to be cutoff_len long.\n";

struct PlanWords {
  int ranks = 1;
  int ranks_per_node = 0;  ///< 0: all
  bool json = false;
  bool deepspeed_table = false;
  EstimatorInput estimate;  ///< without a configuration: what the flags say
  Words rest;
};

int to_count(const std::string& flag, const std::string& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1) {
    throw ConfigError(fmt::format("{} needs a whole number from 1 on, not \"{}\"", flag, text), "command line");
  }
  return value;
}

double to_factor(const std::string& flag, const std::string& text) {
  const auto number = to_number(ConfigValue::scalar(text));
  if (!number || !(*number > 0 && *number <= 1000)) {
    throw ConfigError(fmt::format("{} needs a number above 0, not \"{}\"", flag, text), "command line");
  }
  return *number;
}

std::int64_t to_params(const std::string& flag, const std::string& text) {
  const auto number = to_integer(ConfigValue::scalar(text));  // also 7e9
  if (!number || *number < 1 || *number > 1'000'000'000'000'000) {
    throw ConfigError(fmt::format("{} needs a number of parameters, not \"{}\"", flag, text), "command line");
  }
  return *number;
}

/// Takes a flag with a number into `out`; false where the flag is another.
bool take_number(const std::string& name, const std::string& value, PlanWords& out) {
  if (name == "--ranks") {
    out.ranks = to_count(name, value);
  } else if (name == "--ranks_per_node") {
    out.ranks_per_node = to_count(name, value);
  } else if (name == "--num_nodes") {
    out.estimate.num_nodes = to_count(name, value);
  } else if (name == "--num_gpus_per_node") {
    out.estimate.num_gpus_per_node = to_count(name, value);
  } else if (name == "--total_params") {
    out.estimate.total_params = to_params(name, value);
  } else if (name == "--largest_layer_params") {
    out.estimate.largest_layer_params = to_params(name, value);
  } else if (name == "--additional_buffer_factor") {
    out.estimate.additional_buffer_factor = to_factor(name, value);
  } else {
    return false;
  }
  return true;
}

bool takes_number(const std::string& name) {
  PlanWords ignored;
  return take_number(name, "1", ignored);
}

PlanWords split(const Words& words) {
  PlanWords out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto equals = words[i].find('=');
    const auto name = words[i].substr(0, equals);
    if (name == "--json") {
      out.json = true;
    } else if (name == "--deepspeed-table" || name == "--deepspeed_table") {
      out.deepspeed_table = true;
    } else if (takes_number(name)) {
      if (equals == std::string::npos && i + 1 == words.size())
        throw ConfigError(name + " needs a number", "command line");
      take_number(name, equals == std::string::npos ? words[++i] : words[i].substr(equals + 1), out);
    } else {
      out.rest.push_back(words[i]);
    }
  }
  if (out.ranks_per_node == 0 || out.ranks_per_node > out.ranks) out.ranks_per_node = out.ranks;
  return out;
}

/// Whether the data can be read: a preset or a config.json alone has no tokenizer.
bool has_data(const RunConfig& config) {
  if (config.dataset == std::vector<std::string>{"synthetic"}) return true;
  return !config.dataset.empty() && std::filesystem::is_directory(config.model_name_or_path);
}

std::string estimate_of(const EstimatorInput& input) {
  return estimator_table_zero2(input) + estimator_table_zero3(input);
}

/// DeepSpeed's estimate for a model, and what each stage takes here, to the byte.
std::string comparison(const PlanWords& flags, const ModelSpec& spec, EngineOptions options) {
  auto input = estimator_input(make_layout(spec));
  input.num_gpus_per_node = flags.ranks_per_node;
  input.num_nodes = (flags.ranks + flags.ranks_per_node - 1) / flags.ranks_per_node;
  input.additional_buffer_factor = flags.estimate.additional_buffer_factor;
  auto text = estimate_of(input);
  text += fmt::format(
      "\ndstrain ({} ranks, {} per node, {}, up to {} tokens in a micro-batch; activations, buckets and libraries "
      "included):\n   per node |  per rank |   Options\n",
      flags.ranks, flags.ranks_per_node, name_of(options.dtype), token_class(options.max_tokens));
  const auto floor = runtime_floor_bytes(flags.ranks, flags.ranks_per_node, options.device.kind);
  for (int stage = 0; stage <= 3; ++stage) {
    options.zero_stage = stage;
    const auto memory = Engine::plan(spec, options, flags.ranks);
    std::int64_t bytes = floor;
    for (int kind = 0; kind < memory_kinds; ++kind) bytes += memory.arena_bytes(static_cast<MemoryKind>(kind));
    constexpr double kGiB = 1073741824.0;
    text +=
        fmt::format(" {:8.2f}GB | {:7.2f}GB | zero_stage={}\n",
                    static_cast<double>(bytes) * flags.ranks_per_node / kGiB, static_cast<double>(bytes) / kGiB, stage);
  }
  return text;
}

}  // namespace

ExitCode plan(const Words& words) {
  if (asks_for_help(words)) {
    fmt::print("{}{}", kPlanHelp, keys_help());
    return ExitCode::good;
  }
  const auto flags = split(words);
  if (flags.deepspeed_table && flags.rest.empty()) {
    if (flags.estimate.total_params == 0 || flags.estimate.largest_layer_params == 0) {
      throw ConfigError("--deepspeed-table needs a configuration, or --total_params and --largest_layer_params",
                        "command line");
    }
    fmt::print("{}", estimate_of(flags.estimate));
    return ExitCode::good;
  }
  const auto resolved =
      resolve_config(flags.rest, FileAccess::local(), {.world_size = flags.ranks, .inputs_must_exist = true});
  auto config = resolved.config;
  check_run(config, flags.ranks);
  PlanFacts facts;
  const bool read_data = has_data(config);
  // No data is named: a training run on rows of cutoff_len is what there is to plan.
  if (config.dataset.empty() && config.eval_dataset.empty()) config.dataset = {"synthetic"};
  facts.max_tokens_from = read_data ? "dataset" : "cutoff_len";
  PlanCommunicator comm(0, flags.ranks);
  const auto setup = setup_run(comm, config, read_data);
  const int threads = std::max(1, max_threads() / flags.ranks_per_node);
  auto options = engine_options(config, setup, flags.ranks, threads);
  if (config.device == "cuda") options.device.kind = DeviceKind::cuda;
  omp_set_num_threads(options.threads);  // kernels plan their workspace for the threads they will have
  if (flags.deepspeed_table) {
    fmt::print("{}", comparison(flags, setup.spec, options));
    return ExitCode::good;
  }
  const auto memory = Engine::plan(setup.spec, options, flags.ranks);
  facts.model = config.model_name_or_path;
  facts.parameters = make_layout(setup.spec).parameters;
  facts.ranks = flags.ranks;
  facts.ranks_per_node = flags.ranks_per_node;
  facts.zero_stage = config.zero_stage;
  facts.dtype = name_of(options.dtype);
  facts.gradient_checkpointing = options.gradient_checkpointing;
  facts.max_tokens = token_class(options.max_tokens);
  facts.runtime_floor_bytes = runtime_floor_bytes(flags.ranks, flags.ranks_per_node, options.device.kind);
  const auto text = flags.json ? memory_json({&memory}, facts) + "\n" : memory_table({&memory}, facts);
  fmt::print("{}", text);
  return ExitCode::good;
}

}  // namespace dstrain::commands
