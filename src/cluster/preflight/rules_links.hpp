// SPDX-License-Identifier: Apache-2.0
/// The slow one among the links between hosts.
#pragma once

#include <vector>

#include "cluster/preflight/rules.hpp"
#include "comm/link_test.hpp"

namespace dstrain {

/// A link is slow below a quarter of what the better quarter of all links reaches (or above ten times their latency,
/// from 1 ms on). Where all slow links meet in one host, that host and its interface are named; else the pairs. Pure.
/// Nothing to compare with below three hosts.
Findings check_links(const JobFacts& job, const std::vector<LinkMeasurement>& links);

/// The interface of `host` that MPI reaches the others by, as far as that can be told: "eth0"; several: "eth0, eth1".
std::string interface_between(const JobFacts& job, const RankFacts& host);

}  // namespace dstrain
