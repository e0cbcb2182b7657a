// SPDX-License-Identifier: Apache-2.0
/// The commands of the binary: one function each, one file each, one table.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

namespace dstrain::commands {

/// The words after the command's own name.
using Words = std::vector<std::string>;

/// Each returns the exit code of the process; what is wrong is thrown as dstrain::Error and printed by main. `--help`
/// is theirs.
ExitCode config(const Words& words);
ExitCode data(const Words& words);
ExitCode inspect(const Words& words);
ExitCode plan(const Words& words);
ExitCode plot(const Words& words);
ExitCode compare(const Words& words);
ExitCode export_model(const Words& words);
ExitCode generate(const Words& words);
ExitCode hosts(const Words& words);

/// Starts ranks, on every node where there is neither ssh nor a scheduler; prints its own errors.
ExitCode launch(const Words& words);
/// For mpirun and for the ranks of other programs; not shown to people.
ExitCode launch_agent(const Words& words);
ExitCode launch_rank(const Words& words);

/// Runs on every rank: starts and ends MPI itself (spmd_main).
ExitCode train(const Words& words);
ExitCode eval(const Words& words);
ExitCode bench(const Words& words);
ExitCode doctor(const Words& words);

/// One row of the registry.
struct Command {
  std::string_view name;
  std::string_view summary;  ///< one line of `dstrain --help`; empty: not for people
  ExitCode (*run)(const Words& words);
  bool collective = false;  ///< in every process; the others run in the first process alone, without MPI
  bool is_job = false;      ///< the ranks of a run: what `launch` starts
};

/// In the order of `dstrain --help`.
std::span<const Command> all();

/// The command of that name, or nullptr.
const Command* find(std::string_view name);

}  // namespace dstrain::commands
