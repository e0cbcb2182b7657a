// SPDX-License-Identifier: Apache-2.0
/// checkpoint_writers: collective.
#include <hdf5.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "core/error.hpp"
#include "io/checkpoint/together.hpp"
#include "io/files/digest.hpp"
#include "io/hdf5/handles.hpp"

namespace dstrain {
namespace {

using hdf5::checked;
using hdf5::Doing;

/// A run of a flat dataset that this rank writes in one collective call; null where the others have more of them.
struct Run {
  const void* data = nullptr;
  hsize_t begin = 0;
  hsize_t count = 0;
};

std::int64_t most_of(Communicator& comm, std::size_t count) {
  auto value = static_cast<std::int64_t>(count);
  comm.all_reduce(View(&value, 1, DType::i64), ReduceOp::max, Stream{}, "checkpoint: number of writes");
  return value;
}

void write_run(const hdf5::Dataset& dataset, CheckpointKind kind, const Run& run, const hdf5::PropertyList& transfer,
               const std::filesystem::path& path) {
  const hdf5::Space in_file(checked(H5Dget_space(dataset.get()), "look into", path, Doing::writing));
  const hsize_t extent = std::max<hsize_t>(run.count, 1);
  const hdf5::Space in_memory(checked(H5Screate_simple(1, &extent, nullptr), "select in", path, Doing::writing));
  if (run.count == 0) {
    checked(H5Sselect_none(in_file.get()), "select in", path, Doing::writing);
    checked(H5Sselect_none(in_memory.get()), "select in", path, Doing::writing);
  } else {
    checked(H5Sselect_hyperslab(in_file.get(), H5S_SELECT_SET, &run.begin, nullptr, &run.count, nullptr), "select in",
            path, Doing::writing);
  }
  const char nothing = 0;
  checked(H5Dwrite(dataset.get(), hdf5::memory_type(storage_of(kind)), in_memory.get(), in_file.get(), transfer.get(),
                   run.count == 0 ? static_cast<const void*>(&nothing) : run.data),
          "write", path, Doing::writing);
}

/// This rank's slices of one kind as runs, and their digests.
std::vector<Run> runs_of(const CheckpointContent& content, CheckpointKind kind, std::int64_t start,
                         std::int64_t piece_count, std::vector<std::string>& digests) {
  std::vector<Run> runs;
  for (const auto& slice : content[kind]) {
    if (slice.count == 0) continue;
    runs.push_back({slice.data, static_cast<hsize_t>(start), static_cast<hsize_t>(slice.count)});
    start += slice.count;
    const auto bytes = element_bytes(kind);
    for (std::int64_t done = 0; done < slice.count; done += piece_count) {
      digests.push_back(digest_of(static_cast<const char*>(slice.data) + done * bytes,
                                  std::min(piece_count, slice.count - done) * bytes));
    }
  }
  return runs;
}

/// Carries on with the collective calls after a failure, so that no rank waits for one that gave up.
class Attempts {
 public:
  template <typename Step>
  void operator()(const Step& step) {
    try {
      step();
    } catch (...) {
      if (!failure_) failure_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::exception_ptr failure_;
};

}  // namespace

std::vector<std::string> write_collectively(Communicator& comm, const std::filesystem::path& part,
                                            CheckpointLayout& layout, const CheckpointContent& content,
                                            std::int64_t piece_count) {
  // The sizes are the creator's; a rank that brings nothing takes part all the same.
  Shard& shard = layout.shard;
  shard.file = shard_name(0, 1);
  std::array<std::int64_t, checkpoint_kinds> counts{};
  for (std::size_t k = 0; k < counts.size(); ++k) counts[k] = shard.datasets[k].count;
  comm.all_reduce(View(std::span<std::int64_t>(counts)), ReduceOp::max, Stream{}, "checkpoint: sizes");
  const auto path = part / shard.file;

  hdf5::File file;
  on_all_ranks(comm, "create a shared checkpoint file", [&] { file = hdf5::create_shared_file(path, comm.size()); });
  Attempts attempt;
  std::vector<std::string> digests;
  for (const auto kind : all_checkpoint_kinds()) {
    const auto k = static_cast<std::size_t>(kind);
    const auto runs = runs_of(content, kind, layout.start[k], piece_count, digests);
    if (counts[k] == 0) continue;
    const auto turns = most_of(comm, runs.size());
    const hdf5::Gate gate;
    hdf5::Dataset dataset;
    hdf5::PropertyList transfer;
    attempt([&] {
      dataset = hdf5::create_flat(file, name_of(kind), storage_of(kind), counts[k], path);
      shard.datasets[k].offset = static_cast<std::int64_t>(H5Dget_offset(dataset.get()));
      transfer = hdf5::collective_transfer(path);
    });
    for (std::int64_t i = 0; i < turns; ++i) {
      const auto run = static_cast<std::size_t>(i) < runs.size() ? runs[static_cast<std::size_t>(i)] : Run{};
      attempt([&] { write_run(dataset, kind, run, transfer, path); });
    }
  }
  attempt([&] { hdf5::finish_file(std::move(file), path); });
  on_all_ranks(comm, "write a shared checkpoint file", [&] {
    attempt.rethrow();
    if (layout.creates(comm.rank())) measure_shard(part, shard);
  });
  return digests;
}

}  // namespace dstrain
