// SPDX-License-Identifier: Apache-2.0
/// Collectives of host memory over MPI, with shared windows inside a node.
#pragma once

#include <memory>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/flight_recorder.hpp"

namespace dstrain {

struct MpiOptions {
  /// Shared memory per rank through which buffers go that are not registered. Half as much again and more is plain
  /// memory where messages go between nodes (fixed_communicator_bytes()).
  std::int64_t staging_bytes = std::int64_t{4} << 20;
  bool shared_windows = true;  ///< false: messages only (also where /dev/shm is too small)
  double timeout_s = 0;        ///< as set_timeout()
  /// For tests of the ways between nodes on one machine: ranks with equal numbers count as one node. Empty: as it is.
  std::vector<int> pretend_node_of_rank;
};

/// All ranks of the job, or a part of them. One thread at a time may call it.
///
/// Inside a node the ranks load from each other's memory (MPI-3 shared windows): registered buffers without a copy,
/// others through a bounded staging window. Between nodes slices travel in bounded pieces, and their owner sums them.
/// Every call stands in the flight recorder from its begin to its end.
class MpiCommunicator final : public Communicator {
 public:
  /// All ranks of the job. Collective; MPI must be initialized.
  /// @throws CommError  on failures of MPI; where shared windows cannot be had, messages are used instead
  explicit MpiCommunicator(const MpiOptions& options = {});
  ~MpiCommunicator() override;

  [[nodiscard]] const FlightRecorder& recorder() const noexcept;
  /// False where everything goes by messages. The same on all ranks.
  [[nodiscard]] bool uses_shared_windows() const noexcept;
  [[nodiscard]] int node_count() const noexcept;
  /// Bytes this rank holds for staging and scratch, registered buffers aside. Fixed at construction.
  [[nodiscard]] std::int64_t fixed_bytes() const noexcept;

  [[nodiscard]] int rank() const noexcept override;
  [[nodiscard]] int size() const noexcept override;
  using Communicator::all_gather;
  using Communicator::reduce_scatter;
  void reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level, Stream stream,
                      const char* label) override;
  void all_gather(std::span<const AllGatherPart> parts, Stream stream, const char* label) override;
  void all_reduce(View values, ReduceOp op, Stream stream, const char* label) override;
  void broadcast(View values, int root, Stream stream, const char* label) override;
  void barrier(const char* label) override;
  void send(ConstView values, int to, const char* label) override;
  void recv(View values, int from, const char* label) override;
  [[nodiscard]] void* allocate_registered(std::int64_t bytes) override;
  void set_timeout(double seconds) override;
  void close() override;
  void abort(std::string_view reason, int exit_code) noexcept override;

 private:
  struct Impl;
  class Collective;
  std::unique_ptr<Impl> impl_;
};

/// What fixed_bytes() will be for a rank of such a job. Local.
/// @param ranks_per_node  1: nobody shares memory
std::int64_t fixed_communicator_bytes(const MpiOptions& options, int world_size, int ranks_per_node);

/// The communicator of the whole job: Local for one rank, else Mpi; wrapped by Checked where DSTRAIN_CHECKED is on.
///
/// Collective. The environment can change `options`: DSTRAIN_SHARED_WINDOWS=0, and for tests
/// DSTRAIN_PRETEND_RANKS_PER_NODE=k.
/// @throws ConfigError  a value of these variables that is none
std::unique_ptr<Communicator> make_world_communicator(MpiOptions options = {});

}  // namespace dstrain
