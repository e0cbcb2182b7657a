// SPDX-License-Identifier: Apache-2.0
/// all_gather of MpiCommunicator: direct copies inside a node; between nodes each shard travels once to each other
/// node, to the rank that deals with it there, and is shared from that rank's memory.
///
/// Sizes are bytes: a gather knows no dtype. A buffer is worked through in pieces [begin, begin + n) of the shard.
#include <algorithm>

#include "comm/fold.hpp"
#include "comm/mpi_transport.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t line = 64;

/// One buffer's way through all_gather. Exchange buffers 2 * index and 2 * index + 1 are the places of shard and full.
class Gather {
 public:
  Gather(Transport& transport, const AllGatherPart& part, std::size_t index);
  void run();

 private:
  [[nodiscard]] bool is_local(int r) const { return t.map.node(r) == t.my_node(); }
  [[nodiscard]] int helper_here(int r) const { return t.map.helper(t.my_node(), r); }
  [[nodiscard]] char* full_slice(int r, std::int64_t begin) const {
    return part_.full.as<char>() + r * shard_bytes_ + begin;
  }
  /// Where the far-away shards that this rank receives go: at once to their place, where others can read it there.
  [[nodiscard]] bool receives_in_place(int helper) const {
    return t.node == nullptr || t.place(2 * index_ + 1, t.map.local_rank(helper)).shared();
  }
  /// Staged shards: a rank's own first, then those it receives.
  [[nodiscard]] std::int64_t slot(int r) const { return is_local(r) ? 0 : 1 + t.slot_of[static_cast<std::size_t>(r)]; }

  void post(std::int64_t begin, int parity);
  void stage_own();
  [[nodiscard]] const char* source(int r) const;
  void copy_all();

  Transport& t;
  const AllGatherPart& part_;
  std::size_t index_;
  std::int64_t shard_bytes_;
  bool staged_ = false;  ///< some shard of this node is not in shared memory
  std::int64_t piece_ = 0, begin_ = 0, n_ = 0;
};

Gather::Gather(Transport& transport, const AllGatherPart& part, std::size_t index)
    : t(transport), part_(part), index_(index), shard_bytes_(part.shard.bytes()) {
  if (t.node == nullptr) return;
  for (int local = 0; local < t.local_size(); ++local) staged_ = staged_ || !t.place(2 * index, local).shared();
}

void Gather::post(std::int64_t begin, int parity) {
  const std::int64_t n = std::min(piece_, shard_bytes_ - begin);
  t.sends[parity].wait();
  for (int r = 0; r < t.size; ++r) {
    if (is_local(r) || helper_here(r) != t.rank) continue;
    char* to = receives_in_place(t.rank) ? full_slice(r, begin) : t.node->staging(t.node->rank()) + slot(r) * piece_;
    t.receives[parity].recv(to, n, r, t.comm.get());
  }
  for (int step = 1; step < t.map.node_count(); ++step) {
    const int node = (t.my_node() + step) % t.map.node_count();
    t.sends[parity].send(part_.shard.as<char>() + begin, n, t.map.helper(node, t.rank), t.comm.get());
  }
}

void Gather::stage_own() {
  if (!staged_ || t.place(2 * index_, t.node->rank()).shared()) return;
  copy_bytes(t.node->staging(t.node->rank()), part_.shard.as<char>() + begin_, n_);
}

/// The current piece of rank r's shard, wherever this rank can read it.
const char* Gather::source(int r) const {
  if (r == t.rank) return part_.shard.as<char>() + begin_;
  const int holder = is_local(r) ? r : helper_here(r);
  const int local = t.map.local_rank(holder);
  if (is_local(r)) {
    const SharedPlace place = t.place(2 * index_, local);
    if (place.shared()) return t.node->address(local, place) + begin_;
  } else if (receives_in_place(holder)) {
    if (holder == t.rank) return full_slice(r, begin_);
    return t.node->address(local, t.place(2 * index_ + 1, local)) + r * shard_bytes_ + begin_;
  }
  return t.node->staging(local) + slot(r) * piece_;
}

/// Each rank begins with its own shard and goes round from there, so that not all read from the same memory at once.
void Gather::copy_all() {
  for (int step = 0; step < t.size; ++step) {
    const int r = (t.rank + step) % t.size;
    const char* from = source(r);
    char* to = full_slice(r, begin_);
    if (from != to) copy_bytes(to, from, n_);
  }
}

void Gather::run() {
  const bool far = !t.one_node();
  piece_ = shard_bytes_;
  // Ranks elsewhere cut their messages by the same formula: it knows nothing of this node.
  if (far || staged_) {
    piece_ = std::min(piece_, std::max(line, t.half_bytes / (1 + t.map.most_helped()) / line * line));
    piece_ = std::min(piece_, largest_message);
  }
  const bool meet = t.node != nullptr && (far || staged_);
  if (far) post(0, 0);
  int parity = 0;
  for (std::int64_t begin = 0; begin < shard_bytes_; begin += piece_, parity ^= 1) {
    begin_ = begin;
    n_ = std::min(piece_, shard_bytes_ - begin);
    stage_own();
    if (far) t.receives[parity].wait();
    if (meet) {
      t.node->barrier();
      t.node->flip();  // what is posted next goes to the half that everyone has read before this barrier
    }
    if (far && begin + piece_ < shard_bytes_) post(begin + piece_, parity ^ 1);
    if (meet) t.node->flip();
    copy_all();
    if (meet) t.node->flip();
  }
  for (auto& sends : t.sends) sends.wait();
}

}  // namespace

void all_gather(Transport& t, std::span<const AllGatherPart> parts) {
  SharedPlace own[NodeGroup::max_places];
  while (!parts.empty()) {
    const std::size_t batch = std::min<std::size_t>(parts.size(), NodeGroup::max_places / 2);
    bool direct = false;
    if (t.node != nullptr) {
      for (std::size_t i = 0; i < batch; ++i) {
        own[2 * i] = t.locate(parts[i].shard);
        own[2 * i + 1] = t.locate(parts[i].full);
      }
      t.exchange_places(std::span(own, 2 * batch));
      direct = std::any_of(t.places.begin(), t.places.end(), [](SharedPlace place) { return place.shared(); });
    }
    for (std::size_t i = 0; i < batch; ++i) {
      if (parts[i].shard.count > 0) Gather(t, parts[i], i).run();
    }
    if (direct) t.node->barrier();  // the owners of what was read directly may write again
    parts = parts.subspan(batch);
  }
}

}  // namespace dstrain
