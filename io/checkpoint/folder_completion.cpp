// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/folder_completion.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <future>
#include <random>
#include <utility>

#include "core/error.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/shard_file.hpp"
#include "io/checkpoint/view.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* owner_name = "owner";

/// Whatever was written beside the shards comes under the manifest.
std::vector<ExtraFile> files_beside(const std::filesystem::path& part, const std::vector<Shard>& shards) {
  std::vector<ExtraFile> files;
  for (const auto& entry : std::filesystem::directory_iterator(part)) {
    const auto name = entry.path().filename().string();
    const bool known = name == owner_name || std::any_of(shards.begin(), shards.end(),
                                                         [&](const Shard& shard) { return shard.file == name; });
    if (known) continue;
    sync_file(entry.path());
    files.push_back({name, file_bytes(open_to_read(entry.path()), entry.path()), digest_of_file(entry.path())});
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

void complete_folder(const std::filesystem::path& part, const std::filesystem::path& final_path, Manifest& manifest,
                     const CheckpointOptions& options) {
  if (!std::filesystem::is_directory(part)) {
    throw IoError("went away while it was written", part.string(),
                  "was output_dir removed, or its file system unmounted?");
  }
  for (const auto& shard : manifest.shards) check_shard_size(part, shard);
  manifest.files = files_beside(part, manifest.shards);
  write_view(part, manifest, manifest.metadata);
  const auto text = manifest_text(manifest);
  write_file_atomically(part / manifest_name, text);
  write_file_atomically(part / manifest_digest_name, fmt::format("{}  {}\n", digest_of(text), manifest_name));
  std::filesystem::remove(part / owner_name);
  commit_checkpoint(part, final_path);
  if (options.save_total_limit)
    prune_checkpoints(final_path.parent_path(), *options.save_total_limit, final_path, options.best);
}

}  // namespace

std::string folder_word() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}{:08x}", device(), device(), device());
}

void as_failure(const std::function<void()>& step) {
  try {
    step();
  } catch (IoError& error) {
    error.with_code(ExitCode::failed);
    throw;
  }
}

void prepare_folder(const std::filesystem::path& part, const std::vector<Shard>& shards, const std::string& word) {
  const auto output_dir = part.parent_path();
  remove_unfinished_checkpoints(output_dir);
  std::int64_t bytes = 1 << 20;
  for (const auto& shard : shards) {
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
  const auto path = part / owner_name;  // not for eternity: no need to wait for the disk
  write_at(create_to_write(path), 0, word.data(), static_cast<std::int64_t>(word.size()), path);
}

void check_folder_is_shared(const std::filesystem::path& part, const std::string& word) {
  std::error_code error;
  if (std::filesystem::exists(part / owner_name, error) && read_file(part / owner_name, 4096) == word) return;
  throw IoError("rank 0 created this folder, this rank does not see it", part.string(),
                "output_dir must lie on a file system that all hosts share; else set checkpoint_writers: single")
      .with_code(ExitCode::failed);
}

struct FolderCompletion::Job {
  std::filesystem::path part;
  std::filesystem::path final_path;
  Manifest manifest;
  CheckpointOptions options;
  Clock::time_point begun = Clock::now();
  std::promise<void> promise;
  std::future<void> outcome = promise.get_future();
};

FolderCompletion::FolderCompletion(std::filesystem::path part, std::filesystem::path final_path, Manifest manifest,
                                   CheckpointOptions options)
    : job_(std::make_shared<Job>()) {
  job_->part = std::move(part);
  job_->final_path = std::move(final_path);
  job_->manifest = std::move(manifest);
  job_->options = std::move(options);
  thread_ = std::thread([job = job_] {
    try {
      as_failure([&] { complete_folder(job->part, job->final_path, job->manifest, job->options); });
      job->promise.set_value();
    } catch (...) {
      job->promise.set_exception(std::current_exception());
    }
  });
}

FolderCompletion::~FolderCompletion() { end(); }

bool FolderCompletion::over() const {
  return job_->outcome.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

bool FolderCompletion::hung() const {
  const double patience_s = job_->options.patience_s;
  return patience_s > 0 && !over() && std::chrono::duration<double>(Clock::now() - job_->begun).count() > patience_s;
}

void FolderCompletion::wait_a_little() const { (void)job_->outcome.wait_for(std::chrono::milliseconds(200)); }

void FolderCompletion::end() {
  if (!thread_.joinable()) return;
  while (!over() && !hung()) wait_a_little();
  over() ? thread_.join() : thread_.detach();
}

void FolderCompletion::check() {
  if (over()) {
    job_->outcome.get();
    return;
  }
  throw IoError(fmt::format("completing the checkpoint takes longer than {:.0f} s", job_->options.patience_s),
                job_->part.string(), "look at the file system of output_dir; it may take four fifths of ddp_timeout")
      .with_code(ExitCode::failed);
}

}  // namespace dstrain
