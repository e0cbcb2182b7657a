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

/// Runs on every rank: starts and ends MPI itself (spmd_main).
ExitCode train(const Words& words);
ExitCode eval(const Words& words);

/// One row of the registry.
struct Command {
  std::string_view name;
  std::string_view summary;  ///< one line of `dstrain --help`
  ExitCode (*run)(const Words& words);
  bool collective = false;  ///< on every rank; the others run on the first process alone, without MPI
};

/// In the order of `dstrain --help`.
std::span<const Command> all();

/// The command of that name, or nullptr.
const Command* find(std::string_view name);

}  // namespace dstrain::commands
