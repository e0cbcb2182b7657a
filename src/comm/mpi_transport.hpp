// SPDX-License-Identifier: Apache-2.0
/// What the collectives of MpiCommunicator work with: the group, its nodes, fixed scratch memory, requests in flight.
/// Only for the .cpp files of comm/.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/mpi_handles.hpp"
#include "comm/node_group.hpp"
#include "comm/node_map.hpp"

namespace dstrain {

/// Nonblocking messages of one piece. Room for all is made once; a step allocates nothing.
class Requests {
 public:
  explicit Requests(std::size_t capacity) { requests_.reserve(capacity); }
  void send(const void* data, std::int64_t bytes, int to, MPI_Comm comm);
  void recv(void* data, std::int64_t bytes, int from, MPI_Comm comm);
  /// Waits for all of them. @throws CommError
  void wait();

 private:
  std::vector<MPI_Request> requests_;
};

/// Two of each: one piece is on its way while the one before is summed.
struct Scratch {
  static constexpr int halves = 5;
  std::vector<char> received[2];
  std::vector<char> partial[2];
  std::vector<char> own;
};

/// Everything here is set up once and equal on all ranks where it decides about messages.
struct Transport {
  MpiComm comm;
  int rank = 0;
  int size = 1;
  NodeMap map{{}};
  std::unique_ptr<NodeGroup> node;  ///< null where this rank shares memory with nobody
  std::int64_t half_bytes = 0;
  Scratch scratch;  ///< half_bytes each; empty where all ranks share one node
  Requests receives[2] = {Requests(0), Requests(0)};
  Requests sends[2] = {Requests(0), Requests(0)};
  std::vector<const void*> sources;
  std::vector<SharedPlace> places;  ///< [buffer of the exchange][local rank]
  std::vector<int> slot_of;         ///< of far-away ranks: their place among those that one helper here deals with

  [[nodiscard]] int my_node() const { return map.node(rank); }
  [[nodiscard]] int local_size() const { return map.local_size(my_node()); }
  /// All ranks share memory: no message is needed.
  [[nodiscard]] bool one_node() const { return node != nullptr && map.node_count() == 1; }
  [[nodiscard]] std::span<const int> local_ranks() const { return map.members(my_node()); }

  /// Where every local rank has the buffers of this exchange; `own` is what this rank tells. Collective over the node.
  void exchange_places(std::span<const SharedPlace> own);
  [[nodiscard]] SharedPlace place(std::size_t buffer, int local) const {
    return places[buffer * static_cast<std::size_t>(local_size()) + static_cast<std::size_t>(local)];
  }
  [[nodiscard]] SharedPlace locate(ConstView view) const {
    return node == nullptr || view.data == nullptr ? SharedPlace{} : node->locate(view.data, view.bytes());
  }
};

// The collectives, for arguments that are checked already; contracts as in Communicator.
void reduce_scatter(Transport& transport, std::span<const ReduceScatterPart> parts, int contributors, bool two_level);
void all_gather(Transport& transport, std::span<const AllGatherPart> parts);
void all_reduce(Transport& transport, View values, ReduceOp op);
void broadcast(Transport& transport, View values, int root);

}  // namespace dstrain
