// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/surroundings.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "cluster/hostfile.hpp"
#include "comm/topology.hpp"

extern char** environ;

namespace dstrain {
namespace {

constexpr std::size_t most_output = 1 << 20;

int count_devices() {
  int count = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/dev", error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool numbered = name.starts_with("nvidia") && name.size() > 6 &&
                          std::all_of(name.begin() + 6, name.end(), [](char c) { return c >= '0' && c <= '9'; });
    count += numbered ? 1 : 0;
  }
  return count;
}

std::string own_host() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

std::string own_program() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "dstrain" : path.string();
}

/// Plain `mpirun` where it lies where every shell looks; else its path, which makes mpirun tell its daemons too
/// (--prefix): a shell that ssh starts often knows fewer folders.
std::string find_mpirun() {
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const auto end = std::min(rest.find(':'), rest.size());
    const std::string folder(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::string file = folder + "/mpirun";
    if (folder.empty() || access(file.c_str(), X_OK) != 0) continue;
    return folder == "/usr/bin" || folder == "/bin" || folder == "/usr/local/bin" ? "mpirun" : file;
  }
  return "mpirun";
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    if (end > 0) lines.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return lines;
}

/// The addresses of a host that only ssh knows by this name: `ssh -G` prints what its configuration makes of it.
std::vector<Ipv4> addresses_by_ssh(const std::string& host) {
  if (auto addresses = resolve(host); !addresses.empty()) return addresses;
  const auto settings = output_of({"ssh", "-G", host}, 5);
  for (const auto& line : lines_of(settings.value_or(""))) {
    if (line.starts_with("hostname ") && line.substr(9) != host) return resolve(line.substr(9));
  }
  return {};
}

[[noreturn]] void become(const std::vector<std::string>& words, int out, bool with_errors) {
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const int null = open("/dev/null", O_RDWR);
  dup2(null, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(with_errors ? out : null, STDERR_FILENO);
  execvp(argv[0], argv.data());
  _exit(127);
}

}  // namespace

std::optional<std::string> output_of(const std::vector<std::string>& words, double seconds, bool with_errors) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const pid_t child = fork();
  if (child == 0) become(words, ends[1], with_errors);
  close(ends[1]);
  std::string text;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  bool ended = child < 0;
  while (!ended) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd waiting{ends[0], POLLIN, 0};
    if (left.count() <= 0 || poll(&waiting, 1, static_cast<int>(left.count())) <= 0) break;
    char piece[4096];
    const auto got = read(ends[0], piece, sizeof piece);
    ended = got <= 0;
    if (got > 0 && text.size() < most_output) text.append(piece, static_cast<std::size_t>(got));
  }
  close(ends[0]);
  if (child < 0) return std::nullopt;
  if (!ended) kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? std::optional(text) : std::nullopt;
}

bool is_this_machine(const Surroundings& here, const std::string& host) {
  if (host == "localhost" || host == here.host) return true;
  if (host.substr(0, host.find('.')) == here.host.substr(0, here.host.find('.')) && !parse_ipv4(host)) return true;
  const auto addresses = here.addresses_of(host);
  return std::ranges::any_of(addresses, [&](Ipv4 address) {
    return address >> 24 == 127 ||
           std::ranges::find(here.interfaces, address, &Interface::address) != here.interfaces.end();
  });
}

Surroundings look_around() {
  Surroundings here;
  here.environment = [](const char* name) { return std::getenv(name); };
  // torchrun sets one thread where nothing is said; ranks divide their host's cores among themselves.
  const char* threads = std::getenv("OMP_NUM_THREADS");
  if (std::getenv("TORCHELASTIC_RUN_ID") != nullptr && threads != nullptr && std::string_view(threads) == "1")
    unsetenv("OMP_NUM_THREADS");
  for (char** entry = environ; *entry != nullptr; ++entry) here.own_variables.emplace_back(*entry);
  here.environment_file = read_environment_files();
  here.mca_params = read_mca_params();
  here.program = own_program();
  here.mpirun = find_mpirun();
  here.host = own_host();
  here.devices = count_devices();
  here.cores = static_cast<int>(allowed_cores().size());
  here.root = geteuid() == 0;
  std::error_code ignored;
  here.has_default_hostfile = std::filesystem::exists(default_hostfile, ignored);
  here.interfaces = own_interfaces();
  here.addresses_of = addresses_by_ssh;
  here.srun_mpi_list = [] { return output_of({"srun", "--mpi=list"}, 10, true).value_or(""); };
  here.slurm_names = [](const std::string& list) {
    return lines_of(output_of({"scontrol", "show", "hostnames", list}, 10).value_or(""));
  };
  return here;
}

}  // namespace dstrain
