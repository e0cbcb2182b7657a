// SPDX-License-Identifier: Apache-2.0
/// Node 0 during the run: mpirun's agents on one side, the nodes' connections on the other.
#include <poll.h>
#include <stdlib.h>  // NOLINT: mkdtemp is not in cstdlib's namespace

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>

#include "cluster/launch/rank_environment.hpp"
#include "cluster/meeting/meeting.hpp"
#include "core/log.hpp"

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

/// A private folder for the socket of the agents, removed with its owner.
class AgentFolder {
 public:
  AgentFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "dstrain-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw IoError("cannot make a folder", name, "is there space? TMPDIR names another place")
          .with_code(ExitCode::failed);
    path_ = name;
  }
  AgentFolder(const AgentFolder&) = delete;
  AgentFolder& operator=(const AgentFolder&) = delete;
  ~AgentFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string socket() const { return path_ / "meeting"; }

 private:
  std::filesystem::path path_;
};

/// One agent of mpirun, in place of an ssh.
struct Agent {
  Descriptor connection;
  FrameReader reader{most_message_bytes};
  std::optional<std::size_t> seat = {};  ///< of the node that it talks to
  bool orphaned = false;                 ///< its node is gone
};

class Relay {
 public:
  Relay(CompleteMeeting& meeting, const SeatedRanks& ranks, SignalQueue& signals)
      : meeting_(meeting), ranks_(ranks), signals_(signals), listener_(listen_at(folder_.socket())) {}

  int run(const LaunchCommand& command) {
    Child::Options options{.set = command.variables, .unset = {token_variable, token_file_variable}};
    options.set.emplace_back(meeting_variable, folder_.socket());
    Child mpirun(command.words, options);
    StopRequests stops;
    while (!mpirun.poll()) {
      wait();
      while (const int signal = signals_.next()) {
        if (signal != SIGCHLD) stops.pass_on(signal, mpirun);
      }
      take_agents();
      hear_agents();
      if (hear_nodes()) stops.pass_on(SIGTERM, mpirun);
      std::erase_if(agents_, [](const Agent& agent) { return agent.orphaned; });
      end_after_loss(mpirun);
    }
    const int code = *mpirun.poll();
    tell_everybody(code);
    return code;
  }

 private:
  void wait() {
    std::vector<pollfd> waiting = {{signals_.descriptor(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const auto& agent : agents_) waiting.push_back({agent.connection.get(), POLLIN, 0});
    for (const auto& one : meeting_.connections) {
      if (one) waiting.push_back({one->connection.get(), POLLIN, 0});
    }
    poll(waiting.data(), waiting.size(), 1000);
  }

  void take_agents() {
    for (;;) {
      std::string ignored;
      Descriptor connection = accept_one(listener_, ignored);
      if (!connection) return;
      agents_.push_back({std::move(connection)});
    }
  }

  void hear_agents() {
    std::erase_if(agents_, [&](Agent& agent) {
      const auto bytes = receive_some(agent.connection);
      if (!bytes) return false;
      if (bytes->empty()) {  // mpirun has ended it: so must end what it started
        if (agent.seat) send(*agent.seat, {MessageType::kill, {}});
        return true;
      }
      agent.reader.feed(*bytes);
      try {
        while (const auto piece = agent.reader.next()) start(agent, decode_message(*piece));
      } catch (const MeetingError& error) {
        log::warning("meeting: an agent of mpirun: {}", error.what());
        return true;
      }
      return false;
    });
  }

  /// "NODE\0COMMAND" to the node's connection.
  void start(Agent& agent, const MeetingMessage& message) {
    const auto zero = message.text.find('\0');
    if (message.type != MessageType::start || zero == std::string::npos) throw MeetingError("no start");
    const std::string name = message.text.substr(0, zero);
    const auto at = std::ranges::find(ranks_.placement, name, &HostDevices::name);
    if (at == ranks_.placement.end()) throw MeetingError(fmt::format("\"{}\" is no node of this meeting", name));
    agent.seat = ranks_.seats[static_cast<std::size_t>(at - ranks_.placement.begin())];
    if (!agent.seat) throw MeetingError(fmt::format("{} is node 0 itself", name));
    send(*agent.seat, {MessageType::start, message.text.substr(zero + 1)});
  }

  /// @return whether a node asks for the job's end
  bool hear_nodes() {
    bool stop = false;
    for (std::size_t seat = 1; seat < meeting_.connections.size(); ++seat) {
      auto& one = meeting_.connections[seat];
      if (!one) continue;
      try {
        const auto bytes = receive_some(one->connection);
        if (bytes && bytes->empty()) throw MeetingError("its connection has ended");
        if (bytes) one->session.feed(*bytes);
        while (const auto message = one->session.next()) {
          if (message->type == MessageType::stop) {
            log::warning("meeting: {} asks for the end of the run", name_of(seat));
            stop = true;
          } else {
            to_agent(seat, *message);
          }
        }
      } catch (const MeetingError& error) {
        lose(seat, error.what());
      }
    }
    return stop;
  }

  void to_agent(std::size_t seat, const MeetingMessage& message) {
    const auto at = std::ranges::find(agents_, std::optional(seat), &Agent::seat);
    if (at == agents_.end()) return;
    send_all(at->connection, framed(encode(message)));
    if (message.type == MessageType::exit) agents_.erase(at);
  }

  void send(std::size_t seat, const MeetingMessage& message) {
    auto& one = meeting_.connections[seat];
    if (one && !send_all(one->connection, one->session.seal(message))) lose(seat, "it takes no more messages");
  }

  [[nodiscard]] std::string name_of(std::size_t seat) const { return describe(*meeting_.guests.all()[seat]); }

  /// A node is gone: its agent ends, which mpirun takes as the end of the daemon there.
  void lose(std::size_t seat, std::string_view why) {
    log::warning("meeting: {} is gone: {}", name_of(seat), why);
    meeting_.connections[seat].reset();
    for (auto& agent : agents_) agent.orphaned = agent.orphaned || agent.seat == seat;
    if (!lost_) lost_ = Clock::now();
  }

  void end_after_loss(Child& mpirun) {
    constexpr auto patience = std::chrono::seconds(10);
    if (!lost_ || Clock::now() - *lost_ < patience) return;
    ended_once_ ? mpirun.kill_all() : mpirun.send(SIGTERM);
    ended_once_ = true;
    lost_ = Clock::now();
  }

  void tell_everybody(int code) {
    for (std::size_t seat = 1; seat < meeting_.connections.size(); ++seat)
      send(seat, {MessageType::done, code_text(code)});
    // They close when they have heard it. A node that does not is not waited for longer.
    const auto deadline = Clock::now() + std::chrono::seconds(5);
    const auto is_open = [](const auto& one) { return one.has_value(); };
    while (Clock::now() < deadline && std::ranges::any_of(meeting_.connections, is_open)) {
      wait();
      for (auto& one : meeting_.connections) {
        if (const auto bytes = one ? receive_some(one->connection) : std::nullopt; bytes && bytes->empty()) one.reset();
      }
    }
  }

  CompleteMeeting& meeting_;
  const SeatedRanks& ranks_;
  SignalQueue& signals_;
  AgentFolder folder_;
  Descriptor listener_;
  std::vector<Agent> agents_;
  std::optional<Clock::time_point> lost_;
  bool ended_once_ = false;
};

}  // namespace

int run_at_meeting(CompleteMeeting& meeting, const SeatedRanks& ranks, const LaunchCommand& command,
                   SignalQueue& signals) {
  return Relay(meeting, ranks, signals).run(command);
}

}  // namespace dstrain
