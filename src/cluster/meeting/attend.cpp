// SPDX-License-Identifier: Apache-2.0
/// The other nodes: they come to the meeting and run what node 0 sends.
#include <poll.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "cluster/launch/rank_environment.hpp"
#include "cluster/meeting/meeting.hpp"
#include "cluster/meeting/token.hpp"
#include "core/log.hpp"

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

double elapsed_s(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

bool ends_wait(int signal) { return signal == SIGINT || signal == SIGTERM || signal == SIGHUP; }

/// The outcome of one try to be let in.
struct Entrance {
  std::optional<Seated> seat;
  std::string problem;  ///< worth another try
  std::string refusal;  ///< not worth one
};

/// @throws ConfigError  another token
Entrance try_to_enter(const MeetingOptions& options, const NodeCard& card, double connect_s) {
  auto [connection, problem] = connect_to(options.master, options.port, connect_s);
  if (!connection) return {{}, problem, {}};
  Visitor visitor(options.token, random_bytes(), card);
  const auto start = Clock::now();
  try {
    while (!visitor.is_welcome() && visitor.refusal().empty()) {
      if (elapsed_s(start) > options.handshake_s) return {{}, "something there does not answer", {}};
      pollfd waiting{connection.get(), POLLIN, 0};
      poll(&waiting, 1, 250);
      const auto bytes = receive_some(connection);
      if (!bytes) continue;
      if (bytes->empty()) return {{}, "the connection was closed", {}};
      if (!send_all(connection, visitor.feed(*bytes))) return {{}, "the connection was closed", {}};
    }
  } catch (const WrongToken&) {
    throw ConfigError("this node's token is not node 0's", fmt::format("{}:{}", options.master, options.port),
                      "the same token file, or the same DSTRAIN_TOKEN, must be on every node");
  } catch (const MeetingError& error) {
    return {{}, error.what(), {}};
  }
  if (!visitor.refusal().empty()) return {{}, {}, visitor.refusal()};
  auto session = visitor.session();
  return {Seated{std::move(connection), std::move(session)}, {}, {}};
}

/// Tries until it is let in.
Seated enter(const MeetingOptions& options, const NodeCard& card, SignalQueue& signals) {
  const auto start = Clock::now();
  double next_notice = options.notice_s;
  for (;;) {
    auto entrance = try_to_enter(options, card, 5);
    if (entrance.seat) return std::move(*entrance.seat);
    if (!entrance.refusal.empty()) throw RefusedError(entrance.refusal, "meeting");
    const double waited = elapsed_s(start);
    const auto where = fmt::format("{}:{}", options.master, options.port);
    if (waited >= options.timeout_s) {
      throw RefusedError(fmt::format("node 0 did not answer for {:.0f} s: {}", waited, entrance.problem), where,
                         "does the same command run on node 0? Is its MASTER_PORT open to this node?");
    }
    if (waited >= next_notice) {
      log::warning("meeting: node 0 at {} does not answer: {} ({:.0f} s)", where, entrance.problem, waited);
      next_notice += options.notice_every_s;
    }
    pollfd waiting{signals.descriptor(), POLLIN, 0};
    poll(&waiting, 1, 500);
    while (const int signal = signals.next()) {
      if (ends_wait(signal)) throw RefusedError("stopped before node 0 answered", where);
    }
  }
}

/// The user's shell, as sshd would take it, where it is one; mpirun writes its commands for that.
std::string login_shell() {
  constexpr std::array<std::string_view, 7> shells = {"sh", "bash", "dash", "zsh", "ksh", "csh", "tcsh"};
  const passwd* user = getpwuid(geteuid());
  const std::filesystem::path shell = user != nullptr && user->pw_shell != nullptr ? user->pw_shell : "";
  const bool known = std::ranges::find(shells, shell.filename().string()) != shells.end();
  return known && access(shell.c_str(), X_OK) == 0 ? shell.string() : "/bin/sh";
}

/// What node 0 had this node run: Open MPI's daemon.
class Daemon {
 public:
  explicit Daemon(const std::string& command)
      : child_({login_shell(), "-c", command},
               {.unset = {token_variable, token_file_variable, meeting_variable}, .piped = true}) {}

  void add_to(std::vector<pollfd>& waiting) {
    for (auto* end : {&child_.out(), &child_.error()}) {
      if (*end) waiting.push_back({end->get(), POLLIN, 0});
    }
  }

  /// What it has written since, then its exit code once it has ended.
  std::vector<MeetingMessage> news() {
    std::vector<MeetingMessage> messages;
    const bool ended = child_.poll().has_value();
    drain(child_.out(), MessageType::out, messages);
    drain(child_.error(), MessageType::error, messages);
    if (ended && !told_) {
      told_ = true;
      messages.push_back({MessageType::exit, code_text(*child_.poll())});
    }
    return messages;
  }

  [[nodiscard]] bool has_ended() { return child_.poll().has_value(); }

  /// SIGTERM, on which Open MPI's daemon ends its ranks; SIGKILL to all of them later.
  void end() {
    if (!end_asked_) {
      child_.send(SIGTERM);
      end_asked_ = Clock::now();
    } else if (elapsed_s(*end_asked_) > 5) {
      child_.kill_all();
    }
  }
  [[nodiscard]] bool is_ending() const noexcept { return end_asked_.has_value(); }
  void kill() { child_.kill_all(); }

 private:
  static void drain(Descriptor& end, MessageType type, std::vector<MeetingMessage>& messages) {
    while (end) {
      pollfd waiting{end.get(), POLLIN, 0};
      if (poll(&waiting, 1, 0) <= 0) return;
      std::string bytes(16384, '\0');
      const auto got = read(end.get(), bytes.data(), bytes.size());
      if (got <= 0) return end.close();
      bytes.resize(static_cast<std::size_t>(got));
      messages.push_back({type, std::move(bytes)});
    }
  }

  Child child_;
  std::optional<Clock::time_point> end_asked_;
  bool told_ = false;
};

class Attendance {
 public:
  Attendance(Seated seat, const std::string& host, SignalQueue& signals)
      : seat_(std::move(seat)), host_(host), signals_(signals) {}

  int run() {
    while (!code_) {
      wait();
      take_signals();
      hear();
      if (daemon_) {
        for (const auto& message : daemon_->news()) send(message);
        if (daemon_->is_ending() && !daemon_->has_ended()) daemon_->end();
      }
    }
    finish_daemon();
    return *code_;
  }

 private:
  void wait() {
    std::vector<pollfd> waiting = {{signals_.descriptor(), POLLIN, 0}, {seat_.connection.get(), POLLIN, 0}};
    if (daemon_) daemon_->add_to(waiting);
    poll(waiting.data(), waiting.size(), 500);
  }

  void take_signals() {
    while (const int signal = signals_.next()) {
      if (!ends_wait(signal)) continue;
      if (++stops_ == 1) {  // all ranks end together: node 0 has mpirun tell them
        send({MessageType::stop, {}});
        continue;
      }
      code_ = 128 + signal;
      if (daemon_) daemon_->kill();
    }
  }

  void hear() {
    const auto bytes = receive_some(seat_.connection);
    if (bytes && bytes->empty()) return lose("the connection has ended");
    if (bytes) seat_.session.feed(*bytes);
    try {
      while (const auto message = seat_.session.next()) obey(*message);
    } catch (const MeetingError& error) {
      lose(error.what());
    }
  }

  void obey(const MeetingMessage& message) {
    if (message.type == MessageType::start) {
      if (daemon_ && !daemon_->has_ended()) throw MeetingError("a second daemon");
      daemon_ = std::make_unique<Daemon>(message.text);
    } else if (message.type == MessageType::kill) {
      if (daemon_) daemon_->end();
    } else if (message.type == MessageType::done) {
      const auto blank = std::min(message.text.find(' '), message.text.size());
      code_ = parse_code(std::string_view(message.text).substr(0, blank));
      if (*code_ != 0) log::info("meeting: the run ended with exit code {}; node 0 says more", *code_);
      if (blank < message.text.size()) throw RefusedError(message.text.substr(blank + 1), "node 0 of the meeting");
    } else {
      throw MeetingError("a message that is not node 0's to send");
    }
  }

  void send(const MeetingMessage& message) {
    if (!send_all(seat_.connection, seat_.session.seal(message))) lose("it takes no more messages");
  }

  [[noreturn]] void lose(std::string_view why) {
    if (daemon_) daemon_->kill();
    if (stops_ > 0 && !daemon_) throw RefusedError("stopped before all nodes were there", host_);
    throw CommError(fmt::format("node 0 is gone: {}", why), host_, "its own output says why");
  }

  /// The job is over: the daemon ends by itself, or is ended.
  void finish_daemon() {
    const auto start = Clock::now();
    while (daemon_ && !daemon_->has_ended() && elapsed_s(start) < 3) {
      wait();
      (void)daemon_->news();
    }
    if (daemon_ && !daemon_->has_ended()) daemon_->kill();
  }

  Seated seat_;
  std::string host_;
  SignalQueue& signals_;
  std::unique_ptr<Daemon> daemon_;
  std::optional<int> code_;
  int stops_ = 0;
};

}  // namespace

int attend_meeting(const MeetingOptions& options, const NodeCard& card, SignalQueue& signals) {
  adopt_orphans();
  log::info("meeting: {} goes to node 0 at {}:{}",
            card.node_rank < 0 ? "this node" : fmt::format("node {}", card.node_rank), options.master, options.port);
  auto seat = enter(options, card, signals);
  log::info("meeting: node 0 is there; the ranks start when all {} nodes are", card.nodes);
  return Attendance(std::move(seat), fmt::format("{}:{}", options.master, options.port), signals).run();
}

std::string refusal_at(const MeetingOptions& options, const NodeCard& card) {
  return try_to_enter(options, card, 1).refusal;
}

std::string machine_identity() {
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  std::error_code error;
  const auto network = std::filesystem::read_symlink("/proc/self/ns/net", error);
  if (boot.empty() || error) return to_hex(random_bytes());  // nobody shares what cannot be told
  return boot + " " + network.string();
}

}  // namespace dstrain
