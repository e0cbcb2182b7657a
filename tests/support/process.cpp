// SPDX-License-Identifier: Apache-2.0
#include "support/process.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace dstrain::test {

std::string python_with(const std::string& module) {
  const char* named = std::getenv("DSTRAIN_PYTHON");
  for (const std::string& python : {std::string(named != nullptr ? named : "python3"), std::string("/usr/bin/python3")})
    if (run(quoted(python) + " -c " + quoted("import " + module)).exit_code == 0) return python;
  return {};
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string mpirun(int ranks) {
  if (ranks == 0) return {};
  return fmt::format(
      "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "
      "OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1 {} -np {} ",
      DSTRAIN_MPIRUN, ranks);
}

ProcessResult run(const std::string& command, const std::vector<std::string>& environment) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("dstrain-test-{}", getpid());
  std::filesystem::create_directories(folder);
  const auto out = folder / "out";
  const auto err = folder / "err";
  std::string prefix;
  for (const auto& entry : environment) prefix += "export " + quoted(entry) + "; ";
  const auto start = std::chrono::steady_clock::now();
  const int status = std::system(fmt::format("bash -c {}", quoted(fmt::format("{}{} >{} 2>{} </dev/null", prefix,
                                                                              command, out.string(), err.string())))
                                     .c_str());
  ProcessResult result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  const auto read = [](const std::filesystem::path& path) {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  result.out = read(out);
  result.err = read(err);
  std::filesystem::remove_all(folder);
  return result;
}

}  // namespace dstrain::test
