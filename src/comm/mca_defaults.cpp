// SPDX-License-Identifier: Apache-2.0
#include "comm/mca_defaults.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace dstrain {
namespace {

/// Shared memory between the ranks of one host needs no more than these; looking for anything else costs MPI_Init 0.2
/// s.
constexpr std::pair<const char*, const char*> wanted[] = {{"pml", "ob1"},
                                                          {"btl", "self,vader"},
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
    const Environment& environment, const std::vector<std::pair<std::string, std::string>>& params) {
  std::vector<std::pair<std::string, std::string>> result;
  if (!runs_on_one_host(environment)) return result;
  for (const auto& [name, value] : wanted) {
    if (environment(("OMPI_MCA_" + std::string(name)).c_str()) != nullptr) continue;  // also how mpirun --mca arrives
    const bool decided = std::any_of(params.begin(), params.end(), [&, name = name, value = value](const auto& param) {
      return param.first == name && !allows(param.second, value);
    });
    if (!decided) result.emplace_back(name, value);
  }
  return result;
}

void set_mca_defaults() {
  const Environment environment = [](const char* name) { return std::getenv(name); };
  auto params = parse_mca_params(read_params_file("/etc/openmpi/openmpi-mca-params.conf"));
  std::vector<std::string> files;
  if (const char* prefix = std::getenv("OPAL_PREFIX"))
    files.push_back(std::string(prefix) + "/etc/openmpi-mca-params.conf");
  if (const char* home = std::getenv("HOME")) files.push_back(std::string(home) + "/.openmpi/mca-params.conf");
  for (const auto& file : files) {
    for (auto& param : parse_mca_params(read_params_file(file))) params.push_back(std::move(param));
  }
  for (const auto& [name, value] : mca_defaults(environment, params))
    setenv(("OMPI_MCA_" + name).c_str(), value.c_str(), 0);
}

}  // namespace dstrain
