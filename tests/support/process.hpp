// SPDX-License-Identifier: Apache-2.0
/// Runs programs as a person would and keeps what they said.
#pragma once

#include <string>
#include <vector>

namespace dstrain::test {

struct ProcessResult {
  int exit_code = -1;
  std::string out;  ///< stdout
  std::string err;  ///< stderr
  double seconds = 0.0;
};

/// Runs `command` with bash and waits. `environment`: "NAME=value" entries on top of this process's.
ProcessResult run(const std::string& command, const std::vector<std::string>& environment = {});

/// "mpirun -np N " with what many ranks on a small machine need; N == 0: nothing (started directly).
std::string mpirun(int ranks);

/// A Python that can import `module`: $DSTRAIN_PYTHON, else python3 of the PATH or of the distribution; "" where none
/// can.
std::string python_with(const std::string& module);

/// `text` in single quotes for the shell.
std::string quoted(const std::string& text);

}  // namespace dstrain::test
