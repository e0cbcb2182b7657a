// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/trial.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "core/error.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t sample_bytes = 32 << 20;
constexpr std::int64_t write_bytes = 4 << 20;
constexpr double longest_s = 1.0;

std::int64_t bytes_of(const CheckpointContent& content) {
  std::int64_t bytes = 0;
  for (const auto kind : all_checkpoint_kinds()) {
    for (const auto& slice : content[kind]) bytes += slice.count * element_bytes(kind);
  }
  return bytes;
}

/// In memory a reservation is no cheaper than writing.
bool reserves_cheaply(const std::filesystem::path& folder) {
  struct statfs status {};
  return ::statfs(folder.c_str(), &status) == 0 && status.f_type != TMPFS_MAGIC && status.f_type != RAMFS_MAGIC;
}

void reserve(const FileDescriptor& file, std::int64_t bytes, const std::filesystem::path& path) {
  if (bytes == 0 || !reserves_cheaply(path.parent_path())) return;
  if (::fallocate(file.get(), 0, 0, bytes) == 0) return;
  if (errno != ENOSPC && errno != EDQUOT) return;  // the file system cannot reserve
  throw RefusedError(fmt::format("there is no room for {} bytes: {}", bytes, std::generic_category().message(errno)),
                     path.parent_path().parent_path().string(), "free disk space or ask for more quota");
}

/// Writes the first bytes of the content until there is no more, or the time is over. @return bytes written
std::int64_t write_sample(const FileDescriptor& file, const CheckpointContent& content,
                          const std::filesystem::path& path) {
  const auto start = Clock::now();
  std::int64_t at = 0;
  for (const auto kind : all_checkpoint_kinds()) {
    for (const auto& slice : content[kind]) {
      const auto bytes = slice.count * element_bytes(kind);
      for (std::int64_t done = 0; done < bytes && at < sample_bytes; done += write_bytes) {
        const auto n = std::min({write_bytes, bytes - done, sample_bytes - at});
        write_at(file, at, static_cast<const char*>(slice.data) + done, n, path);
        at += n;
        if (std::chrono::duration<double>(Clock::now() - start).count() > longest_s) return at;
      }
    }
  }
  return at;
}

}  // namespace

CheckpointTrial try_checkpoint(Communicator& comm, const std::filesystem::path& output_dir,
                               const CheckpointContent& content, CheckpointWriters writers) {
  const bool writes = comm.rank() == 0 || writers != CheckpointWriters::single;
  const auto own = bytes_of(content);
  CheckpointTrial trial;
  trial.bytes = own;
  comm.all_reduce(View(&trial.bytes, 1, DType::i64), ReduceOp::sum, Stream{}, "checkpoint trial: bytes");
  const auto folder = output_dir / "checkpoint-trial.part";  // a name that the next writer removes
  std::array<double, 2> figures{};                           // bytes, seconds
  try {
    on_all_ranks(comm, "try a checkpoint", [&] {
      if (comm.rank() != 0) return;
      create_folder(output_dir);
      remove_unfinished_checkpoints(output_dir);
      create_folder(folder);
      trial.free_bytes = free_disk_bytes(folder);
      if (trial.free_bytes < trial.bytes) {
        throw RefusedError(fmt::format("a checkpoint needs {} bytes, {} are free", trial.bytes, trial.free_bytes),
                           output_dir.string(), "free disk space, or set save_only_model or another output_dir");
      }
    });
    on_all_ranks(comm, "try a checkpoint", [&] {
      if (!writes) return;
      if (!std::filesystem::is_directory(folder)) {
        throw RefusedError("rank 0 created this folder, this rank does not see it", folder.string(),
                           "output_dir must lie on a file system that all hosts share; else set checkpoint_writers: "
                           "single");
      }
      const auto path = folder / fmt::format("sample-{}", comm.rank());
      const auto file = create_to_write(path);
      reserve(file, writers == CheckpointWriters::single ? trial.bytes : own, path);
      const auto start = Clock::now();
      figures[0] = static_cast<double>(write_sample(file, content, path));
      sync_file(file, path);
      figures[1] = std::chrono::duration<double>(Clock::now() - start).count();
    });
  } catch (...) {
    std::error_code ignored;
    if (comm.rank() == 0) std::filesystem::remove_all(folder, ignored);
    throw;
  }
  std::error_code ignored;
  if (comm.rank() == 0) std::filesystem::remove_all(folder, ignored);
  comm.all_reduce(View(figures.data(), 1, DType::f64), ReduceOp::sum, Stream{}, "checkpoint trial: sample");
  comm.all_reduce(View(&figures[1], 1, DType::f64), ReduceOp::max, Stream{}, "checkpoint trial: time");
  comm.broadcast(View(&trial.free_bytes, 1, DType::i64), 0, Stream{}, "checkpoint trial: space");
  trial.bytes_per_second = figures[0] / std::max(figures[1], 1e-6);
  return trial;
}

}  // namespace dstrain
