// SPDX-License-Identifier: Apache-2.0
/// NCCL between GPUs: one communicator, made without blocking and watched while it is made and used, so that a rank
/// that is gone ends in an error here and not in silence. (Declared in comm/device_communicator.hpp.)
#include <cuda_runtime.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "comm/device_communicator.hpp"
#include "core/device_runtime.hpp"

namespace dstrain {
namespace {

[[noreturn]] void fail(const char* call, ncclResult_t status, ncclComm_t comm) {
  const char* more = comm == nullptr ? "" : ncclGetLastError(comm);
  throw CommError(fmt::format("{} failed: {}{}{}", call, ncclGetErrorString(status), *more == '\0' ? "" : ": ", more));
}

cudaStream_t native(const Stream& stream) { return static_cast<cudaStream_t>(stream.native()); }

class NcclTransport final : public DeviceTransport {
 public:
  NcclTransport(const ncclUniqueId& id, int rank, int size, Device device, double timeout_s)
      : rank_(rank), timeout_s_(timeout_s) {
    require_device_runtime().use(device.index);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    const ncclResult_t status = ncclCommInitRankConfig(&comm, size, id, rank, &config);
    comm_ = comm;
    try {
      check(status, "ncclCommInitRankConfig");
      wait("ncclCommInitRankConfig");
    } catch (...) {
      abort();
      throw;
    }
  }

  // Ending a communicator waits for the others, unless it is aborted: a fallback for those who did not close().
  ~NcclTransport() override { abort(); }

  void exchange(std::span<const Message> sends, std::span<const Message> receives, const Stream& stream,
                const char* label) override {
    check(ncclGroupStart(), label);
    for (const Message& m : sends)
      check(ncclSend(m.data, static_cast<std::size_t>(m.bytes), ncclInt8, m.peer, comm_, native(stream)), label);
    for (const Message& m : receives)
      check(ncclRecv(m.data, static_cast<std::size_t>(m.bytes), ncclInt8, m.peer, comm_, native(stream)), label);
    end_group(label);
  }

  void all_gather(std::span<const AllGatherPart> parts, const Stream& stream, const char* label) override {
    check(ncclGroupStart(), label);
    for (const auto& part : parts) {
      if (part.shard.count == 0) continue;
      check(ncclAllGather(part.shard.data, part.full.data, static_cast<std::size_t>(part.shard.bytes()), ncclInt8,
                          comm_, native(stream)),
            label);
    }
    end_group(label);
  }

  void broadcast(View values, int root, const Stream& stream, const char* label) override {
    if (values.count == 0) return;
    check(ncclBroadcast(values.data, values.data, static_cast<std::size_t>(values.bytes()), ncclInt8, root, comm_,
                        native(stream)),
          label);
    wait(label);
  }

  void close() override {
    ncclComm_t comm = comm_.exchange(nullptr);
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

  void abort() noexcept override {
    if (ncclComm_t comm = comm_.exchange(nullptr)) ncclCommAbort(comm);
  }

 private:
  [[nodiscard]] std::chrono::steady_clock::time_point deadline() const {
    const double seconds = timeout_s_ > 0 ? timeout_s_ : 1e6;
    return std::chrono::steady_clock::now() +
           std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
  }

  void check(ncclResult_t status, const char* call) const {
    if (status != ncclSuccess && status != ncclInProgress) fail(call, status, comm_);
  }

  void end_group(const char* label) {
    check(ncclGroupEnd(), label);
    wait(label);
  }

  /// Until NCCL has taken the call in (it runs on the stream afterwards), or an error shows.
  void wait(const char* call) const {
    const auto end = deadline();
    for (int turn = 0;; ++turn) {
      ncclComm_t comm = comm_;
      if (comm == nullptr) throw CommError(fmt::format("{}: the group was aborted", call));
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

  std::atomic<ncclComm_t> comm_{nullptr};
  int rank_;
  double timeout_s_;
};

}  // namespace

std::unique_ptr<DeviceTransport> make_nccl_transport(Communicator& host, Device device, double timeout_s) {
  ncclUniqueId id{};
  on_all_ranks(host, "ask NCCL for an id", [&] {
    if (host.rank() != 0) return;
    const ncclResult_t status = ncclGetUniqueId(&id);
    if (status != ncclSuccess) fail("ncclGetUniqueId", status, nullptr);
  });
  host.broadcast(View(&id, static_cast<std::int64_t>(sizeof id), DType::u8), 0, Stream{}, "NCCL id");
  std::unique_ptr<DeviceTransport> transport;
  on_all_ranks(host, "join the GPUs",
               [&] { transport = std::make_unique<NcclTransport>(id, host.rank(), host.size(), device, timeout_s); });
  return transport;
}

}  // namespace dstrain
