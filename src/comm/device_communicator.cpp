// SPDX-License-Identifier: Apache-2.0
#include "comm/device_communicator.hpp"

#include <algorithm>

#include "comm/shape_checks.hpp"
#include "core/device_runtime.hpp"

namespace dstrain {

DeviceCommunicator::DeviceCommunicator(std::unique_ptr<Communicator> host, std::unique_ptr<DeviceTransport> transport,
                                       DeviceFold fold, std::int64_t scratch_bytes)
    : host_(std::move(host)), transport_(std::move(transport)), fold_(fold), scratch_bytes_(scratch_bytes) {
  DSTRAIN_CHECK(transport_ != nullptr || host_->size() == 1, "{} ranks without a way between their GPUs",
                host_->size());
  DSTRAIN_CHECK(scratch_bytes >= 256 * host_->size(), "{} bytes of scratch memory for {} ranks", scratch_bytes,
                host_->size());
  scratch_ = require_device_runtime().allocate(scratch_bytes);
  sends_.reserve(static_cast<std::size_t>(host_->size()));
  receives_.reserve(static_cast<std::size_t>(host_->size()));
  sources_.reserve(static_cast<std::size_t>(host_->size()));
}

DeviceCommunicator::~DeviceCommunicator() {
  if (scratch_ != nullptr) require_device_runtime().release(scratch_);
}

void DeviceCommunicator::reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level,
                                        Stream stream, const char* label) {
  if (!stream.on_device()) return host_->reduce_scatter(parts, contributors, two_level, stream, label);
  check_reduce_scatter(parts, contributors, rank(), size(), label);
  scratch_free_.make_wait(stream);
  for (const auto& part : parts) reduce_part(part, contributors, stream, label);
  scratch_free_.record(stream);
}

/// Piece by piece: contributions of the others come into the scratch memory, then all are added in rank order.
void DeviceCommunicator::reduce_part(const ReduceScatterPart& part, int contributors, const Stream& stream,
                                     const char* label) {
  const auto element = static_cast<std::int64_t>(size_of(part.full.dtype));
  const std::int64_t shard = part.shard.count;
  const bool contributes = rank() < contributors;
  const ConstView own = contributes ? part.full.slice(rank() * shard, shard) : ConstView();
  const bool in_place = contributes && own.data == part.shard.data;
  // Whole lines, so that no kernel meets an odd address.
  const std::int64_t step = std::max<std::int64_t>(scratch_bytes_ / contributors / element / 64 * 64, 64);
  for (std::int64_t begin = 0; begin < shard; begin += step) {
    const std::int64_t count = std::min(step, shard - begin);
    const auto slot = [&](int contributor) {
      return View(static_cast<char*>(scratch_) + contributor * step * element, count, part.full.dtype);
    };
    sends_.clear();
    receives_.clear();
    sources_.clear();
    for (int other = 0; other < size(); ++other) {
      if (other == rank()) continue;
      if (contributes) {
        const ConstView piece = part.full.slice(other * shard + begin, count);
        sends_.push_back({const_cast<void*>(piece.data), piece.bytes(), other});  // only read
      }
      if (other < contributors) receives_.push_back({slot(other).data, slot(other).bytes(), other});
    }
    if (transport_) transport_->exchange(sends_, receives_, stream, label);
    for (int contributor = 0; contributor < contributors; ++contributor) {
      if (contributor != rank()) {
        sources_.emplace_back(slot(contributor));
        continue;
      }
      const ConstView piece = own.slice(begin, count);
      if (in_place) copy_bytes(stream, slot(contributor).data, piece.data, piece.bytes());
      sources_.emplace_back(in_place ? ConstView(slot(contributor)) : piece);
    }
    fold_(part.shard.slice(begin, count), sources_, part.accumulate, stream);
  }
}

void DeviceCommunicator::all_gather(std::span<const AllGatherPart> parts, Stream stream, const char* label) {
  if (!stream.on_device()) return host_->all_gather(parts, stream, label);
  check_all_gather(parts, size(), label);
  if (transport_) return transport_->all_gather(parts, stream, label);
  for (const auto& part : parts) copy_bytes(stream, part.full.data, part.shard.data, part.shard.bytes());
}

void DeviceCommunicator::all_reduce(View values, ReduceOp op, Stream stream, const char* label) {
  if (!stream.on_device()) return host_->all_reduce(values, op, stream, label);
  check_all_reduce(values, label);
  values_.resize(static_cast<std::size_t>((values.bytes() + 7) / 8));
  copy_bytes(stream, values_.data(), values.data, values.bytes());
  stream.synchronize();
  host_->all_reduce(View(values_.data(), values.count, values.dtype), op, Stream{}, label);
  copy_bytes(stream, values.data, values_.data(), values.bytes());
}

void DeviceCommunicator::broadcast(View values, int root, Stream stream, const char* label) {
  if (!stream.on_device()) return host_->broadcast(values, root, stream, label);
  check_peer(values, root, size(), label);
  if (transport_) transport_->broadcast(values, root, stream, label);
}

void DeviceCommunicator::close() {
  if (transport_) transport_->close();
  host_->close();
}

void DeviceCommunicator::abort(std::string_view reason, int exit_code) noexcept {
  if (transport_) transport_->abort();
  host_->abort(reason, exit_code);
}

std::unique_ptr<Communicator> make_device_communicator(std::unique_ptr<Communicator> host, Device device, bool shared,
                                                       DeviceFold fold, double timeout_s) {
  std::unique_ptr<DeviceTransport> transport;
  if (host->size() > 1) {
#ifdef DSTRAIN_WITH_NCCL
    transport = shared ? make_staged_transport(*host) : make_nccl_transport(*host, device, timeout_s);
#else
    static_cast<void>(device);
    static_cast<void>(shared);
    static_cast<void>(timeout_s);
    transport = make_staged_transport(*host);
#endif
  }
  return std::make_unique<DeviceCommunicator>(std::move(host), std::move(transport), fold);
}

}  // namespace dstrain
