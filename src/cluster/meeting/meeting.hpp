// SPDX-License-Identifier: Apache-2.0
/// Starting ranks on several nodes without ssh and without a scheduler: the same command runs on every node, the nodes
/// meet at one of them, and Open MPI starts its daemons through the connections of that meeting.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cluster/launch/child.hpp"
#include "cluster/launch/launch_command.hpp"
#include "cluster/meeting/guests.hpp"
#include "cluster/meeting/protocol.hpp"
#include "cluster/meeting/sockets.hpp"

namespace dstrain {

/// The variable that tells an agent where its meeting is: the path of a socket.
inline constexpr const char* meeting_variable = "DSTRAIN_MEETING";

struct MeetingOptions {
  std::string token;
  std::string master;  ///< the host of the meeting: node 0
  int port = 29500;
  double timeout_s = 600;  ///< after which the nodes that came go again
  double notice_s = 20;    ///< after which those who are missing are named first
  double notice_every_s = 30;
  double handshake_s = 10;  ///< for a visitor to say who it is
};

/// A node that was let in.
struct Seated {
  Descriptor connection;
  Session session;
};

/// Everybody who came, by seat (Guests::all); seat 0, the host itself, has no connection.
struct CompleteMeeting {
  Guests guests;
  std::vector<std::optional<Seated>> connections;
  std::string own_address;  ///< by which the others reached this host; empty where nobody came from outside
};

/// Node 0: listens until all nodes are there, then no longer. Local.
/// @throws RefusedError  the port is taken, a node's number is announced twice, or nodes are missing after the time
CompleteMeeting gather_nodes(const MeetingOptions& options, const NodeCard& own, SignalQueue& signals);

/// Node 0: runs mpirun, passing its daemons to the nodes, and tells everybody how it ended. Local.
/// @param command  the command and its variables, for a complete meeting's ranks
/// @return its exit code
int run_at_meeting(CompleteMeeting& meeting, const SeatedRanks& ranks, const LaunchCommand& command,
                   SignalQueue& signals);

/// Every other node: goes to the meeting, runs what it is given, and ends as the job ends. Local.
/// @return the job's exit code
/// @throws RefusedError  node 0 cannot be reached in time or does not let this node in; ConfigError  another token;
///         CommError  node 0 vanished
int attend_meeting(const MeetingOptions& options, const NodeCard& card, SignalQueue& signals);

/// Whether somebody who has the token holds the meeting at `options.master`, and will not have this node: the reason.
/// Empty where nobody answers. Local.
std::string refusal_at(const MeetingOptions& options, const NodeCard& card);

/// What mpirun starts in place of ssh: hands the command for a node to the meeting and relays what comes back.
/// @param words  [options] NODE COMMAND...
/// @return the command's exit code
int run_agent(const std::vector<std::string>& words);

/// The same for two processes exactly where they share a machine and its network.
std::string machine_identity();

}  // namespace dstrain
