// SPDX-License-Identifier: Apache-2.0
/// From GPU to GPU by way of pinned host memory and the host's communicator, piece by piece, waiting for each: for
/// ranks that share a GPU. (Declared in comm/device_communicator.hpp.)
#include <algorithm>

#include "comm/device_communicator.hpp"
#include "core/device_runtime.hpp"

namespace dstrain {
namespace {

class StagedTransport final : public DeviceTransport {
 public:
  StagedTransport(Communicator& host, std::int64_t piece_bytes) : host_(host) {
    // A row of one slot for every rank from every rank: what the largest call gathers.
    const std::int64_t ranks = host.size();
    slot_bytes_ = std::max<std::int64_t>(piece_bytes / (ranks * ranks) / 64 * 64, 4096);
    own_ = static_cast<char*>(require_device_runtime().allocate_pinned(slot_bytes_ * ranks));
    all_ = static_cast<char*>(require_device_runtime().allocate_pinned(slot_bytes_ * ranks * ranks));
  }
  ~StagedTransport() override {
    require_device_runtime().release_pinned(own_);
    require_device_runtime().release_pinned(all_);
  }

  void exchange(std::span<const Message> sends, std::span<const Message> receives, ExchangeScope /*scope*/,
                const Stream& stream, const char* label) override {
    const std::int64_t bytes = !sends.empty() ? sends[0].bytes : !receives.empty() ? receives[0].bytes : 0;
    for (const auto& messages : {sends, receives}) {
      for (const Message& m : messages)
        if (m.bytes != bytes)
          throw ShapeError(fmt::format("\"{}\": messages of {} and {} bytes", label, bytes, m.bytes));
    }
    const int ranks = host_.size();
    for (std::int64_t begin = 0; begin < bytes; begin += slot_bytes_) {
      const std::int64_t n = std::min(slot_bytes_, bytes - begin);
      for (const Message& m : sends) copy_bytes(stream, own_ + m.peer * n, static_cast<char*>(m.data) + begin, n);
      gather(n * ranks, stream, label);
      for (const Message& m : receives) {
        const char* slot = all_ + (m.peer * ranks + host_.rank()) * n;
        copy_bytes(stream, static_cast<char*>(m.data) + begin, slot, n);
      }
      stream.synchronize();  // the memory is filled again
    }
  }

  void all_gather(std::span<const AllGatherPart> parts, const Stream& stream, const char* label) override {
    for (const auto& part : parts) {
      const std::int64_t bytes = part.shard.bytes();
      for (std::int64_t begin = 0; begin < bytes; begin += slot_bytes_) {
        const std::int64_t n = std::min(slot_bytes_, bytes - begin);
        copy_bytes(stream, own_, part.shard.as<char>() + begin, n);
        gather(n, stream, label);
        for (int r = 0; r < host_.size(); ++r)
          copy_bytes(stream, part.full.as<char>() + r * bytes + begin, all_ + r * n, n);
        stream.synchronize();
      }
    }
  }

  void broadcast(View values, int root, const Stream& stream, const char* label) override {
    for (std::int64_t begin = 0; begin < values.bytes(); begin += slot_bytes_) {
      const std::int64_t n = std::min(slot_bytes_, values.bytes() - begin);
      char* at = values.as<char>() + begin;
      if (host_.rank() == root) copy_bytes(stream, own_, at, n);
      stream.synchronize();
      host_.broadcast(View(own_, n, DType::u8), root, Stream{}, label);
      if (host_.rank() != root) copy_bytes(stream, at, own_, n);
      stream.synchronize();
    }
  }

 private:
  /// The first `n` bytes of every rank's own_ into all_, one rank behind the other.
  void gather(std::int64_t n, const Stream& stream, const char* label) {
    stream.synchronize();
    const AllGatherPart part{ConstView(own_, n, DType::u8), View(all_, n * host_.size(), DType::u8)};
    host_.all_gather(std::span(&part, 1), Stream{}, label);
  }

  Communicator& host_;
  std::int64_t slot_bytes_ = 0;
  char* own_ = nullptr;
  char* all_ = nullptr;
};

}  // namespace

std::unique_ptr<DeviceTransport> make_staged_transport(Communicator& host, std::int64_t piece_bytes) {
  return std::make_unique<StagedTransport>(host, piece_bytes);
}

}  // namespace dstrain
