// SPDX-License-Identifier: Apache-2.0
/// The command lines inside simple shell scripts: as much of a shell as launch scripts of the field need.
#pragma once

#include <string>
#include <vector>

namespace dstrain::test {

/// The words of every command that starts a launcher (deepspeed, accelerate, torchrun, python, llamafactory-cli), with
/// the script's own variables filled in. What only a machine could tell ($(...), unset variables) stays a word.
std::vector<std::vector<std::string>> launch_commands(const std::string& script);

}  // namespace dstrain::test
