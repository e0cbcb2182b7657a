// SPDX-License-Identifier: Apache-2.0
/// reduce_scatter of MpiCommunicator: direct loads inside a node, slices by messages between nodes, sums by the owner.
///
/// A buffer is worked through in pieces [begin, begin + n) of the shard, the same on all ranks: of every rank's slice
/// that range is staged (only where the buffer is not in shared memory), sent to the far-away owners, and summed by the
/// owner in rank order. The next piece's messages are on their way while the current one is summed.
#include <algorithm>

#include "comm/fold.hpp"
#include "comm/mpi_transport.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t elements_per_line = 16;

std::int64_t whole_lines(std::int64_t elements) {
  return std::max(elements_per_line, elements / elements_per_line * elements_per_line);
}

/// One buffer's way through reduce_scatter, with what both ways of summing need.
class Exchange {
 public:
  Exchange(Transport& transport, const ReduceScatterPart& part, int contributors, std::size_t index)
      : t(transport),
        part_(part),
        contributors_(contributors),
        index_(index),
        item_(static_cast<std::int64_t>(size_of(part.full.dtype))) {
    if (t.node == nullptr) return;
    for (const int r : t.local_ranks()) {
      staged_ = staged_ || (r < contributors && !t.place(index, t.map.local_rank(r)).shared());
    }
  }

  void run_flat();
  void run_two_level();

 private:
  [[nodiscard]] const char* own_slice(int target) const {
    return part_.full.as<char>() + (target * part_.shard.count + begin_) * item_;
  }
  /// The current piece of `target`'s slice in the buffer of local rank `source`; `slot` is its place where it is
  /// staged.
  [[nodiscard]] const char* local_slice(int source, int target, std::int64_t slot) const {
    if (source == t.rank) return own_slice(target);
    const int local = t.map.local_rank(source);
    const SharedPlace place = t.place(index_, local);
    if (place.shared()) return t.node->address(local, place) + (target * part_.shard.count + begin_) * item_;
    return t.node->staging(local) + slot * piece_ * item_;
  }
  [[nodiscard]] bool contributes(int r) const { return r < contributors_; }
  [[nodiscard]] bool is_local(int r) const { return t.map.node(r) == t.my_node(); }
  void start(std::int64_t begin) {
    begin_ = begin;
    n_ = std::min(piece_, part_.shard.count - begin);
  }

  void post_flat(std::int64_t begin, int parity);
  void stage_for_local_targets();
  void fold_flat(int parity);

  void receive_partials(int parity);
  void stage_for_all_targets();
  void send_partials(int parity);
  void fold_two_level(int parity);
  [[nodiscard]] bool node_contributes(int node) const { return t.map.members(node).front() < contributors_; }
  void sum_of_node(float* out, int target);

  Transport& t;
  const ReduceScatterPart& part_;
  int contributors_;
  std::size_t index_;
  std::int64_t item_;
  bool staged_ = false;
  std::int64_t piece_ = 0, begin_ = 0, n_ = 0;
};

/// Sends this rank's share of the piece to its far-away owners and makes ready to receive theirs. Starts at the next
/// rank, so that not all send to rank 0 first.
void Exchange::post_flat(std::int64_t begin, int parity) {
  const std::int64_t n = std::min(piece_, part_.shard.count - begin);
  t.sends[parity].wait();
  char* room = t.scratch.received[parity].data();
  for (int r = 0; r < contributors_; ++r) {
    if (is_local(r)) continue;
    t.receives[parity].recv(room, n * item_, r, t.comm.get());
    room += piece_ * item_;
  }
  if (!contributes(t.rank)) return;
  for (int step = 1; step < t.size; ++step) {
    const int target = (t.rank + step) % t.size;
    if (is_local(target)) continue;
    t.sends[parity].send(part_.full.as<char>() + (target * part_.shard.count + begin) * item_, n * item_, target,
                         t.comm.get());
  }
}

void Exchange::stage_for_local_targets() {
  if (!staged_) return;
  if (contributes(t.rank) && !t.place(index_, t.node->rank()).shared()) {
    char* room = t.node->staging(t.node->rank());
    for (const int target : t.local_ranks()) {
      if (target != t.rank) copy_bytes(room + t.map.local_rank(target) * piece_ * item_, own_slice(target), n_ * item_);
    }
  }
  t.node->barrier();
}

void Exchange::fold_flat(int parity) {
  t.sources.clear();
  const char* received = t.scratch.received[parity].data();
  for (int r = 0; r < contributors_; ++r) {
    if (is_local(r)) {
      t.sources.push_back(local_slice(r, t.rank, t.map.local_rank(t.rank)));
    } else {
      t.sources.push_back(received);
      received += piece_ * item_;
    }
  }
  fold_sum(part_.shard.as<float>() + begin_, t.sources, part_.full.dtype, n_, part_.accumulate);
}

void Exchange::run_flat() {
  // Ranks elsewhere cut their messages by the same formula: it knows nothing of this node.
  piece_ = part_.shard.count;
  const bool far = !t.one_node();
  if (far) piece_ = std::min(piece_, whole_lines(t.half_bytes / (item_ * std::max(1, t.size - t.map.smallest_node()))));
  if (far || staged_) piece_ = std::min(piece_, whole_lines(t.half_bytes / (item_ * t.map.largest_node())));
  if (far) post_flat(0, 0);
  int parity = 0;
  for (std::int64_t begin = 0; begin < part_.shard.count; begin += piece_, parity ^= 1) {
    start(begin);
    stage_for_local_targets();
    if (far) {
      if (begin + piece_ < part_.shard.count) post_flat(begin + piece_, parity ^ 1);
      t.receives[parity].wait();
    }
    fold_flat(parity);
    if (staged_) t.node->flip();
  }
  for (auto& sends : t.sends) sends.wait();
}

void Exchange::receive_partials(int parity) {
  char* room = t.scratch.received[parity].data();
  for (int node = 0; node < t.map.node_count(); ++node) {
    if (node == t.my_node() || !node_contributes(node)) continue;
    t.receives[parity].recv(room, n_ * static_cast<std::int64_t>(sizeof(float)), t.map.helper(node, t.rank),
                            t.comm.get());
    room += piece_ * static_cast<std::int64_t>(sizeof(float));
  }
}

/// Every local rank may sum for some target: its share of all slices is laid out, by target rank.
void Exchange::stage_for_all_targets() {
  if (!staged_) return;
  if (contributes(t.rank) && !t.place(index_, t.node->rank()).shared()) {
    char* room = t.node->staging(t.node->rank());
    for (int target = 0; target < t.size; ++target) {
      const int summed_by = is_local(target) ? target : t.map.helper(t.my_node(), target);
      if (summed_by != t.rank) copy_bytes(room + target * piece_ * item_, own_slice(target), n_ * item_);
    }
  }
  t.node->barrier();
}

void Exchange::sum_of_node(float* out, int target) {
  t.sources.clear();
  for (const int source : t.local_ranks()) {
    if (contributes(source)) t.sources.push_back(local_slice(source, target, target));
  }
  fold_sum(out, t.sources, part_.full.dtype, n_, false);
}

void Exchange::send_partials(int parity) {
  if (!node_contributes(t.my_node())) return;
  auto* room = reinterpret_cast<float*>(t.scratch.partial[parity].data());
  for (int step = 1; step < t.size; ++step) {
    const int target = (t.rank + step) % t.size;
    if (is_local(target) || t.map.helper(t.my_node(), target) != t.rank) continue;
    sum_of_node(room, target);
    t.sends[parity].send(room, n_ * static_cast<std::int64_t>(sizeof(float)), target, t.comm.get());
    room += piece_;
  }
}

void Exchange::fold_two_level(int parity) {
  auto* own = reinterpret_cast<float*>(t.scratch.own.data());
  if (node_contributes(t.my_node())) sum_of_node(own, t.rank);
  const auto* received = reinterpret_cast<const float*>(t.scratch.received[parity].data());
  t.sources.clear();
  for (int node = 0; node < t.map.node_count(); ++node) {
    if (!node_contributes(node)) continue;
    t.sources.push_back(node == t.my_node() ? own : received);
    if (node != t.my_node()) received += piece_;
  }
  fold_sum(part_.shard.as<float>() + begin_, t.sources, DType::f32, n_, part_.accumulate);
}

void Exchange::run_two_level() {
  constexpr auto partial = static_cast<std::int64_t>(sizeof(float));
  const std::int64_t staging = t.half_bytes / (item_ * t.size);
  const std::int64_t helped = t.half_bytes / (partial * std::max({1, t.map.most_helped(), t.map.node_count() - 1}));
  piece_ = std::min(part_.shard.count, whole_lines(std::min(staging, helped)));
  int parity = 0;
  for (std::int64_t begin = 0; begin < part_.shard.count; begin += piece_, parity ^= 1) {
    start(begin);
    t.sends[parity].wait();  // the partial sums of two pieces ago leave their room
    receive_partials(parity);
    stage_for_all_targets();
    send_partials(parity);
    t.receives[parity].wait();
    fold_two_level(parity);
    if (staged_) t.node->flip();
  }
  for (auto& sends : t.sends) sends.wait();
}

}  // namespace

void reduce_scatter(Transport& t, std::span<const ReduceScatterPart> parts, int contributors, bool two_level) {
  // One rank per node, or one node: the two levels are one.
  const bool levels = two_level && !t.one_node() && t.map.largest_node() > 1;
  SharedPlace own[NodeGroup::max_places];
  while (!parts.empty()) {
    const std::size_t batch = std::min<std::size_t>(parts.size(), NodeGroup::max_places);
    bool direct = false;
    if (t.node != nullptr) {
      for (std::size_t i = 0; i < batch; ++i) own[i] = t.rank < contributors ? t.locate(parts[i].full) : SharedPlace{};
      t.exchange_places(std::span(own, batch));
      direct = std::any_of(t.places.begin(), t.places.end(), [](SharedPlace place) { return place.shared(); });
    }
    for (std::size_t i = 0; i < batch; ++i) {
      if (parts[i].shard.count == 0) continue;
      Exchange exchange(t, parts[i], contributors, i);
      levels ? exchange.run_two_level() : exchange.run_flat();
    }
    if (direct) t.node->barrier();  // the owners of what was read directly may write again
    parts = parts.subspan(batch);
  }
}

}  // namespace dstrain
