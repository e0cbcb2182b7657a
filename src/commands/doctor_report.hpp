// SPDX-License-Identifier: Apache-2.0
/// What `dstrain doctor` prints. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/preflight/rules.hpp"
#include "cluster/preflight/ssh_check.hpp"
#include "comm/link_test.hpp"

namespace dstrain::commands {

struct DoctorReport {
  JobFacts job;
  std::vector<LinkMeasurement> links;
  std::vector<SshAnswer> ssh;
  Findings findings;
};

/// Tables of ranks, hosts, links and answers, then the findings, errors first.
std::string doctor_text(const DoctorReport& report);
/// One JSON object with the same content.
std::string doctor_json(const DoctorReport& report);

}  // namespace dstrain::commands
