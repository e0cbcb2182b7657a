// SPDX-License-Identifier: Apache-2.0
/// `dstrain hosts`: the ranks that a hostfile and its filters give, in the words of each launcher.
#include <fmt/core.h>

#include <array>
#include <cstdlib>
#include <optional>

#include "cluster/placement_formats.hpp"
#include "cluster/selection.hpp"
#include "commands/commands.hpp"
#include "commands/words.hpp"
#include "core/log.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kHostsHelp =
    "usage: dstrain hosts [--hostfile F] [--include SPEC | --exclude SPEC] [--num_nodes N] [--num_gpus G] [--format "
    "NAME]\n"
    "  --hostfile F   DeepSpeed's hostfile (default /job/hostfile; without one: this machine)\n"
    "  --include SPEC hosts and devices to take: worker-0@worker-1:0,2\n"
    "  --exclude SPEC hosts and devices to leave out\n"
    "  --num_nodes N  the first N hosts\n"
    "  --num_gpus G   devices 0 to G-1 of each host\n"
    "  --format NAME  openmpi (default), rankfile, slurm, hydra, json\n";

constexpr std::array<FlagSpec, 8> kHostsFlags = {{{"hostfile"},
                                                  {"include"},
                                                  {"exclude"},
                                                  {"num_nodes"},
                                                  {"num_gpus"},
                                                  {"num_accelerators"},
                                                  {"format"},
                                                  {"json", false}}};

std::optional<int> count(const ParsedWords& words, std::string_view flag) {
  if (!words.has(flag)) return std::nullopt;
  return static_cast<int>(words.integer_or(flag, 0));
}

}  // namespace

ExitCode hosts(const Words& words) {
  if (asks_for_help(words)) {
    fmt::print("{}", kHostsHelp);
    return ExitCode::good;
  }
  Words spelled = words;
  for (auto& word : spelled) {
    if (word == "-H") word = "--hostfile";
  }
  const ParsedWords parsed(spelled, kHostsFlags, {});
  SelectionFlags flags;
  flags.include = parsed.text("include").value_or("");
  flags.exclude = parsed.text("exclude").value_or("");
  flags.num_nodes = count(parsed, "num_nodes");
  flags.num_gpus = parsed.has("num_gpus") ? count(parsed, "num_gpus") : count(parsed, "num_accelerators");
  const auto format = parse_launcher_format(parsed.has("json") ? "json" : parsed.text("format").value_or("openmpi"));

  const auto named = parsed.text("hostfile");
  const auto file = read_hostfile(named ? std::optional<std::filesystem::path>(*named) : std::nullopt);
  Placement placement;
  if (file) {
    for (const auto& note : file->notes) log::warning("{}", note);
    placement = select_devices(file->hosts, flags);
  } else {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    placement = select_local(flags, visible != nullptr ? std::optional<std::string>(visible) : std::nullopt,
                             flags.num_gpus.value_or(1));
  }
  fmt::print("{}", format_placement(placement, format));
  return ExitCode::good;
}

}  // namespace dstrain::commands
