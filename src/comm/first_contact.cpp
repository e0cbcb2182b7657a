// SPDX-License-Identifier: Apache-2.0
#include "comm/first_contact.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>

#include "comm/control_channel.hpp"
#include "comm/launcher.hpp"
#include "comm/mpi_handles.hpp"
#include "comm/pending_messages.hpp"
#include "comm/silence.hpp"
#include "core/build_id.hpp"

namespace dstrain {
namespace {

constexpr int tag_of_greeting = 7001, tag_of_reply = 7002, tag_of_report = 7003, tag_of_verdict = 7004,
              tag_of_neighbours = 7010;
/// Sizes of what neighbours exchange. Several small ones, more than hosts have interfaces; then one that no packet
/// holds: where small ones arrive and it does not, packets are lost for their size.
constexpr std::size_t knock_bytes[] = {1, 1, 1, 1, 16384};
constexpr std::size_t knocks = std::size(knock_bytes);
constexpr char greeting_magic[16] = "dstrain start 1";

/// The first message of a rank. Its size and its first two fields never change, so that any two builds understand it.
struct Greeting {
  char magic[16];
  char build[80];
  char host[160];
};

/// Which neighbours of a rank stayed silent; the first few are enough.
struct Report {
  std::int32_t count = 0;
  std::array<std::int32_t, 15> ranks{};
};

/// Buffers and requests of the messages. Where a deadline passes, MPI may still write into them: then they are leaked.
struct Mail : PendingMessages {
  std::vector<Greeting> greetings;
  std::vector<Report> reports;
  std::vector<char> bytes, sent;
  Greeting own_greeting{};
  Report own_report{};
  char go = 1;
};

template <std::size_t size>
std::string text_of(const char (&field)[size]) {
  return {field, strnlen(field, size)};
}

class Meeting {
 public:
  explicit Meeting(double timeout_s) : timeout_s_(timeout_s) {
    mpi_check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
    own_ = {host_name(), network_interfaces()};
    std::memcpy(mail_->own_greeting.magic, greeting_magic, sizeof greeting_magic);
    build_id().copy(mail_->own_greeting.build, sizeof mail_->own_greeting.build - 1);
    own_.host.copy(mail_->own_greeting.host, sizeof mail_->own_greeting.host - 1);
  }

  void run() {
    if (rank_ == 0) {
      hear_greetings();
    } else {
      greet();
    }
    exchange_with_neighbours();
    if (rank_ == 0) {
      hear_reports();
    } else {
      report();
    }
  }

 private:
  void hear_greetings();
  void greet();
  void exchange_with_neighbours();
  void hear_reports();
  void report();
  void check_builds() const;
  [[noreturn]] void wait_to_be_ended(const char* what);
  [[noreturn]] void refuse(const std::vector<int>& ranks, const std::string& what);
  [[nodiscard]] std::vector<PeerContact> look_up(const std::vector<int>& ranks) const;

  double timeout_s_;
  int rank_ = 0, size_ = 1;
  OwnContact own_;
  std::vector<int> silent_;         ///< neighbours of this rank
  std::vector<std::string> hosts_;  ///< rank 0, once all have greeted
  std::unique_ptr<Mail> mail_ = std::make_unique<Mail>();
};

void Meeting::hear_greetings() {
  mail_->greetings.resize(static_cast<std::size_t>(size_));
  mail_->greetings[0] = mail_->own_greeting;
  for (int r = 1; r < size_; ++r)
    mail_->receive(&mail_->greetings[static_cast<std::size_t>(r)], sizeof(Greeting), r, tag_of_greeting);
  if (!mail_->wait(timeout_s_)) {
    std::vector<int> missing;
    for (int r = 1; r < size_; ++r) {
      if (mail_->open(static_cast<std::size_t>(r - 1))) missing.push_back(r);
    }
    refuse(missing, fmt::format("sent nothing in {:.3g} s, though MPI has started all {} ranks", timeout_s_, size_));
  }
  check_builds();
  for (const auto& greeting : mail_->greetings) hosts_.push_back(text_of(greeting.host));
  for (int r = 1; r < size_; ++r) mail_->send(&mail_->go, 1, r, tag_of_reply);
  if (!mail_->wait(timeout_s_)) throw RefusedError("the first messages to other ranks did not leave this host");
}

void Meeting::greet() {
  mail_->bytes.resize(1);
  mail_->send(&mail_->own_greeting, sizeof(Greeting), 0, tag_of_greeting);
  mail_->receive(mail_->bytes.data(), 1, 0, tag_of_reply);
  if (!mail_->wait(timeout_s_)) wait_to_be_ended("no answer to this rank's greeting");
}

void Meeting::exchange_with_neighbours() {
  std::vector<int> neighbours;
  for (int distance = 1; distance < size_; distance *= 2) {
    for (const int peer : {(rank_ + distance) % size_, (rank_ + size_ - distance) % size_}) {
      if (std::find(neighbours.begin(), neighbours.end(), peer) == neighbours.end()) neighbours.push_back(peer);
    }
  }
  constexpr auto bytes_of_all = std::accumulate(std::begin(knock_bytes), std::end(knock_bytes), std::size_t{0});
  mail_->bytes.assign(neighbours.size() * bytes_of_all, 0);
  mail_->sent.assign(*std::max_element(std::begin(knock_bytes), std::end(knock_bytes)), 1);
  char* at = mail_->bytes.data();
  for (const int peer : neighbours) {
    for (std::size_t k = 0; k < knocks; ++k) {
      mail_->receive(at, knock_bytes[k], peer, tag_of_neighbours + static_cast<int>(k));
      mail_->send(mail_->sent.data(), knock_bytes[k], peer, tag_of_neighbours + static_cast<int>(k));
      at += knock_bytes[k];
    }
  }
  if (mail_->wait(timeout_s_ / 2)) return;
  for (std::size_t i = 0; i < neighbours.size(); ++i) {
    // Receives at even, sends at odd places.
    const auto receiving = [&](std::size_t k) { return mail_->open(2 * (i * knocks + k)); };
    const auto sending = [&](std::size_t k) { return mail_->open(2 * (i * knocks + k) + 1); };
    bool any = false, small = false;
    for (std::size_t k = 0; k < knocks; ++k) any |= receiving(k) || sending(k);
    for (std::size_t k = 0; k + 1 < knocks; ++k) small |= receiving(k);
    if (any) silent_.push_back(neighbours[i]);
    own_.large_lost |= any && !small && receiving(knocks - 1);
  }
  publish_contact(rank_, own_);
}

void Meeting::hear_reports() {
  static_cast<void>(silent_.empty() ? nullptr : mail_.release());  // MPI may still write there
  if (!mail_) mail_ = std::make_unique<Mail>();
  mail_->reports.resize(static_cast<std::size_t>(size_));
  for (int r = 1; r < size_; ++r)
    mail_->receive(&mail_->reports[static_cast<std::size_t>(r)], sizeof(Report), r, tag_of_report);
  const bool all = mail_->wait(timeout_s_ * 0.75);
  std::vector<int> named = silent_;
  std::string pairs;
  for (const int peer : silent_) pairs += fmt::format("{}0 and {}", pairs.empty() ? "" : ", ", peer);
  for (int r = 1; r < size_; ++r) {
    if (!all && mail_->open(static_cast<std::size_t>(r - 1))) {
      named.push_back(r);
      continue;
    }
    const auto& theirs = mail_->reports[static_cast<std::size_t>(r)];
    for (std::int32_t i = 0; i < std::clamp<std::int32_t>(theirs.count, 0, 15); ++i) {
      const int peer = theirs.ranks[static_cast<std::size_t>(i)];
      if (peer < 0 || peer >= size_) continue;
      if (peer > r) pairs += fmt::format("{}{} and {}", pairs.empty() ? "" : ", ", r, peer);
      for (const int one : {r, peer}) {
        if (one != 0) named.push_back(one);
      }
    }
  }
  std::sort(named.begin(), named.end());
  named.erase(std::unique(named.begin(), named.end()), named.end());
  if (!named.empty()) {
    refuse(named, fmt::format("cannot exchange messages over MPI{}{}{}", pairs.empty() ? "" : " (between ranks ", pairs,
                              pairs.empty() ? "" : ")"));
  }
  for (int r = 1; r < size_; ++r) mail_->send(&mail_->go, 1, r, tag_of_verdict);
  if (!mail_->wait(timeout_s_)) throw RefusedError("the first messages to other ranks did not leave this host");
}

void Meeting::report() {
  if (!silent_.empty()) static_cast<void>(mail_.release());
  if (!mail_) mail_ = std::make_unique<Mail>();
  auto& own = mail_->own_report;
  own.count = static_cast<std::int32_t>(std::min(silent_.size(), own.ranks.size()));
  std::copy_n(silent_.begin(), own.count, own.ranks.begin());
  mail_->bytes.resize(1);
  mail_->send(&own, sizeof own, 0, tag_of_report);
  mail_->receive(mail_->bytes.data(), 1, 0, tag_of_verdict);
  // Rank 0 waits for all reports first, whose senders may have waited for a neighbour.
  if (!mail_->wait(timeout_s_ * 1.25)) wait_to_be_ended("no verdict of rank 0 about the first messages");
}

void Meeting::check_builds() const {
  std::vector<std::string> others;
  const auto& own = mail_->own_greeting;
  for (int r = 1; r < size_; ++r) {
    const auto& theirs = mail_->greetings[static_cast<std::size_t>(r)];
    if (std::memcmp(theirs.magic, own.magic, sizeof own.magic) == 0 &&
        std::memcmp(theirs.build, own.build, sizeof own.build) == 0)
      continue;
    const bool known = std::memcmp(theirs.magic, own.magic, sizeof own.magic) == 0;
    others.push_back(fmt::format("rank {}{}", r, known ? "@" + text_of(theirs.host) : ""));
  }
  if (others.empty()) return;
  constexpr std::size_t most = 8;
  std::string names;
  for (std::size_t i = 0; i < std::min(others.size(), most); ++i) names += (i == 0 ? "" : ", ") + others[i];
  if (others.size() > most) names += fmt::format(" and {} more", others.size() - most);
  throw RefusedError(fmt::format("{} run{} another build of dstrain than rank 0", names, others.size() == 1 ? "s" : ""),
                     fmt::format("build {} on {}", text_of(own.build).substr(0, 12), own_.host),
                     "install the same binary on every host, or start it from a file system that all of them share");
}

std::vector<PeerContact> Meeting::look_up(const std::vector<int>& ranks) const {
  constexpr std::size_t most = 16;
  std::vector<PeerContact> peers;
  for (const int r : ranks) peers.push_back({.rank = r, .host = {}, .interfaces = {}, .reach = {}});
  look_up_contacts(std::span(peers).first(std::min(peers.size(), most)));
  for (auto& peer : peers) {  // a greeting that did arrive names the host where the launcher's channel does not
    const auto index = static_cast<std::size_t>(peer.rank);
    if (peer.host.empty() && index < hosts_.size()) peer.host = hosts_[index];
  }
  return peers;
}

void Meeting::refuse(const std::vector<int>& ranks, const std::string& what) {
  constexpr std::uint16_t port = 22;  // hosts of a cluster rarely close it; where nothing listens they refuse at once
  constexpr double probe_s = 1.5;
  std::this_thread::sleep_for(std::chrono::seconds(1));  // the others' deadlines pass a little later: they publish then
  auto peers = look_up(ranks);
  static_cast<void>(mail_.release());
  std::vector<std::string> addresses;
  for (const auto& peer : peers) {
    for (const auto& interface : peer.interfaces) addresses.push_back(interface.address);
  }
  const auto reach = probe_addresses(addresses, port, probe_s);
  std::size_t at = 0;
  for (auto& peer : peers) {
    for (std::size_t i = 0; i < peer.interfaces.size(); ++i) peer.reach.push_back(reach[at++]);
  }
  throw RefusedError(fmt::format("{} {}", name_ranks(peers), what), {}, explain_silence(own_, peers));
}

void Meeting::wait_to_be_ended(const char* what) {
  static_cast<void>(mail_.release());
  publish_contact(rank_, own_);
  std::this_thread::sleep_for(std::chrono::duration<double>(8.0));  // rank 0 knows more, and ends the job
  throw RefusedError(what, {}, "");
}

}  // namespace

double start_timeout_s() {
  constexpr double default_s = 15, longest_s = 86400;
  const char* text = std::getenv("DSTRAIN_START_TIMEOUT");
  if (text == nullptr || *text == '\0') return default_s;
  double value = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || stop != end || !(value >= 1 && value <= longest_s))
    throw ConfigError(fmt::format("DSTRAIN_START_TIMEOUT=\"{}\" is not a number of seconds from 1 to 86400", text),
                      "environment");
  return value;
}

void meet_all_ranks(double timeout_s) {
  Meeting meeting(timeout_s);
  int size = 1;
  mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (size > 1) meeting.run();
}

}  // namespace dstrain
