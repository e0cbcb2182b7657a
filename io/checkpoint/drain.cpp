// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/drain.hpp"

#include <fcntl.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "core/error.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

/// So much is handed to the disk at once while the next pieces are still being copied into the page cache.
constexpr std::int64_t flush_bytes = 32 << 20;

/// Pieces that an owner who waits hashes ahead of the one being written: few enough to be in the cache still when they
/// are written.
constexpr std::size_t pieces_ahead = 4;

}  // namespace

struct ShardDrain::Job {
  std::filesystem::path path;
  std::vector<DrainPiece> pieces;
  View copies;
  Clock::duration patience{};

  std::thread thread;
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  std::vector<std::string> digests;
  std::size_t hashed = 0;          // pieces before it have a digest, or are getting it
  std::size_t next = 0;            // pieces before it are written
  bool writing = false;            // piece `next` is being written
  bool writing_in_place = false;   // from its owner's memory
  std::size_t copied_from = 0;     // pieces from here on are, or are being, copied
  std::size_t copying = SIZE_MAX;  // this one is not there yet
  std::int64_t copied_bytes = 0;
  bool cancelled = false;
  bool finished = false;
  std::exception_ptr error;
  Clock::time_point progress = Clock::now();

  [[nodiscard]] bool hung() const { return patience.count() > 0 && !finished && Clock::now() - progress > patience; }

  [[nodiscard]] IoError hang() const {
    return IoError(fmt::format("the disk took nothing for {:.0f} s",
                               std::chrono::duration<double>(Clock::now() - progress).count()),
                   path.string(), "look at the file system of output_dir; it may take four fifths of ddp_timeout")
        .with_code(ExitCode::failed);
  }

  /// Waits for the other side, in short turns to notice a disk that hangs.
  template <typename Done>
  void wait_for(std::unique_lock<std::mutex>& lock, const Done& done) const {
    while (!done()) {
      changed.wait_for(lock, std::chrono::milliseconds(200));
      if (hung()) throw hang();
    }
  }

  /// Gives the next piece without one its digest. Under the lock, but for the work.
  void hash(std::unique_lock<std::mutex>& lock) {
    const std::size_t index = hashed++;
    const DrainPiece piece = pieces[index];
    lock.unlock();
    auto digest = digest_of(piece.from, piece.bytes);
    lock.lock();
    digests[index] = std::move(digest);
  }

  /// Whether the owner, who waits, has something to hash.
  [[nodiscard]] bool can_help() const {
    return !finished && !cancelled && hashed < pieces.size() && hashed <= next + pieces_ahead;
  }

  /// Takes the next piece, with its digest made or being made; false where there is none.
  bool take(DrainPiece& piece) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return copying != next || cancelled; });
    if (cancelled || next == pieces.size()) return false;
    writing = true;
    writing_in_place = next < copied_from;
    piece = pieces[next];
    // Hashed first: the bytes are still in the cache when they are written.
    if (hashed == next) hash(lock);
    return true;
  }

  void done() {
    const std::lock_guard lock(mutex);
    ++next;
    writing = false;
    progress = Clock::now();
    changed.notify_all();
  }

  void write_all() {
    const FileDescriptor file = open_to_change(path);
    std::int64_t flushed = -1;
    std::int64_t end = 0;
    DrainPiece piece;
    while (take(piece)) {
      write_at(file, piece.at, piece.from, piece.bytes, path);
      done();
      if (flushed < 0) flushed = piece.at;
      end = piece.at + piece.bytes;
      if (end - flushed < flush_bytes) continue;
      // A hint that the disk may begin; fsync below is what counts.
      (void)::sync_file_range(file.get(), flushed, end - flushed, SYNC_FILE_RANGE_WRITE);
      flushed = end;
    }
    sync_file(file, path);
  }

  void run() {
    std::exception_ptr failure;
    try {
      write_all();
    } catch (...) {
      failure = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    error = failure;
    finished = true;
    writing = false;
    changed.notify_all();
  }
};

ShardDrain::ShardDrain(std::filesystem::path file, std::vector<DrainPiece> pieces, View copies, double patience_s)
    : job_(std::make_shared<Job>()) {
  job_->path = std::move(file);
  job_->copied_from = pieces.size();
  job_->digests.resize(pieces.size());
  job_->pieces = std::move(pieces);
  job_->copies = copies;
  job_->patience = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(patience_s));
  job_->thread = std::thread([job = job_] { job->run(); });
}

ShardDrain::~ShardDrain() {
  std::unique_lock lock(job_->mutex);
  job_->cancelled = true;
  job_->changed.notify_all();
  while (!job_->finished && !job_->hung()) job_->changed.wait_for(lock, std::chrono::milliseconds(200));
  const bool finished = job_->finished;
  lock.unlock();
  if (finished) {
    job_->thread.join();
  } else {
    job_->thread.detach();
  }
}

DrainState ShardDrain::state() const {
  const std::lock_guard lock(job_->mutex);
  if (job_->finished) return job_->error ? DrainState::failed : DrainState::done;
  return job_->hung() ? DrainState::failed : DrainState::running;
}

void ShardDrain::secure() {
  Job& job = *job_;
  std::unique_lock lock(job.mutex);
  const auto settled = [&] { return job.finished || job.cancelled; };
  auto* const room = static_cast<char*>(job.copies.data);
  const auto room_bytes = job.copies.count * static_cast<std::int64_t>(size_of(job.copies.dtype));
  while (!settled() && job.copied_from > job.next + (job.writing ? 1 : 0)) {
    DrainPiece& last = job.pieces[job.copied_from - 1];
    if (job.copied_bytes + last.bytes > room_bytes) {
      const auto before = job.next;
      job.wait_for(lock, [&] { return settled() || job.next != before; });
      continue;
    }
    --job.copied_from;
    job.copying = job.copied_from;
    void* const to = room + job.copied_bytes;
    job.copied_bytes += last.bytes;
    lock.unlock();
    std::memcpy(to, last.from, static_cast<std::size_t>(last.bytes));
    lock.lock();
    last.from = to;
    job.copying = SIZE_MAX;
    job.changed.notify_all();
  }
  job.wait_for(lock, [&] { return settled() || !job.writing || !job.writing_in_place; });
}

void ShardDrain::wait() {
  std::unique_lock lock(job_->mutex);
  while (!job_->finished) {
    job_->wait_for(lock, [&] { return job_->finished || job_->can_help(); });
    while (job_->can_help()) job_->hash(lock);
  }
  if (job_->error) std::rethrow_exception(job_->error);
}

const std::vector<std::string>& ShardDrain::digests() const { return job_->digests; }

std::int64_t ShardDrain::copied_bytes() const {
  const std::lock_guard lock(job_->mutex);
  return job_->copied_bytes;
}

}  // namespace dstrain
