// SPDX-License-Identifier: Apache-2.0
/// A healthy job of made-up facts: the rules' tests break it in one place.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <string>

#include "cluster/preflight/rules.hpp"

namespace dstrain::test {

inline JobFacts healthy_job(int nodes, int ranks_per_node) {
  constexpr std::int64_t GiB = std::int64_t{1} << 30;
  JobFacts job;
  for (int r = 0; r < nodes * ranks_per_node; ++r) {
    RankFacts f;
    f.rank = r;
    f.node = r / ranks_per_node;
    f.local_rank = r % ranks_per_node;
    f.host = fmt::format("node{}", f.node + 1);
    f.build = "0123456789abcdef0123";
    f.mpi = "Open MPI v4.1.4";
    f.hdf5 = "1.10.8";
    f.device = "cpu";
    f.cores = {2 * f.local_rank, 2 * f.local_rank + 1};
    f.threads = 2;
    f.memlock = 64 * GiB;
    f.nofile = 65536;
    f.clock_s = 1.7e9;
    if (f.local_rank == 0) {
      NodeFacts host;
      host.interfaces = {{"lo", "127.0.0.1", 8, true, true, 65536},
                         {"eth0", fmt::format("10.77.0.{}", 11 + f.node), 24, true, false, 1500},
                         {"eth1", fmt::format("10.78.0.{}", 11 + f.node), 24, true, false, 1500}};
      host.available_bytes = 16 * GiB;
      host.shared_memory_bytes = 8 * GiB;
      f.host_facts = host;
    }
    job.push_back(f);
  }
  return job;
}

/// The first finding of a rule; null where it said nothing.
inline std::shared_ptr<const Finding> find(const Findings& findings, const std::string& check) {
  const auto it = std::find_if(findings.begin(), findings.end(), [&](const auto& f) { return f.check == check; });
  return it == findings.end() ? nullptr : std::make_shared<const Finding>(*it);
}

inline bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace dstrain::test
