// SPDX-License-Identifier: Apache-2.0
#include "comm/mca_defaults.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "comm/topology.hpp"

namespace dstrain {
namespace {

constexpr const char* btl_of_one_host = "self,vader";
constexpr const char* btl_of_many_hosts = "self,vader,tcp";

/// Shared memory and TCP need no more than these; looking for anything else costs MPI_Init 0.2 s.
constexpr std::pair<const char*, const char*> wanted[] = {{"pml", "ob1"},
                                                          {"btl", nullptr},
                                                          {"mtl", "^ofi,psm,psm2"},
                                                          {"osc", "^ucx"},
                                                          {"btl_base_warn_component_unused", "0"}};

constexpr std::size_t largest_file = 1 << 20;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string_view> names_in(std::string_view list) {
  std::vector<std::string_view> names;
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    names.push_back(trimmed(list.substr(0, comma)));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return names;
}

bool same_number(const Environment& environment, const char* a, const char* b) {
  const char* first = environment(a);
  const char* second = environment(b);
  return first != nullptr && second != nullptr && std::string_view(first) == second;
}

/// A number of processes or nodes; 0 where it is none.
int number_in(const char* text) { return text == nullptr ? 0 : std::atoi(text); }

bool has_entries(const char* folder) {
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  return !error && entries != std::filesystem::directory_iterator();
}

HostFacts facts_of_this_host() {
  HostFacts facts;
  facts.has_fabric = has_entries("/sys/class/infiniband") || has_entries("/sys/class/cxi");
  facts.cores = static_cast<int>(allowed_cores().size());
  return facts;
}

std::string read_params_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(largest_file, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

}  // namespace

bool runs_on_one_host(const Environment& environment) {
  if (environment("OMPI_COMM_WORLD_SIZE") != nullptr) {
    return same_number(environment, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE");
  }
  if (environment("SLURM_PROCID") != nullptr && environment("SLURM_STEP_NUM_NODES") != nullptr) {
    return std::string_view(environment("SLURM_STEP_NUM_NODES")) == "1";
  }
  // Under another launcher we know nothing; without one there is one process.
  return environment("PMIX_RANK") == nullptr && environment("PMI_RANK") == nullptr;
}

std::vector<std::pair<std::string, std::string>> parse_mca_params(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> params;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = trimmed(text.substr(0, end).substr(0, text.substr(0, end).find('#')));
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    params.emplace_back(trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1)));
  }
  return params;
}

bool allows(std::string_view value, std::string_view ours) {
  if (!value.starts_with('^')) return false;
  if (ours.starts_with('^')) return true;  // we leave out what is not there: the rest stays theirs to choose
  const auto excluded = names_in(value.substr(1));
  const auto names = names_in(ours);
  return std::none_of(names.begin(), names.end(),
                      [&](auto name) { return std::find(excluded.begin(), excluded.end(), name) != excluded.end(); });
}

std::vector<std::pair<std::string, std::string>> mca_defaults(
    const Environment& environment, const std::vector<std::pair<std::string, std::string>>& params,
    const HostFacts& facts) {
  std::vector<std::pair<std::string, std::string>> result;
  const auto propose = [&](const std::string& name, const char* value) {
    if (environment(("OMPI_MCA_" + name).c_str()) != nullptr) return;  // also how mpirun --mca arrives
    const bool decided = std::any_of(params.begin(), params.end(), [&](const auto& param) {
      return param.first == name && !allows(param.second, value);
    });
    if (!decided) result.emplace_back(name, value);
  };
  const bool one_host = runs_on_one_host(environment);
  if (one_host || !facts.has_fabric) {
    for (const auto& [name, value] : wanted)
      propose(name, value != nullptr ? value : (one_host ? btl_of_one_host : btl_of_many_hosts));
  }
  if (facts.cores > 0 && number_in(environment("OMPI_COMM_WORLD_LOCAL_SIZE")) > facts.cores)
    propose("mpi_yield_when_idle", "1");
  return result;
}

std::vector<std::pair<std::string, std::string>> read_mca_params() {
  auto params = parse_mca_params(read_params_file("/etc/openmpi/openmpi-mca-params.conf"));
  std::vector<std::string> files;
  if (const char* prefix = std::getenv("OPAL_PREFIX"))
    files.push_back(std::string(prefix) + "/etc/openmpi-mca-params.conf");
  if (const char* home = std::getenv("HOME")) files.push_back(std::string(home) + "/.openmpi/mca-params.conf");
  for (const auto& file : files) {
    for (auto& param : parse_mca_params(read_params_file(file))) params.push_back(std::move(param));
  }
  return params;
}

void set_mca_defaults() {
  const Environment environment = [](const char* name) { return std::getenv(name); };
  for (const auto& [name, value] : mca_defaults(environment, read_mca_params(), facts_of_this_host()))
    setenv(("OMPI_MCA_" + name).c_str(), value.c_str(), 0);
}

}  // namespace dstrain
