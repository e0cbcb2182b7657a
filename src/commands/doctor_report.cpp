// SPDX-License-Identifier: Apache-2.0
#include "commands/doctor_report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "comm/threads.hpp"
#include "core/system_memory.hpp"

namespace dstrain::commands {
namespace {

using Json = nlohmann::ordered_json;

std::string limit_text(std::int64_t value, bool bytes) {
  if (value == std::numeric_limits<std::int64_t>::max()) return "unlimited";
  return bytes ? format_bytes(value) : fmt::format("{}", value);
}

std::string host_line(const RankFacts& rank) {
  const auto& host = *rank.host_facts;
  std::string text = fmt::format("  {:<16} {}\n", rank.host, describe(host.interfaces));
  text += fmt::format("  {:<16} memory {} free, /dev/shm {} free, lockable {}, open files {}\n", "",
                      format_bytes(host.available_bytes), format_bytes(host.shared_memory_bytes),
                      limit_text(rank.memlock, true), limit_text(rank.nofile, false));
  if (!host.infiniband.empty()) text += fmt::format("  {:<16} InfiniBand {}\n", "", list_names(host.infiniband));
  if (!host.gpu_driver.empty()) text += fmt::format("  {:<16} NVIDIA driver {}\n", "", host.gpu_driver);
  for (const auto& gpu : host.gpus) {
    text += fmt::format("  {:<16} {}: {} of {} free ({})\n", "", gpu.model, format_bytes(gpu.free_bytes),
                        format_bytes(gpu.total_bytes), gpu.uuid);
  }
  return text;
}

Json interfaces_json(const std::vector<NetworkInterface>& interfaces) {
  auto list = Json::array();
  for (const auto& i : interfaces) {
    list.push_back({{"name", i.name},
                    {"address", i.address},
                    {"prefix", i.prefix},
                    {"up", i.up},
                    {"carrier", i.carrier},
                    {"mtu", i.mtu}});
  }
  return list;
}

std::string node_name(const JobFacts& job, int node) {
  for (const auto& rank : job) {
    if (rank.node == node) return rank.host;
  }
  return fmt::format("node {}", node);
}

std::string findings_text(const Findings& findings) {
  std::string text;
  int errors = 0, warnings = 0;
  for (const auto severity : {Severity::error, Severity::warning, Severity::note}) {
    for (const auto& f : findings) {
      if (f.severity != severity) continue;
      text += fmt::format("{}: {}\n", dstrain::name_of(severity), to_text(f));
      errors += severity == Severity::error ? 1 : 0;
      warnings += severity == Severity::warning ? 1 : 0;
    }
  }
  return text +
         fmt::format("{} error{}, {} warning{}\n", errors, errors == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
}

}  // namespace

std::string doctor_text(const DoctorReport& report) {
  std::string text;
  if (!report.job.empty()) {
    const auto& first = report.job.front();
    text += fmt::format("{}, HDF5 {}, build {}\n", first.mpi, first.hdf5, first.build.substr(0, 12));
    if (!first.binary.empty()) text += fmt::format("SHA-256 {}\n", first.binary);
    text +=
        fmt::format("\n{:>6} {:>6}  {:<16} {:<10} {:>7}  {}\n", "rank", "local", "host", "device", "threads", "cores");
  }
  for (const auto& rank : report.job) {
    text += fmt::format("{:>6} {:>6}  {:<16} {:<10} {:>7}  {}\n", rank.rank, rank.local_rank, rank.host,
                        rank.device.substr(0, 10), rank.threads, ranges_text(rank.cores));
  }
  text += "\nhosts\n";
  for (const auto& rank : report.job) {
    if (rank.host_facts) text += host_line(rank);
  }
  if (!report.links.empty()) text += "\nlinks\n";
  for (const auto& link : report.links) {
    text += fmt::format("  {:<16} {:<16} {:8.3f} GB/s ({}) {:8.1f} us, clock {:+.3f} ms\n",
                        node_name(report.job, link.a), node_name(report.job, link.b), link.bytes_per_s * 1e-9,
                        format_bytes(link.bytes), link.latency_s * 1e6, link.clock_ahead_s * 1e3);
  }
  if (!report.ssh.empty()) text += "\nssh\n";
  for (const auto& answer : report.ssh) {
    text += fmt::format("  {:<16} {} ({:.2f} s)\n", answer.host, answer.good ? "good" : answer.words, answer.seconds);
  }
  return text + "\n" + findings_text(report.findings);
}

std::string doctor_json(const DoctorReport& report) {
  Json json = {{"ranks", Json::array()}, {"links", Json::array()}, {"ssh", Json::array()}, {"findings", Json::array()}};
  for (const auto& rank : report.job) {
    auto one = Json::parse(to_text(rank));
    if (rank.host_facts) one["host_facts"]["interfaces"] = interfaces_json(rank.host_facts->interfaces);
    json["ranks"].push_back(std::move(one));
  }
  for (const auto& link : report.links) {
    json["links"].push_back({{"a", node_name(report.job, link.a)},
                             {"b", node_name(report.job, link.b)},
                             {"bytes_per_s", link.bytes_per_s},
                             {"latency_s", link.latency_s},
                             {"bytes", link.bytes},
                             {"clock_ahead_s", link.clock_ahead_s}});
  }
  for (const auto& answer : report.ssh) {
    json["ssh"].push_back(
        {{"host", answer.host}, {"good", answer.good}, {"seconds", answer.seconds}, {"words", answer.words}});
  }
  for (const auto& f : report.findings) {
    json["findings"].push_back({{"severity", dstrain::name_of(f.severity)},
                                {"check", f.check},
                                {"what", f.what},
                                {"where", f.where},
                                {"fix", f.fix}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace dstrain::commands
