// SPDX-License-Identifier: Apache-2.0
/// checkpoint_writers: single.
#include <exception>
#include <optional>

#include "core/error.hpp"
#include "io/checkpoint/together.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

using Sizes = std::vector<std::int64_t>;

/// Place and size of every piece of a member, by turns: what rank 0 must know to receive them.
Sizes packed_places(const std::vector<DrainPiece>& pieces) {
  Sizes sizes;
  for (const auto& piece : pieces) sizes.insert(sizes.end(), {piece.at, piece.bytes});
  return sizes;
}

void send_pieces(Communicator& comm, const std::vector<DrainPiece>& pieces) {
  auto places = packed_places(pieces);
  auto count = static_cast<std::int64_t>(places.size());
  comm.send(ConstView(&count, 1, DType::i64), 0, "checkpoint: number of pieces");
  if (count > 0) comm.send(ConstView(std::span<const std::int64_t>(places)), 0, "checkpoint: places of pieces");
  for (const auto& piece : pieces) comm.send(ConstView(piece.from, piece.bytes, DType::u8), 0, "checkpoint: piece");
}

/// Takes a member's pieces, also where `write` can no longer use them: the sender must not wait for ever.
template <typename Write>
void receive_pieces(Communicator& comm, int from, std::vector<char>& buffer, const Write& write) {
  std::int64_t count = 0;
  comm.recv(View(&count, 1, DType::i64), from, "checkpoint: number of pieces");
  Sizes places(static_cast<std::size_t>(count));
  if (count > 0) comm.recv(View(std::span<std::int64_t>(places)), from, "checkpoint: places of pieces");
  for (std::size_t i = 0; i < places.size(); i += 2) {
    buffer.resize(std::max(buffer.size(), static_cast<std::size_t>(places[i + 1])));
    comm.recv(View(buffer.data(), places[i + 1], DType::u8), from, "checkpoint: piece");
    write(DrainPiece{buffer.data(), places[i + 1], places[i]});
  }
}

}  // namespace

std::vector<std::string> write_through_rank0(Communicator& comm, const std::filesystem::path& part,
                                             CheckpointLayout& layout, const CheckpointContent& content,
                                             std::int64_t piece_count) {
  share_frame(comm, layout);
  std::vector<DrainPiece> pieces;
  if (layout.own >= 0) pieces = pieces_of(content, layout.shard, layout.start, piece_count);
  std::vector<std::string> digests;
  for (const auto& piece : pieces) digests.push_back(digest_of(piece.from, piece.bytes));

  std::exception_ptr failure;
  if (comm.rank() != 0) {
    if (layout.own >= 0) send_pieces(comm, pieces);
  } else {
    const auto path = part / layout.shard.file;
    FileDescriptor file;
    const auto attempt = [&](const auto& step) {
      try {
        if (!failure) step();
      } catch (...) {
        failure = std::current_exception();
      }
    };
    const auto write = [&](const DrainPiece& piece) {
      attempt([&] { write_at(file, piece.at, piece.from, piece.bytes, path); });
    };
    attempt([&] { file = open_to_change(path); });
    for (const auto& piece : pieces) write(piece);
    std::vector<char> buffer;
    for (const int member : layout.members[0]) {
      if (member != 0) receive_pieces(comm, member, buffer, write);
    }
    attempt([&] { sync_file(file, path); });
  }
  on_all_ranks(comm, "write a checkpoint", [&] {
    if (failure) std::rethrow_exception(failure);
  });
  return digests;
}

}  // namespace dstrain
