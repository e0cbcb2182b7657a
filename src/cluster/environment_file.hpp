// SPDX-License-Identifier: Apache-2.0
/// `.deepspeed_env`: variables that every rank gets, and which of the caller's own go with them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dstrain {

using EnvironmentVariable = std::pair<std::string, std::string>;

struct EnvironmentFile {
  std::vector<EnvironmentVariable> variables;  ///< in order; a name stands once, with its last value
  std::vector<std::string> notes;
};

/// KEY=VALUE lines. Blank lines, # comments, a leading `export` and quotes around the value are taken as a shell takes
/// them (DeepSpeed crashes on the first two and passes quotes on); a comment behind a value, which DeepSpeed makes part
/// of the value, is cut off with a note. Local.
/// @throws ConfigError  every bad line with file:line
EnvironmentFile parse_environment_file(std::string_view text, const std::string& where);

/// The files DeepSpeed reads, in its order, later ones winning: $DS_ENV_FILE or `.deepspeed_env`, in the home folder,
/// then in the working directory. Those that are not there are passed over. Local.
EnvironmentFile read_environment_files();

/// Whether a variable of the launching shell goes to every rank: NCCL_, UCX_, OMPI_MCA_, CUDA_, DSTRAIN_, OMP_ and what
/// DeepSpeed hands on (MLFLOW, PYTHON, MV2). Local.
bool is_handed_on(std::string_view name) noexcept;

}  // namespace dstrain
