// SPDX-License-Identifier: Apache-2.0
/// Node 0 before the start: who comes, who is let in, who is missing.
#include <poll.h>

#include <chrono>
#include <csignal>

#include "cluster/meeting/meeting.hpp"
#include "cluster/meeting/token.hpp"
#include "core/log.hpp"

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t most_pending = 64;  // more than these wait in the system's own queue

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// A connection whose other end has not yet said who it is.
struct Pending {
  Descriptor connection;
  Doorkeeper door;
  std::string address;
  Clock::time_point since = Clock::now();
};

class Reception {
 public:
  Reception(const MeetingOptions& options, const NodeCard& own, SignalQueue& signals)
      : options_(options), own_(own), signals_(signals), listener_(listen_on(options.port)), out_{Guests(own), {}, {}} {
    out_.connections.resize(1);
  }

  CompleteMeeting run() {
    log::info("meeting: node 0 of {} waits for the others at port {}", own_.nodes, options_.port);
    const auto start = Clock::now();
    double next_notice = options_.notice_s;
    while (!out_.guests.is_complete()) {
      wait();
      take_signals();
      receive_visitors();
      hear_pending();
      drop_those_who_left();
      const double waited = seconds_since(start);
      if (waited >= options_.timeout_s) give_up(waited);
      if (waited < next_notice || out_.guests.is_complete()) continue;
      log::warning("meeting: {} ({:.0f} s)", out_.guests.report(), waited);
      next_notice += options_.notice_every_s;
      refuse_second_host();
    }
    listener_.close();
    pending_.clear();
    out_.guests.assign_numbers();
    return std::move(out_);
  }

 private:
  void wait() {
    std::vector<pollfd> waiting = {{signals_.descriptor(), POLLIN, 0}};
    if (pending_.size() < most_pending) waiting.push_back({listener_.get(), POLLIN, 0});
    for (const auto& one : pending_) waiting.push_back({one.connection.get(), POLLIN, 0});
    for (const auto& one : out_.connections) {
      if (one) waiting.push_back({one->connection.get(), POLLIN, 0});
    }
    poll(waiting.data(), waiting.size(), 250);
  }

  void take_signals() {
    while (const int signal = signals_.next()) {
      if (signal != SIGINT && signal != SIGTERM && signal != SIGHUP) continue;
      tell_everybody(fmt::format("node 0 ({}) was stopped before the start", own_.host));
      throw RefusedError("stopped before all nodes were there", "meeting");
    }
  }

  void receive_visitors() {
    while (pending_.size() < most_pending) {
      std::string address;
      Descriptor connection = accept_one(listener_, address);
      if (!connection) return;
      Pending visitor{std::move(connection), Doorkeeper(options_.token, random_bytes()), address};
      // The few bytes of a handshake always fit into the system's buffers: nobody is waited for here.
      if (send_all(visitor.connection, visitor.door.greeting())) pending_.push_back(std::move(visitor));
    }
  }

  void hear_pending() {
    for (std::size_t i = 0; i < pending_.size();) {
      if (hear(pending_[i])) {
        ++i;
      } else {
        pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
  }

  /// @return whether the visitor is to be waited for
  bool hear(Pending& visitor) {
    try {
      if (const auto bytes = receive_some(visitor.connection)) {
        if (bytes->empty()) return false;
        visitor.door.feed(*bytes);
      }
      if (const auto card = visitor.door.next()) {
        seat(visitor, *card);
        return false;
      }
    } catch (const WrongToken&) {
      log::warning("meeting: {} came with another token and is refused", visitor.address);
      send_all(visitor.connection, wrong_token_reply());
      return false;
    } catch (const MeetingError& error) {
      log::warning("meeting: {} is no node of this job: {}", visitor.address, error.what());
      return false;
    }
    return seconds_since(visitor.since) < options_.handshake_s;
  }

  void seat(Pending& visitor, const NodeCard& card) {
    const auto answer = out_.guests.add(card, visitor.address);
    if (answer.verdict == Guests::Verdict::refused || answer.verdict == Guests::Verdict::duplicate) {
      send_all(visitor.connection, visitor.door.reply(answer.reason));
      if (answer.verdict == Guests::Verdict::refused) return log::warning("meeting: refused: {}", answer.reason);
      tell_everybody(answer.reason);
      throw RefusedError(answer.reason, "meeting", "give every node its own --node_rank (NODE_RANK), from 0");
    }
    if (!send_all(visitor.connection, visitor.door.reply(""))) return out_.guests.remove(answer.seat);
    if (card.machine != own_.machine) out_.own_address = own_address_of(visitor.connection);
    if (out_.connections.size() <= answer.seat) out_.connections.resize(answer.seat + 1);
    auto session = visitor.door.session();
    out_.connections[answer.seat] = Seated{std::move(visitor.connection), std::move(session)};
    log::info("meeting: {} is here", describe(*out_.guests.all()[answer.seat]));
  }

  /// Nobody has anything to say before the start: what can be read is an end, or a request to stop.
  void drop_those_who_left() {
    for (std::size_t seat = 1; seat < out_.connections.size(); ++seat) {
      auto& one = out_.connections[seat];
      if (!one) continue;
      const auto bytes = receive_some(one->connection);
      if (!bytes) continue;
      log::warning("meeting: {} has left", describe(*out_.guests.all()[seat]));
      one.reset();
      out_.guests.remove(seat);
    }
  }

  void tell_everybody(const std::string& reason) {
    const MeetingMessage over{MessageType::done, code_text(static_cast<int>(ExitCode::refused)) + " " + reason};
    for (auto& one : out_.connections) {
      if (one) send_all(one->connection, one->session.seal(over));
    }
  }

  [[noreturn]] void give_up(double waited) {
    const std::string report = out_.guests.report();
    tell_everybody(report);
    throw RefusedError(
        fmt::format("{} after {:.0f} s", report, waited), "meeting",
        "the same command must run on every node, with its own --node_rank; --join_timeout waits longer");
  }

  /// Two nodes that both believe to be node 0 would wait for ever: the one that MASTER_ADDR does not name asks there.
  void refuse_second_host() {
    if (options_.master.empty()) return;
    MeetingOptions quick = options_;
    quick.handshake_s = 2;  // where the address leads back to this process, nobody will answer
    const std::string reason = refusal_at(quick, own_);
    if (reason.empty()) return;
    tell_everybody(reason);
    throw RefusedError(reason, "meeting", "give every node its own --node_rank (NODE_RANK), from 0");
  }

  const MeetingOptions& options_;
  const NodeCard& own_;
  SignalQueue& signals_;
  Descriptor listener_;
  std::vector<Pending> pending_;
  CompleteMeeting out_;
};

}  // namespace

CompleteMeeting gather_nodes(const MeetingOptions& options, const NodeCard& own, SignalQueue& signals) {
  return Reception(options, own, signals).run();
}

}  // namespace dstrain
