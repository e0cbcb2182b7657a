// SPDX-License-Identifier: Apache-2.0
#include "comm/control_channel.hpp"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "comm/mpi_handles.hpp"
#include "comm/pmix_hosts.hpp"

namespace dstrain {
namespace {

constexpr std::string_view large_lost_mark = "!";  // in front of the host's name

std::string service_of(int rank) { return fmt::format("dstrain-start-{}", rank); }

/// What a thread finds out while nobody may wait for it: MPI_Lookup_name has no deadline.
struct Findings {
  std::mutex mutex;
  std::condition_variable done;
  std::vector<std::pair<int, std::string>> texts;
  bool finished = false;
};

bool threads_may_call_mpi() {
  int level = MPI_THREAD_SINGLE;
  return MPI_Query_thread(&level) == MPI_SUCCESS && level == MPI_THREAD_MULTIPLE;
}

void look_up(const std::shared_ptr<Findings>& findings, const std::vector<int>& ranks) {
  for (const int rank : ranks) {
    char published[MPI_MAX_PORT_NAME] = {};
    std::string text;
    if (MPI_Lookup_name(service_of(rank).c_str(), MPI_INFO_NULL, published) == MPI_SUCCESS) {
      text = published;
    } else {
      text = host_by_pmix(rank);
    }
    const std::lock_guard lock(findings->mutex);
    if (!text.empty()) findings->texts.emplace_back(rank, text);
  }
  const std::lock_guard lock(findings->mutex);
  findings->finished = true;
  findings->done.notify_all();
}

/// Both calls report to the handler of MPI_COMM_WORLD or MPI_COMM_SELF, which by default ends the job.
void return_errors() {
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
}

}  // namespace

void publish_contact(int rank, const OwnContact& own) {
  return_errors();
  auto text = fmt::format("{}{}\n", own.large_lost ? large_lost_mark : "", own.host);
  text += to_line(own.interfaces, MPI_MAX_PORT_NAME - 1 - text.size());
  MPI_Publish_name(service_of(rank).c_str(), MPI_INFO_NULL, text.c_str());
}

void look_up_contacts(std::span<PeerContact> peers) {
  if (!threads_may_call_mpi()) return;
  return_errors();
  auto findings = std::make_shared<Findings>();
  std::vector<int> ranks;
  for (const auto& peer : peers) ranks.push_back(peer.rank);
  std::thread([findings, ranks] { look_up(findings, ranks); }).detach();
  std::unique_lock lock(findings->mutex);
  findings->done.wait_for(lock, std::chrono::seconds(2), [&] { return findings->finished; });
  for (const auto& [rank, text] : findings->texts) {
    for (auto& peer : peers) {
      if (peer.rank != rank) continue;
      const auto line = std::min(text.find('\n'), text.size());
      peer.large_lost = text.starts_with(large_lost_mark);
      const auto host = peer.large_lost ? large_lost_mark.size() : 0;
      peer.host = text.substr(host, line - host);
      peer.interfaces = parse_interfaces(std::string_view(text).substr(std::min(line + 1, text.size())));
    }
  }
}

}  // namespace dstrain
