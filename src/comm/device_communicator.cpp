// SPDX-License-Identifier: Apache-2.0
#include "comm/device_communicator.hpp"

#include <algorithm>

#include "comm/shape_checks.hpp"
#include "core/device_runtime.hpp"

namespace dstrain {

namespace {

std::vector<int> labels_or_one_node(const std::vector<int>& node_of_rank, int ranks) {
  DSTRAIN_CHECK(node_of_rank.empty() || std::ssize(node_of_rank) == ranks, "nodes of {} ranks for {}",
                node_of_rank.size(), ranks);
  return node_of_rank.empty() ? std::vector<int>(static_cast<std::size_t>(ranks), 0) : node_of_rank;
}

}  // namespace

DeviceCommunicator::DeviceCommunicator(std::unique_ptr<Communicator> host, std::unique_ptr<DeviceTransport> transport,
                                       DeviceFold fold, std::int64_t scratch_bytes,
                                       const std::vector<int>& node_of_rank)
    : host_(std::move(host)),
      transport_(std::move(transport)),
      fold_(fold),
      nodes_(labels_or_one_node(node_of_rank, host_->size())),
      scratch_bytes_(scratch_bytes) {
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
  for (void* memory : registered_) require_device_runtime().release(memory);
}

void DeviceCommunicator::reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level,
                                        Stream stream, const char* label) {
  if (!stream.on_device()) return host_->reduce_scatter(parts, contributors, two_level, stream, label);
  check_reduce_scatter(parts, contributors, rank(), size(), label);
  scratch_free_.make_wait(stream);
  const bool levels = two_level && takes_two_levels(contributors);
  for (const auto& part : parts) {
    if (levels) {
      reduce_part_two_level(part, stream, label);
    } else {
      reduce_part(part, contributors, stream, label);
    }
  }
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
    if (transport_) transport_->exchange(sends_, receives_, ExchangeScope::all, stream, label);
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

/// One rank per node, or one node: the two levels are one.
bool DeviceCommunicator::takes_two_levels(int contributors) const noexcept {
  const std::int64_t areas = nodes_.largest_node() + 2 * nodes_.node_count();
  return contributors == size() && scratch_bytes_ >= 256 * areas && nodes_.node_count() > 1 &&
         nodes_.smallest_node() > 1 && nodes_.smallest_node() == nodes_.largest_node();
}

/// The rank with this one's number on a node is the owner that this rank adds up for on its own node. First the ranks
/// of the node bring their contributions to every such owner together; then the sums of all nodes meet at the owner.
/// Node by node in rank order, then the nodes in theirs, as the host's communicator adds.
void DeviceCommunicator::reduce_part_two_level(const ReduceScatterPart& part, const Stream& stream, const char* label) {
  const auto element = static_cast<std::int64_t>(size_of(part.full.dtype));
  const std::int64_t shard = part.shard.count;
  const int own_node = nodes_.node(rank());
  const int own_number = nodes_.local_rank(rank());
  const int nodes = nodes_.node_count();
  const int locals = nodes_.local_size(own_node);
  // Contributions of the node's ranks, this node's sum for every node, every other node's sum for this rank.
  const auto areas = static_cast<std::int64_t>(locals) + 2 * nodes;
  const std::int64_t step =
      std::max<std::int64_t>(scratch_bytes_ / areas / static_cast<std::int64_t>(sizeof(float)) / 64 * 64, 64);
  const auto area = [&](int index) { return static_cast<float*>(scratch_) + index * step; };
  for (std::int64_t begin = 0; begin < shard; begin += step) {
    const std::int64_t count = std::min(step, shard - begin);
    const auto sum_for = [&](int node) { return View(area(locals + node), count, DType::f32); };
    for (int node = 0; node < nodes; ++node) {
      sends_.clear();
      receives_.clear();
      sources_.clear();
      for (int number = 0; number < locals; ++number) {
        const int peer = nodes_.members(own_node)[static_cast<std::size_t>(number)];
        const int owner = nodes_.members(node)[static_cast<std::size_t>(number)];
        const ConstView piece = part.full.slice(owner * shard + begin, count);
        if (number == own_number) {
          sources_.push_back(piece);
          continue;
        }
        const View slot(area(number), count, part.full.dtype);
        sends_.push_back({const_cast<void*>(piece.data), count * element, peer});  // only read
        receives_.push_back({slot.data, count * element, peer});
        sources_.emplace_back(slot);
      }
      transport_->exchange(sends_, receives_, ExchangeScope::node, stream, label);
      fold_(sum_for(node), sources_, false, stream);
    }
    sends_.clear();
    receives_.clear();
    sources_.clear();
    for (int node = 0; node < nodes; ++node) {
      if (node == own_node) {
        sources_.emplace_back(sum_for(node));
        continue;
      }
      const int peer = nodes_.members(node)[static_cast<std::size_t>(own_number)];
      const View slot(area(locals + nodes + node), count, DType::f32);
      sends_.push_back({sum_for(node).data, slot.bytes(), peer});
      receives_.push_back({slot.data, slot.bytes(), peer});
      sources_.emplace_back(slot);
    }
    transport_->exchange(sends_, receives_, ExchangeScope::across, stream, label);
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

void* DeviceCommunicator::allocate_registered(std::int64_t bytes) {
  if (void* memory = transport_ ? transport_->allocate(bytes) : nullptr) return memory;
  registered_.push_back(require_device_runtime().allocate(bytes));
  return registered_.back();
}

std::vector<int> nccl_id_makers(int ranks) {
  constexpr int ranks_of_an_id = 64;
  const int count = (ranks + ranks_of_an_id - 1) / ranks_of_an_id;
  std::vector<int> makers;
  for (int i = 0; i < count; ++i) makers.push_back(static_cast<int>(std::int64_t{i} * ranks / count));
  return makers;
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
                                                       DeviceFold fold, double timeout_s,
                                                       const std::vector<int>& node_of_rank) {
  std::unique_ptr<DeviceTransport> transport;
  if (host->size() > 1) {
#ifdef DSTRAIN_WITH_NCCL
    transport = shared ? make_staged_transport(*host) : make_nccl_transport(*host, device, timeout_s, node_of_rank);
#else
    static_cast<void>(device);
    static_cast<void>(shared);
    static_cast<void>(timeout_s);
    transport = make_staged_transport(*host);
#endif
  }
  return std::make_unique<DeviceCommunicator>(std::move(host), std::move(transport), fold,
                                              DeviceCommunicator::default_scratch_bytes, node_of_rank);
}

}  // namespace dstrain
