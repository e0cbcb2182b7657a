// SPDX-License-Identifier: Apache-2.0
/// Collectives on the memory of GPUs, beside those on host memory.
#pragma once

#include <memory>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/node_map.hpp"

namespace dstrain {

/// The ranks that an exchange stays among.
enum class ExchangeScope : std::uint8_t {
  all,
  node,   ///< those of this rank's node
  across  ///< those with this rank's number on their nodes; all nodes have as many
};

/// How bytes travel between the GPUs of a group. Calls are queued on the stream; nothing is summed here.
class DeviceTransport {
 public:
  /// One buffer for one peer.
  struct Message {
    void* data = nullptr;
    std::int64_t bytes = 0;
    int peer = 0;
  };

  DeviceTransport() = default;
  DeviceTransport(const DeviceTransport&) = delete;
  DeviceTransport& operator=(const DeviceTransport&) = delete;
  virtual ~DeviceTransport() = default;

  /// All sends and receives of this rank at once; peers are ranks of the whole group, in `scope`. All messages of a
  /// call, on all ranks, have the same length; at most one goes from a rank to another. Collective.
  virtual void exchange(std::span<const Message> sends, std::span<const Message> receives, ExchangeScope scope,
                        const Stream& stream, const char* label) = 0;
  /// Every rank's shard to all, part by part; shards may stand in place. Collective.
  virtual void all_gather(std::span<const AllGatherPart> parts, const Stream& stream, const char* label) = 0;
  /// Collective.
  virtual void broadcast(View values, int root, const Stream& stream, const char* label) = 0;
  /// Memory of the GPU that calls of this transport reach without a copy, null where no memory is better than any
  /// other. Lives as long as the transport. Collective; equal bytes on all ranks.
  [[nodiscard]] virtual void* allocate(std::int64_t bytes) {
    static_cast<void>(bytes);
    return nullptr;
  }
  /// Collective ending; the destructor never waits.
  virtual void close() {}
  /// From any thread: whatever waits inside a call of this transport ends. Local.
  virtual void abort() noexcept {}
};

/// out[i] = sources[0][i] + sources[1][i] + ... from left to right in f32, or with `add` out[i] + sources[0][i] + ...;
/// queued on the stream. Sources are f32, bf16 or f16; `out` may be none of them. Kernels lie above this folder.
using DeviceFold = void (*)(View out, std::span<const ConstView> sources, bool add, const Stream& stream);

/// A Communicator whose calls on a GPU's streams go from GPU to GPU; all others go to the host's communicator.
///
/// Sums on GPUs are those of the host: contributions are brought to the owner of a slice and added in rank order by
/// kernels, so that the same numbers come out bit by bit in every run and for any number of ranks. An all-to-all moves
/// what a ring's reduce_scatter moves, (size - 1) / size of `full` per rank. With `two_level`, where all nodes have as
/// many ranks and all contribute, the ranks of a node first add up what goes to each node, so that a slice leaves a
/// node once. Calls on GPUs share the scratch memory: one on another stream than the last starts behind it.
class DeviceCommunicator final : public Communicator {
 public:
  /// @param host       control traffic, and calls on host memory; owned
  /// @param transport  null: one rank, nothing travels
  /// @param scratch_bytes  device memory for contributions on their way, taken here
  /// @param node_of_rank  ranks with equal labels share a node; empty: all do
  DeviceCommunicator(std::unique_ptr<Communicator> host, std::unique_ptr<DeviceTransport> transport, DeviceFold fold,
                     std::int64_t scratch_bytes = default_scratch_bytes, const std::vector<int>& node_of_rank = {});
  ~DeviceCommunicator() override;

  static constexpr std::int64_t default_scratch_bytes = std::int64_t{64} << 20;

  [[nodiscard]] int rank() const noexcept override { return host_->rank(); }
  [[nodiscard]] int size() const noexcept override { return host_->size(); }
  using Communicator::all_gather;
  using Communicator::reduce_scatter;
  void reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level, Stream stream,
                      const char* label) override;
  void all_gather(std::span<const AllGatherPart> parts, Stream stream, const char* label) override;
  /// Values on a GPU are brought to the host and back: for small counts.
  void all_reduce(View values, ReduceOp op, Stream stream, const char* label) override;
  void broadcast(View values, int root, Stream stream, const char* label) override;
  void barrier(const char* label) override { host_->barrier(label); }
  void send(ConstView values, int to, const char* label) override { host_->send(values, to, label); }
  void recv(View values, int from, const char* label) override { host_->recv(values, from, label); }
  /// Memory of the GPU: what plans for a GPU enter as `registered`.
  [[nodiscard]] void* allocate_registered(std::int64_t bytes) override;
  void set_timeout(double seconds) override { host_->set_timeout(seconds); }
  void close() override;
  void abort(std::string_view reason, int exit_code) noexcept override;

 private:
  void reduce_part(const ReduceScatterPart& part, int contributors, const Stream& stream, const char* label);
  void reduce_part_two_level(const ReduceScatterPart& part, const Stream& stream, const char* label);
  [[nodiscard]] bool takes_two_levels(int contributors) const noexcept;

  std::unique_ptr<Communicator> host_;
  std::unique_ptr<DeviceTransport> transport_;
  DeviceFold fold_;
  NodeMap nodes_;
  std::vector<void*> registered_;  ///< of allocate_registered, where the transport has none of its own
  void* scratch_ = nullptr;
  std::int64_t scratch_bytes_ = 0;
  Event scratch_free_;
  // Reused, so that a step allocates nothing.
  std::vector<DeviceTransport::Message> sends_;
  std::vector<DeviceTransport::Message> receives_;
  std::vector<ConstView> sources_;
  std::vector<double> values_;
};

/// Ranks that share a GPU, or have no NCCL: bytes go through pinned host memory and the host's communicator.
/// Collective (none of it communicates yet).
/// @param piece_bytes  pinned memory in each direction
std::unique_ptr<DeviceTransport> make_staged_transport(Communicator& host,
                                                       std::int64_t piece_bytes = std::int64_t{8} << 20);

/// The ranks that make NCCL's ids: one for every 64 ranks, since joining by one id passes all through one rank, evenly
/// spread. Pure.
std::vector<int> nccl_id_makers(int ranks);

/// NCCL between GPUs of their own (comm/nccl_transport.cpp; builds with NCCL). Collective over `host`: the ids go to
/// all, then every rank joins; a rank that fails is named on all. Where nodes have several ranks each, the groups of a
/// node and across nodes are split off the one that all are in.
/// @param node_of_rank  as DeviceCommunicator's
std::unique_ptr<DeviceTransport> make_nccl_transport(Communicator& host, Device device, double timeout_s,
                                                     const std::vector<int>& node_of_rank);

/// `host` for GPUs: with NCCL where each rank has a GPU of its own, staged where they share. Collective.
/// @param timeout_s  of joining
/// @param node_of_rank  as DeviceCommunicator's
std::unique_ptr<Communicator> make_device_communicator(std::unique_ptr<Communicator> host, Device device, bool shared,
                                                       DeviceFold fold, double timeout_s,
                                                       const std::vector<int>& node_of_rank = {});

}  // namespace dstrain
