// SPDX-License-Identifier: Apache-2.0
/// Machines that are not there, for tests of command lines.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cluster/launch/surroundings.hpp"
#include "config/resolve.hpp"

namespace dstrain::test {

using Variables = std::map<std::string, std::string>;

inline Environment environment_of(const Variables& variables) {
  return [variables](const char* name) -> const char* {
    const auto at = variables.find(name);
    return at == variables.end() ? nullptr : at->second.c_str();
  };
}

/// A host "head" on 10.0.0.0/24 beside worker-0 .. worker-9, and on 192.168.1.0/24 alone.
inline Surroundings machine(const Variables& variables = {}) {
  Surroundings here;
  here.environment = environment_of(variables);
  for (const auto& [name, value] : variables) here.own_variables.push_back(name + "=" + value);
  here.host = "head";
  here.program = "/opt/dstrain";
  here.interfaces = {{"docker0", (172u << 24) | (17u << 16) | 1, 16},
                     {"eth1", (192u << 24) | (168u << 16) | (1u << 8) | 5, 24},
                     {"eth0", (10u << 24) | 5, 24}};
  here.addresses_of = [](const std::string& host) -> std::vector<Ipv4> {
    if (host.starts_with("worker-")) return {(10u << 24) | (10u + static_cast<unsigned>(host.back() - '0'))};
    if (host == "far") return {(11u << 24) | 1};
    return {};
  };
  return here;
}

inline FileAccess files_of(const std::map<std::string, std::string>& files) {
  return {[files](const std::filesystem::path& path) -> std::optional<std::string> {
            const auto at = files.find(path.string());
            return at == files.end() ? std::nullopt : std::optional(at->second);
          },
          [files](const std::filesystem::path& path) { return files.contains(path.string()); }};
}

}  // namespace dstrain::test
