// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/write.hpp"

#include <array>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "io/agreement.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/checkpoint/shard_file.hpp"
#include "io/checkpoint/view.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

constexpr const char* owner_name = "owner";

// Messages to rank 0: a length, then the elements.
template <typename List>
void send_list(Communicator& comm, List& list, DType dtype) {
  auto count = static_cast<std::int64_t>(list.size());
  comm.send(ConstView(&count, 1, DType::i64), 0, "checkpoint: send length");
  if (count > 0) comm.send(ConstView(list.data(), count, dtype), 0, "checkpoint: send list");
}

template <typename List>
List receive_list(Communicator& comm, int from, DType dtype) {
  std::int64_t count = 0;
  comm.recv(View(&count, 1, DType::i64), from, "checkpoint: receive length");
  List list(static_cast<std::size_t>(count), typename List::value_type());
  if (count > 0) comm.recv(View(list.data(), count, dtype), from, "checkpoint: receive list");
  return list;
}

using Numbers = std::vector<std::int64_t>;

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
}

Digest& add_list(Digest& digest, const CheckpointContent& content, std::int64_t step, std::int64_t piece_count) {
  for (const auto& tensor : content.tensors) {
    digest.add(tensor.name.data(), static_cast<std::int64_t>(tensor.name.size() + 1));
    digest.add(tensor.shape.data(), static_cast<std::int64_t>(tensor.shape.size() * sizeof(std::int64_t)));
  }
  const std::array<std::int64_t, 2> numbers{step, piece_count};
  digest.add(numbers.data(), sizeof numbers);
  return digest;
}

/// The layout of a shard as numbers: for each kind the number of slabs and their tensor, begin, count.
Numbers packed_layout(const Shard& shard) {
  Numbers numbers;
  for (const auto& dataset : shard.datasets) {
    numbers.push_back(static_cast<std::int64_t>(dataset.slabs.size()));
    for (const auto& slab : dataset.slabs) numbers.insert(numbers.end(), {slab.tensor, slab.begin, slab.count});
  }
  return numbers;
}

void unpack_layout(const Numbers& numbers, Shard& shard) {
  std::size_t i = 0;
  for (auto& dataset : shard.datasets) {
    for (auto slabs = numbers.at(i++); slabs > 0; --slabs, i += 3) {
      dataset.slabs.push_back(
          {static_cast<std::int32_t>(numbers.at(i)), numbers.at(i + 1), numbers.at(i + 2), dataset.count, {}});
      dataset.count += numbers.at(i + 2);
    }
  }
}

/// What is known of a shard only after it was written: size and offsets as numbers, digests as one text.
std::pair<Numbers, std::string> packed_outcome(const Shard& shard) {
  std::pair<Numbers, std::string> outcome{{shard.bytes}, shard.frame_digest};
  for (const auto& dataset : shard.datasets) {
    outcome.first.push_back(dataset.offset);
    for (const auto& slab : dataset.slabs) outcome.second += slab.digests;
  }
  return outcome;
}

void unpack_outcome(const Numbers& numbers, std::string_view digests, std::int64_t piece_count, Shard& shard) {
  shard.bytes = numbers.at(0);
  const auto take = [&](std::size_t letters) {
    auto text = std::string(digests.substr(0, letters));
    digests.remove_prefix(text.size());
    return text;
  };
  shard.frame_digest = take(digest_letters);
  for (std::size_t k = 0; k < shard.datasets.size(); ++k) {
    shard.datasets[k].offset = numbers.at(k + 1);
    for (auto& slab : shard.datasets[k].slabs) {
      slab.digests = take(static_cast<std::size_t>((slab.count + piece_count - 1) / piece_count) * digest_letters);
    }
  }
}

/// Numbers the ranks that bring anything; rank 0 learns all layouts. Collective.
/// @return this rank's shard (no file name where it brings nothing)
Shard agree_on_layout(Communicator& comm, const CheckpointContent& content, Manifest& manifest,
                      Numbers& rank_of_shard) {
  Shard mine;
  mine.datasets = lay_out_shard(content);
  std::int64_t brings = 0;
  for (const auto& dataset : mine.datasets) brings += dataset.count;
  Numbers all(static_cast<std::size_t>(comm.size()));
  comm.all_gather(ConstView(&brings, 1, DType::i64), View(std::span<std::int64_t>(all)), Stream{},
                  "checkpoint: who writes");

  for (int rank = 0; rank < comm.size(); ++rank) {
    if (all[static_cast<std::size_t>(rank)] > 0) rank_of_shard.push_back(rank);
  }
  for (std::size_t s = 0; s < rank_of_shard.size(); ++s) {
    const auto name = shard_name(s, rank_of_shard.size());
    const auto rank = static_cast<int>(rank_of_shard[s]);
    if (rank == comm.rank()) mine.file = name;
    if (comm.rank() == 0) {
      Shard shard;
      shard.file = name;
      unpack_layout(rank == 0 ? packed_layout(mine) : receive_list<Numbers>(comm, rank, DType::i64), shard);
      manifest.shards.push_back(std::move(shard));
    } else if (rank == comm.rank()) {
      auto layout = packed_layout(mine);
      send_list(comm, layout, DType::i64);
    }
  }
  return mine;
}

void check_tiling(const Manifest& manifest) {
  try {
    for (const auto kind : all_checkpoint_kinds()) {
      (void)places_of(manifest, kind, {});
    }
  } catch (const IoError& error) {
    throw ShapeError(fmt::format("the slices of a checkpoint do not tile it: {}", error.what()));
  }
}

/// Removes leftovers, refuses a full disk, creates the folder with a word in it that the other ranks must find. Rank 0.
void prepare_folder(const std::filesystem::path& part, const Manifest& manifest, const std::string& word) {
  const auto output_dir = part.parent_path();
  create_folder(output_dir);
  remove_unfinished_checkpoints(output_dir);
  std::int64_t bytes = 1 << 20;
  for (const auto& shard : manifest.shards) {
    for (const auto kind : all_checkpoint_kinds())
      bytes += shard.datasets[static_cast<std::size_t>(kind)].count * element_bytes(kind);
    bytes += 1 << 16;
  }
  if (const auto free = free_disk_bytes(output_dir); free < bytes) {
    throw IoError(fmt::format("a checkpoint needs {} bytes, {} are free", bytes, free), output_dir.string(),
                  "free disk space, or set save_total_limit or save_only_model")
        .with_code(ExitCode::failed);
  }
  create_folder(part);
  write_file_atomically(part / owner_name, word);
}

void check_folder_is_shared(const std::filesystem::path& part, const std::string& word) {
  std::error_code error;
  if (std::filesystem::exists(part / owner_name, error) && read_file(part / owner_name, 4096) == word) return;
  throw IoError("rank 0 created this folder, this rank does not see it", part.string(),
                "output_dir must lie on a file system that all hosts share")
      .with_code(ExitCode::failed);
}

/// Rank 0 learns sizes and digests of all shards. Collective.
void gather_outcomes(Communicator& comm, const Shard& mine, std::span<const std::int64_t> rank_of_shard,
                     Manifest& manifest) {
  for (std::size_t s = 0; s < rank_of_shard.size(); ++s) {
    const auto rank = static_cast<int>(rank_of_shard[s]);
    if (comm.rank() == 0 && rank == 0) {
      const auto [numbers, digests] = packed_outcome(mine);
      unpack_outcome(numbers, digests, manifest.piece_count, manifest.shards[s]);
    } else if (comm.rank() == 0) {
      const auto numbers = receive_list<Numbers>(comm, rank, DType::i64);
      unpack_outcome(numbers, receive_list<std::string>(comm, rank, DType::u8), manifest.piece_count,
                     manifest.shards[s]);
    } else if (comm.rank() == rank) {
      auto [numbers, digests] = packed_outcome(mine);
      send_list(comm, numbers, DType::i64);
      send_list(comm, digests, DType::u8);
    }
  }
}

/// Everything that makes a folder of shards a checkpoint. Rank 0.
void finish(const std::filesystem::path& part, const std::filesystem::path& final_path, Manifest& manifest,
            const CheckpointContent& content, const CheckpointOptions& options) {
  for (const auto& shard : manifest.shards) check_shard_size(part, shard);
  write_view(part, manifest, content.metadata);
  const auto text = manifest_text(manifest);
  write_file_atomically(part / manifest_name, text);
  write_file_atomically(part / manifest_digest_name, fmt::format("{}  {}\n", digest_of(text), manifest_name));
  std::filesystem::remove(part / owner_name);
  commit_checkpoint(part, final_path);
  if (options.save_total_limit)
    prune_checkpoints(final_path.parent_path(), *options.save_total_limit, final_path, options.best);
}

std::string random_word() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}{:08x}", device(), device(), device());
}

}  // namespace

std::filesystem::path write_checkpoint(Communicator& comm, const std::filesystem::path& output_dir, std::int64_t step,
                                       const CheckpointContent& content, const CheckpointOptions& options) {
  const bool first = comm.rank() == 0;
  const auto final_path = output_dir / checkpoint_name(step);
  auto part = final_path;
  part += ".part";
  on_all_ranks(comm, "check the checkpoint's content", [&] {
    DSTRAIN_CHECK(step >= 0 && options.piece_count >= 1 && options.piece_count <= max_piece_count,
                  "step {} or piece {}", step, options.piece_count);
    check_content(content);
  });
  Digest digest;
  check_same_on_all_ranks(comm, "tensor lists or steps for a checkpoint",
                          add_list(digest, content, step, options.piece_count));

  Manifest manifest;
  manifest.step = step;
  manifest.piece_count = options.piece_count;
  if (first) manifest.tensors = content.tensors;
  Numbers rank_of_shard;
  auto mine = agree_on_layout(comm, content, manifest, rank_of_shard);
  const auto word = broadcast_string(comm, first ? random_word() : std::string());
  try {
    on_all_ranks(comm, "prepare a checkpoint", [&] {
      if (!first) return;
      check_tiling(manifest);
      prepare_folder(part, manifest, word);
    });
    on_all_ranks(comm, "write a checkpoint's shards", [&] {
      check_folder_is_shared(part, word);
      if (!mine.file.empty()) write_shard(part, mine, content, options.piece_count);
    });
    gather_outcomes(comm, mine, rank_of_shard, manifest);
    on_all_ranks(comm, "complete a checkpoint", [&] {
      if (first) finish(part, final_path, manifest, content, options);
    });
  } catch (...) {
    std::error_code ignored;
    if (first) std::filesystem::remove_all(part, ignored);
    throw;
  }
  return final_path;
}

}  // namespace dstrain
