// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/layout.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "io/files/digest.hpp"

namespace dstrain {
namespace {

using Numbers = std::vector<std::int64_t>;

// Messages between two ranks: a length, then the elements.
template <typename List>
void send_list(Communicator& comm, int to, List& list, DType dtype) {
  auto count = static_cast<std::int64_t>(list.size());
  comm.send(ConstView(&count, 1, DType::i64), to, "checkpoint: send length");
  if (count > 0) comm.send(ConstView(list.data(), count, dtype), to, "checkpoint: send list");
}

template <typename List>
List receive_list(Communicator& comm, int from, DType dtype) {
  std::int64_t count = 0;
  comm.recv(View(&count, 1, DType::i64), from, "checkpoint: receive length");
  List list(static_cast<std::size_t>(count), typename List::value_type());
  if (count > 0) comm.recv(View(list.data(), count, dtype), from, "checkpoint: receive list");
  return list;
}

/// For each kind the number of slabs and their tensor, begin, count.
Numbers packed_slabs(const std::array<ShardDataset, checkpoint_kinds>& datasets) {
  Numbers numbers;
  for (const auto& dataset : datasets) {
    numbers.push_back(static_cast<std::int64_t>(dataset.slabs.size()));
    for (const auto& slab : dataset.slabs) numbers.insert(numbers.end(), {slab.tensor, slab.begin, slab.count});
  }
  return numbers;
}

/// Appends a rank's slabs to those that the shard has. @return how many they are, by kind
std::array<std::size_t, checkpoint_kinds> append_slabs(const Numbers& numbers, Shard& shard) {
  std::array<std::size_t, checkpoint_kinds> counts{};
  std::size_t i = 0;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    auto& dataset = shard.datasets[k];
    counts[k] = static_cast<std::size_t>(numbers.at(i++));
    for (std::size_t slab = 0; slab < counts[k]; ++slab, i += 3) {
      dataset.slabs.push_back(
          {static_cast<std::int32_t>(numbers.at(i)), numbers.at(i + 1), numbers.at(i + 2), dataset.count, {}});
      dataset.count += numbers.at(i + 2);
    }
  }
  return counts;
}

int group_of(int rank, CheckpointWriters writers, const std::vector<int>& node_of_rank) {
  if (writers == CheckpointWriters::rank) return rank;
  if (writers == CheckpointWriters::node && !node_of_rank.empty())
    return node_of_rank.at(static_cast<std::size_t>(rank));
  return 0;
}

/// The members of each shard, in the order of their first ranks.
/// @param counts  elements that each rank brings of each kind
std::vector<std::vector<int>> members_of_shards(const Numbers& counts, CheckpointWriters writers,
                                                const std::vector<int>& node_of_rank) {
  std::vector<std::vector<int>> members;
  std::map<int, std::size_t> shard_of_group;
  const int ranks = static_cast<int>(counts.size()) / checkpoint_kinds;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto* own = counts.data() + static_cast<std::ptrdiff_t>(rank) * checkpoint_kinds;
    const bool brings = std::any_of(own, own + checkpoint_kinds, [](std::int64_t n) { return n > 0; });
    // Rank 0 alone has the folder where it writes for all.
    const bool writes_for_all = rank == 0 && writers == CheckpointWriters::single;
    if (!brings && !writes_for_all) continue;
    const auto [at, is_new] = shard_of_group.emplace(group_of(rank, writers, node_of_rank), members.size());
    if (is_new) members.emplace_back();
    members[at->second].push_back(rank);
  }
  return members;
}

/// What is known of a shard once it is created: bytes, then the offsets of its datasets.
Numbers packed_frame(const Shard& shard) {
  Numbers numbers{shard.bytes};
  for (const auto& dataset : shard.datasets) numbers.push_back(dataset.offset);
  return numbers;
}

void unpack_frame(const Numbers& numbers, Shard& shard) {
  shard.bytes = numbers.at(0);
  for (std::size_t k = 0; k < shard.datasets.size(); ++k) shard.datasets[k].offset = numbers.at(k + 1);
}

/// Gives one member's digests to its slabs: in each dataset `counts` of them from `next` on.
void spread_digests(std::string_view digests, std::int64_t piece_count,
                    const std::array<std::size_t, checkpoint_kinds>& counts,
                    std::array<std::size_t, checkpoint_kinds>& next, Shard& shard) {
  for (std::size_t k = 0; k < shard.datasets.size(); ++k) {
    for (std::size_t i = 0; i < counts[k]; ++i) {
      auto& slab = shard.datasets[k].slabs.at(next[k]++);
      const auto pieces = (slab.count + piece_count - 1) / piece_count;
      const auto letters = static_cast<std::size_t>(pieces) * digest_letters;
      DSTRAIN_CHECK(letters <= digests.size(), "a rank sent too few digests");
      slab.digests = std::string(digests.substr(0, letters));
      digests.remove_prefix(letters);
    }
  }
}

void check_tiling(const CheckpointContent& content, const std::vector<Shard>& shards) {
  Manifest manifest;
  manifest.tensors = content.tensors;
  manifest.shards = shards;
  try {
    for (const auto kind : all_checkpoint_kinds()) (void)places_of(manifest, kind, {});
  } catch (const IoError& error) {
    throw ShapeError(fmt::format("the slices of a checkpoint do not tile it: {}", error.what()));
  }
}

}  // namespace

void check_content(const CheckpointContent& content) {
  check_tensor_list(content.tensors);
  for (const auto kind : all_checkpoint_kinds()) {
    for (const auto& slice : content[kind]) {
      DSTRAIN_CHECK(slice.tensor >= 0 && static_cast<std::size_t>(slice.tensor) < content.tensors.size(),
                    "a slice of tensor {}, there are {}", slice.tensor, content.tensors.size());
      const auto& tensor = content.tensors[static_cast<std::size_t>(slice.tensor)];
      if (slice.begin < 0 || slice.count < 0 || slice.begin > count_of(kind, tensor) - slice.count) {
        throw ShapeError(fmt::format("a slice of {} elements from {} does not lie in \"{}\", which has {}", slice.count,
                                     slice.begin, tensor.name, count_of(kind, tensor)));
      }
      DSTRAIN_CHECK(slice.count == 0 || slice.data != nullptr, "a slice of \"{}\" has no data", tensor.name);
    }
  }
  for (const auto& [key, text] : content.metadata) {
    const bool named = !key.empty() && key != "step" && key != "format";
    // HDF5's attributes end at a NUL, JSON's texts are UTF-8.
    const auto holds = [](const std::string& value) {
      using Handler = nlohmann::json::error_handler_t;
      if (value.find('\0') != std::string::npos) return false;
      return nlohmann::json(value).dump(-1, ' ', false, Handler::replace) ==
             nlohmann::json(value).dump(-1, ' ', false, Handler::ignore);
    };
    DSTRAIN_CHECK(named && holds(key) && holds(text), "metadata \"{}\" cannot be stored", key);
  }
}

CheckpointLayout agree_on_layout(Communicator& comm, const CheckpointContent& content, CheckpointWriters writers,
                                 const std::vector<int>& node_of_rank) {
  const auto mine = lay_out_shard(content);
  Numbers own(checkpoint_kinds);
  for (std::size_t k = 0; k < own.size(); ++k) own[k] = mine[k].count;
  Numbers counts(own.size() * static_cast<std::size_t>(comm.size()));
  comm.all_gather(ConstView(std::span<const std::int64_t>(own)), View(std::span<std::int64_t>(counts)), Stream{},
                  "checkpoint: who writes");

  CheckpointLayout layout;
  layout.members = members_of_shards(counts, writers, node_of_rank);
  for (std::size_t s = 0; s < layout.members.size(); ++s) {
    Shard shard;
    shard.file = shard_name(s, layout.members.size());
    const auto& members = layout.members[s];
    if (std::find(members.begin(), members.end(), comm.rank()) != members.end()) {
      layout.own = static_cast<int>(s);
      layout.shard = shard;
      for (const int member : members) {
        for (std::size_t k = 0; k < own.size(); ++k) {
          if (member == comm.rank()) layout.start[k] = layout.shard.datasets[k].count;
          layout.shard.datasets[k].count += counts[static_cast<std::size_t>(member) * own.size() + k];
        }
      }
    }
    if (comm.rank() == 0) {
      auto& counts_of = layout.slabs_of_member.emplace_back();
      for (const int member : members) {
        const auto numbers = member == 0 ? packed_slabs(mine) : receive_list<Numbers>(comm, member, DType::i64);
        counts_of.push_back(append_slabs(numbers, shard));
      }
      layout.all.push_back(std::move(shard));
    } else if (layout.own == static_cast<int>(s)) {
      auto numbers = packed_slabs(mine);
      send_list(comm, 0, numbers, DType::i64);
    }
  }
  on_all_ranks(comm, "lay a checkpoint out", [&] {
    if (comm.rank() == 0) check_tiling(content, layout.all);
  });
  return layout;
}

void share_frame(Communicator& comm, CheckpointLayout& layout) {
  if (layout.own < 0) return;
  const auto& members = layout.members[static_cast<std::size_t>(layout.own)];
  auto numbers = packed_frame(layout.shard);
  const View frame{std::span<std::int64_t>(numbers)};
  if (members[0] == comm.rank()) {
    for (std::size_t m = 1; m < members.size(); ++m) comm.send(frame, members[m], "checkpoint: send places");
  } else {
    comm.recv(frame, members[0], "checkpoint: receive places");
    unpack_frame(numbers, layout.shard);
  }
}

std::vector<Shard> gather_shards(Communicator& comm, const CheckpointLayout& layout, std::int64_t piece_count,
                                 const std::vector<std::string>& digests) {
  std::string own;
  for (const auto& digest : digests) own += digest;
  std::vector<Shard> shards = layout.all;
  for (std::size_t s = 0; s < layout.members.size(); ++s) {
    std::array<std::size_t, checkpoint_kinds> next{};
    for (std::size_t m = 0; m < layout.members[s].size(); ++m) {
      const int member = layout.members[s][m];
      auto frame = packed_frame(layout.shard);
      auto text = layout.shard.frame_digest + own;  // the frame's is that of the creator alone
      if (comm.rank() == 0) {
        if (member != 0) {
          frame = receive_list<Numbers>(comm, member, DType::i64);
          text = receive_list<std::string>(comm, member, DType::u8);
        }
        if (m == 0) {
          unpack_frame(frame, shards[s]);
          shards[s].frame_digest = text.substr(0, digest_letters);
          text.erase(0, digest_letters);
        }
        spread_digests(text, piece_count, layout.slabs_of_member[s][m], next, shards[s]);
      } else if (comm.rank() == member) {
        send_list(comm, 0, frame, DType::i64);
        send_list(comm, 0, text, DType::u8);
      }
    }
  }
  return shards;
}

}  // namespace dstrain
