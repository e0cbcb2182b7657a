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
#include "config/resolve.hpp"
#include "core/log.hpp"
#include "core/memory_plan.hpp"
#include "core/parallel.hpp"
#include "train/machine.hpp"
#include "train/run_options.hpp"
#include "train/run_setup.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kHelp =
    "usage: dstrain plan cfg.yaml [key=value ...] [--ranks N] [--ranks_per_node M] [--json]\n"
    "Prints every buffer of one rank. The model may be a folder, a config.json or preset:<name>. Where the data can be "
    "read, the\n"
    "largest micro-batch is taken from it (as training does), else every row is taken to be cutoff_len long.\n";

struct PlanWords {
  int ranks = 1;
  int ranks_per_node = 0;  ///< 0: all
  bool json = false;
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

PlanWords split(const Words& words) {
  PlanWords out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto equals = words[i].find('=');
    const auto name = words[i].substr(0, equals);
    if (name == "--json") {
      out.json = true;
    } else if (name == "--ranks" || name == "--ranks_per_node") {
      if (equals == std::string::npos && i + 1 == words.size())
        throw ConfigError(name + " needs a number", "command line");
      const auto value = equals == std::string::npos ? words[++i] : words[i].substr(equals + 1);
      (name == "--ranks" ? out.ranks : out.ranks_per_node) = to_count(name, value);
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

}  // namespace

ExitCode plan(const Words& words) {
  if (asks_for_help(words)) {
    fmt::print("{}", kHelp);
    return ExitCode::good;
  }
  const auto flags = split(words);
  const auto resolved =
      resolve_config(flags.rest, FileAccess::local(), {.world_size = flags.ranks, .inputs_must_exist = true});
  const auto& config = resolved.config;
  check_run(config, flags.ranks);
  PlanFacts facts;
  const bool read_data = has_data(config);
  facts.max_tokens_from = read_data ? "dataset" : "cutoff_len";
  PlanCommunicator comm(0, flags.ranks);
  const auto setup = setup_run(comm, config, read_data);
  const int threads = std::max(1, max_threads() / flags.ranks_per_node);
  const auto options = engine_options(config, setup, flags.ranks, threads);
  omp_set_num_threads(options.threads);  // kernels plan their workspace for the threads they will have
  const auto memory = Engine::plan(setup.spec, options, flags.ranks);
  facts.model = config.model_name_or_path;
  facts.parameters = make_layout(setup.spec).parameters;
  facts.ranks = flags.ranks;
  facts.ranks_per_node = flags.ranks_per_node;
  facts.zero_stage = config.zero_stage;
  facts.dtype = name_of(options.dtype);
  facts.gradient_checkpointing = options.gradient_checkpointing;
  facts.max_tokens = token_class(options.max_tokens);
  facts.runtime_floor_bytes = runtime_floor_bytes(flags.ranks, flags.ranks_per_node);
  const auto text = flags.json ? memory_json({&memory}, facts) + "\n" : memory_table({&memory}, facts);
  fmt::print("{}", text);
  return ExitCode::good;
}

}  // namespace dstrain::commands
