// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/read_ranges.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <vector>

#include "core/error.hpp"

namespace dstrain {
namespace {

/// A question to rank 0: kind, tensor, begin, count. A kind of -1 ends them.
using Question = std::array<std::int64_t, 4>;
constexpr std::int64_t no_more = -1;
constexpr std::int64_t failed = 1;

bool all_see(Communicator& comm, const CheckpointReader& reader) {
  std::error_code ignored;
  std::int32_t sees = 1;
  for (const auto& shard : reader.manifest().shards) {
    if (std::filesystem::file_size(reader.folder() / shard.file, ignored) != static_cast<std::uintmax_t>(shard.bytes))
      sees = 0;
  }
  if (comm.rank() == 0) sees = 1;  // what is damaged there is said when it is read
  comm.all_reduce(View(&sees, 1, DType::i32), ReduceOp::min, Stream{}, "checkpoint: who sees it");
  return sees != 0;
}

void read_own(CheckpointReader& reader, std::span<const WantedRange> wanted, std::span<float> scratch) {
  for (const auto& range : wanted) reader.read(range.kind, range.tensor, range.begin, range.count, range.to, scratch);
}

/// Elements of `kind` that go through the scratch at once.
std::int64_t run_of(CheckpointKind kind, std::span<float> scratch) {
  return static_cast<std::int64_t>(scratch.size_bytes()) / element_bytes(kind);
}

/// Rank 0: answers one rank until it has everything, or until something failed.
void answer(Communicator& comm, int to, CheckpointReader& reader, std::span<float> scratch,
            std::exception_ptr& failure) {
  for (;;) {
    Question question{};
    comm.recv(View(std::span<std::int64_t>(question)), to, "checkpoint: question");
    if (question[0] == no_more) return;
    std::int64_t outcome = failed;
    try {
      if (!failure) {
        // Partly wanted pieces go through the reader's own scratch: this one holds what is sent.
        reader.read(static_cast<CheckpointKind>(question[0]), static_cast<std::int32_t>(question[1]), question[2],
                    question[3], scratch.data());
        outcome = 0;
      }
    } catch (...) {
      failure = std::current_exception();
    }
    comm.send(ConstView(&outcome, 1, DType::i64), to, "checkpoint: answer");
    if (outcome == failed) return;
    const auto bytes = question[3] * element_bytes(static_cast<CheckpointKind>(question[0]));
    comm.send(ConstView(scratch.data(), bytes, DType::u8), to, "checkpoint: values");
  }
}

void ask(Communicator& comm, std::span<const WantedRange> wanted, std::span<float> scratch) {
  for (const auto& range : wanted) {
    const auto run = run_of(range.kind, scratch);
    for (std::int64_t done = 0; done < range.count; done += run) {
      const auto n = std::min(run, range.count - done);
      const Question question{static_cast<std::int64_t>(range.kind), range.tensor, range.begin + done, n};
      comm.send(ConstView(std::span<const std::int64_t>(question)), 0, "checkpoint: question");
      std::int64_t outcome = 0;
      comm.recv(View(&outcome, 1, DType::i64), 0, "checkpoint: answer");
      if (outcome == failed) throw IoError("rank 0 could not read the checkpoint for this rank");
      const auto bytes = element_bytes(range.kind);
      comm.recv(View(static_cast<char*>(range.to) + done * bytes, n * bytes, DType::u8), 0, "checkpoint: values");
    }
  }
  const Question end{no_more, 0, 0, 0};
  comm.send(ConstView(std::span<const std::int64_t>(end)), 0, "checkpoint: question");
}

}  // namespace

void read_ranges(Communicator& comm, CheckpointReader& reader, std::span<const WantedRange> wanted,
                 std::span<float> scratch) {
  DSTRAIN_CHECK(!scratch.empty(), "no scratch to read a checkpoint with");
  const bool directly = all_see(comm, reader);
  on_all_ranks(comm, "read the checkpoint", [&] {
    if (directly) {
      read_own(reader, wanted, scratch);
    } else if (comm.rank() != 0) {
      ask(comm, wanted, scratch);
    } else {
      std::exception_ptr failure;
      try {
        read_own(reader, wanted, scratch);
      } catch (...) {
        failure = std::current_exception();
      }
      for (int rank = 1; rank < comm.size(); ++rank) answer(comm, rank, reader, scratch, failure);
      if (failure) std::rethrow_exception(failure);
    }
  });
}

}  // namespace dstrain
