// SPDX-License-Identifier: Apache-2.0
/// Whether this host can start programs on others by ssh, in ssh's own words where it cannot.
#pragma once

#include <string>
#include <vector>

#include "cluster/preflight/finding.hpp"

namespace dstrain {

struct SshAnswer {
  std::string host;
  bool good = false;
  double seconds = 0;
  std::string words;  ///< of ssh or of the remote host, the last line of stderr; "no answer in 8 s"
};

/// Runs `AGENT HOST hostname` for all hosts at once (32 at a time) without asking for passwords. Local; takes at most
/// `limit_s` for each 32 hosts.
/// @param agent  words as for Open MPI's plm_rsh_agent, e.g. "ssh -F my_config"; options that forbid questions are
/// added
///               where its program is ssh
/// @param limit_s  ssh's own limit for the connection is 5 s
std::vector<SshAnswer> ask_hosts(const std::vector<std::string>& hosts, const std::string& agent, double limit_s = 8);

/// One error for each host that did not answer, with what its words usually mean. Pure.
std::vector<Finding> check_ssh(const std::vector<SshAnswer>& answers);

}  // namespace dstrain
