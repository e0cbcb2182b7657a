// SPDX-License-Identifier: Apache-2.0
/// NCCL between GPUs: one communicator of all ranks and those split off it for a node and across nodes, made without
/// blocking and watched while they are made and used, so that a rank that is gone ends in an error here and not in
/// silence. (Declared in comm/device_communicator.hpp.)
#include <cuda_runtime.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "comm/device_communicator.hpp"
#include "core/device_runtime.hpp"

namespace dstrain {
namespace {

[[noreturn]] void fail(const char* call, ncclResult_t status, ncclComm_t comm) {
  const char* more = comm == nullptr ? "" : ncclGetLastError(comm);
  throw CommError(fmt::format("{} failed: {}{}{}", call, ncclGetErrorString(status), *more == '\0' ? "" : ": ", more));
}

cudaStream_t native(const Stream& stream) { return static_cast<cudaStream_t>(stream.native()); }

/// One communicator and whether it is still whole. Ending it waits for the others, unless it is aborted.
class NcclGroup {
 public:
  NcclGroup() = default;
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;
  ~NcclGroup() { abort(); }

  void set(ncclComm_t comm) noexcept { comm_ = comm; }
  [[nodiscard]] ncclComm_t get() const noexcept { return comm_; }
  [[nodiscard]] ncclComm_t take() noexcept { return comm_.exchange(nullptr); }
  void abort() noexcept {
    if (ncclComm_t comm = take()) ncclCommAbort(comm);
  }

 private:
  std::atomic<ncclComm_t> comm_{nullptr};
};

ncclConfig_t config_of() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

class NcclTransport final : public DeviceTransport {
 public:
  NcclTransport(std::span<ncclUniqueId> ids, int rank, int size, Device device, double timeout_s,
                const std::vector<int>& node_of_rank)
      : nodes_(node_of_rank.empty() ? std::vector<int>(static_cast<std::size_t>(size), 0) : node_of_rank),
        rank_(rank),
        timeout_s_(timeout_s) {
    require_device_runtime().use(device.index);
    join(ids, size);
    // Groups of one, or the group of all, are none of their own.
    if (nodes_.node_count() == 1 || nodes_.smallest_node() == 1 || nodes_.smallest_node() != nodes_.largest_node())
      return;
    const int node = nodes_.node(rank);
    const int number = nodes_.local_rank(rank);
    split(node_, node, number);
    split(across_, number, node);
  }

  ~NcclTransport() override { release(); }

  void exchange(std::span<const Message> sends, std::span<const Message> receives, ExchangeScope scope,
                const Stream& stream, const char* label) override {
    const NcclGroup& group = group_of(scope);
    ncclComm_t comm = whole(group, label);
    check(group, ncclGroupStart(), label);
    for (const Message& m : sends)
      check(group,
            ncclSend(m.data, static_cast<std::size_t>(m.bytes), ncclInt8, peer_in(scope, m.peer), comm, native(stream)),
            label);
    for (const Message& m : receives)
      check(group,
            ncclRecv(m.data, static_cast<std::size_t>(m.bytes), ncclInt8, peer_in(scope, m.peer), comm, native(stream)),
            label);
    end_calls(group, label);
  }

  void all_gather(std::span<const AllGatherPart> parts, const Stream& stream, const char* label) override {
    ncclComm_t comm = whole(all_, label);
    check(all_, ncclGroupStart(), label);
    for (const auto& part : parts) {
      if (part.shard.count == 0) continue;
      check(all_,
            ncclAllGather(part.shard.data, part.full.data, static_cast<std::size_t>(part.shard.bytes()), ncclInt8, comm,
                          native(stream)),
            label);
    }
    end_calls(all_, label);
  }

  void broadcast(View values, int root, const Stream& stream, const char* label) override {
    if (values.count == 0) return;
    check(all_,
          ncclBroadcast(values.data, values.data, static_cast<std::size_t>(values.bytes()), ncclInt8, root,
                        whole(all_, label), native(stream)),
          label);
    wait(all_, label);
  }

  void* allocate(std::int64_t bytes) override {
    Registered memory;
    check(all_, ncclMemAlloc(&memory.at, static_cast<std::size_t>(bytes)), "ncclMemAlloc");
    registered_.push_back(memory);
    Registered& kept = registered_.back();
    ncclComm_t comm = whole(all_, "register memory");
    // At the same place of the same size on all ranks: what NCCL's symmetric kernels ask for. Where it knows none (a
    // null window) the memory is registered for single calls.
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
    check(all_,
          ncclCommWindowRegister(comm, kept.at, static_cast<std::size_t>(bytes), &kept.window, NCCL_WIN_COLL_SYMMETRIC),
          "ncclCommWindowRegister");
    wait(all_, "ncclCommWindowRegister");
    if (kept.window != nullptr) return kept.at;
#endif
    check(all_, ncclCommRegister(comm, kept.at, static_cast<std::size_t>(bytes), &kept.handle), "ncclCommRegister");
    wait(all_, "ncclCommRegister");
    return kept.at;
  }

  void close() override {
    deregister();
    for (NcclGroup* group : {&across_, &node_, &all_}) finalize(*group);
    release();
  }

  void abort() noexcept override {
    for (NcclGroup* group : {&across_, &node_, &all_}) group->abort();
  }

 private:
  struct Registered {
    void* at = nullptr;
    void* handle = nullptr;  ///< of ncclCommRegister
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
    ncclWindow_t window = nullptr;
#endif
  };

  void join(std::span<ncclUniqueId> ids, int size) {
    ncclConfig_t config = config_of();
    ncclComm_t comm = nullptr;
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 23, 0)
    const ncclResult_t status =
        ids.size() == 1
            ? ncclCommInitRankConfig(&comm, size, ids[0], rank_, &config)
            : ncclCommInitRankScalable(&comm, size, rank_, static_cast<int>(ids.size()), ids.data(), &config);
#else
    const ncclResult_t status = ncclCommInitRankConfig(&comm, size, ids[0], rank_, &config);
#endif
    all_.set(comm);
    check(all_, status, "joining the GPUs");
    wait(all_, "joining the GPUs");
  }

  void split(NcclGroup& group, int color, int key) {
    ncclConfig_t config = config_of();
    config.splitShare = 1;  // the connections of the group that it is split off
    ncclComm_t comm = nullptr;
    const ncclResult_t status = ncclCommSplit(all_.get(), color, key, &comm, &config);
    check(all_, status, "ncclCommSplit");
    wait(all_, "ncclCommSplit");
    group.set(comm);
    wait(group, "ncclCommSplit");
  }

  [[nodiscard]] const NcclGroup& group_of(ExchangeScope scope) const noexcept {
    if (scope == ExchangeScope::all) return all_;
    return scope == ExchangeScope::node ? node_ : across_;
  }
  /// A rank of the whole group in the group of a scope.
  [[nodiscard]] int peer_in(ExchangeScope scope, int peer) const {
    if (scope == ExchangeScope::all) return peer;
    return scope == ExchangeScope::node ? nodes_.local_rank(peer) : nodes_.node(peer);
  }
  static ncclComm_t whole(const NcclGroup& group, const char* call) {
    ncclComm_t comm = group.get();
    if (comm == nullptr) throw CommError(fmt::format("{}: the group was aborted", call));
    return comm;
  }

  void finalize(NcclGroup& group) const {
    ncclComm_t comm = group.take();
    if (comm == nullptr) return;
    ncclResult_t status = ncclCommFinalize(comm);
    const auto end = deadline();
    while (status == ncclInProgress && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      if (ncclCommGetAsyncError(comm, &status) != ncclSuccess) break;
    }
    if (status == ncclSuccess) {
      ncclCommDestroy(comm);
    } else {
      ncclCommAbort(comm);
      fail("ncclCommFinalize", status, nullptr);
    }
  }

  void deregister() noexcept {
    ncclComm_t comm = all_.get();
    for (Registered& memory : registered_) {
      if (comm == nullptr) break;
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
      if (memory.window != nullptr) static_cast<void>(ncclCommWindowDeregister(comm, memory.window));
      memory.window = nullptr;
#endif
      if (memory.handle != nullptr) static_cast<void>(ncclCommDeregister(comm, memory.handle));
      memory.handle = nullptr;
    }
  }

  /// Without waiting for anybody.
  void release() noexcept {
    for (NcclGroup* group : {&across_, &node_, &all_}) group->abort();
    for (const Registered& memory : registered_) static_cast<void>(ncclMemFree(memory.at));
    registered_.clear();
  }

  [[nodiscard]] std::chrono::steady_clock::time_point deadline() const {
    const double seconds = timeout_s_ > 0 ? timeout_s_ : 1e6;
    return std::chrono::steady_clock::now() +
           std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
  }

  static void check(const NcclGroup& group, ncclResult_t status, const char* call) {
    if (status != ncclSuccess && status != ncclInProgress) fail(call, status, group.get());
  }

  void end_calls(const NcclGroup& group, const char* label) const {
    check(group, ncclGroupEnd(), label);
    wait(group, label);
  }

  /// Until NCCL has taken the call in (it runs on the stream afterwards), or an error shows.
  void wait(const NcclGroup& group, const char* call) const {
    const auto end = deadline();
    for (int turn = 0;; ++turn) {
      ncclComm_t comm = whole(group, call);
      ncclResult_t status = ncclSuccess;
      const ncclResult_t asked = ncclCommGetAsyncError(comm, &status);
      if (asked != ncclSuccess) fail("ncclCommGetAsyncError", asked, comm);
      if (status == ncclSuccess) return;
      if (status != ncclInProgress) fail(call, status, comm);
      if (std::chrono::steady_clock::now() > end)
        throw CommError(fmt::format("{}: rank {} waits since {:.0f} s for the others", call, rank_, timeout_s_));
      if (turn > 100) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  NodeMap nodes_;
  int rank_;
  double timeout_s_;
  std::vector<Registered> registered_;
  NcclGroup all_;
  NcclGroup node_;    ///< null where the two levels are one
  NcclGroup across_;  ///< likewise
};

}  // namespace

std::unique_ptr<DeviceTransport> make_nccl_transport(Communicator& host, Device device, double timeout_s,
                                                     const std::vector<int>& node_of_rank) {
  const std::vector<int> makers = nccl_id_makers(host.size());
  std::vector<ncclUniqueId> ids(makers.size());
  on_all_ranks(host, "ask NCCL for an id", [&] {
    for (std::size_t i = 0; i < makers.size(); ++i) {
      if (host.rank() != makers[i]) continue;
      const ncclResult_t status = ncclGetUniqueId(&ids[i]);
      if (status != ncclSuccess) fail("ncclGetUniqueId", status, nullptr);
    }
  });
  for (std::size_t i = 0; i < makers.size(); ++i)
    host.broadcast(View(&ids[i], static_cast<std::int64_t>(sizeof ids[i]), DType::u8), makers[i], Stream{}, "NCCL id");
  std::unique_ptr<DeviceTransport> transport;
  on_all_ranks(host, "join the GPUs", [&] {
    transport =
        std::make_unique<NcclTransport>(std::span(ids), host.rank(), host.size(), device, timeout_s, node_of_rank);
  });
  return transport;
}

}  // namespace dstrain
