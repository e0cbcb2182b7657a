// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/folders.hpp"

#include <fcntl.h>
#include <stdio.h>  // NOLINT: renameat2 is not in cstdio's namespace

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>

#include "core/error.hpp"
#include "core/log.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

constexpr std::string_view prefix = "checkpoint-";
constexpr const char* latest_name = "latest";

/// The step in "checkpoint-<step>" where the name is that and nothing else.
std::optional<std::int64_t> step_in(std::string_view name) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || step < 0) return std::nullopt;
  if (std::to_string(step) != name) return std::nullopt;  // "checkpoint-007", "checkpoint--0"
  return step;
}

bool is_complete(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(folder / manifest_name, ignored) &&
         std::filesystem::is_regular_file(folder / manifest_digest_name, ignored);
}

std::vector<std::filesystem::path> entries(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    paths.push_back(entry->path());
  }
  return paths;
}

void remove_all_or_warn(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) log::warning("cannot remove {}: {}", path.string(), error.message());
}

/// Swaps two names in one step; false where the file system cannot.
bool exchange(const std::filesystem::path& a, const std::filesystem::path& b) {
#ifdef RENAME_EXCHANGE
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
#else
  (void)a;
  (void)b;
  return false;
#endif
}

std::filesystem::path with_suffix(std::filesystem::path path, const char* suffix) {
  path += suffix;
  return path;
}

}  // namespace

std::string checkpoint_name(std::int64_t step) { return std::string(prefix) + std::to_string(step); }

std::vector<CheckpointFolder> list_checkpoints(const std::filesystem::path& output_dir) {
  std::vector<CheckpointFolder> found;
  for (const auto& path : entries(output_dir)) {
    const auto step = step_in(path.filename().string());
    if (step && is_complete(path)) found.push_back({*step, path});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return found;
}

std::optional<std::int64_t> checkpoint_step(const std::filesystem::path& folder) {
  return step_in(folder.filename().string());
}

std::vector<std::filesystem::path> list_incomplete_checkpoints(const std::filesystem::path& output_dir) {
  std::vector<std::filesystem::path> found;
  for (const auto& path : entries(output_dir)) {
    if (!step_in(path.filename().string()) || is_complete(path)) continue;
    std::error_code ignored;
    const bool ours = std::filesystem::exists(path / view_name, ignored) ||
                      std::filesystem::exists(path / manifest_name, ignored) ||
                      std::filesystem::exists(path / manifest_digest_name, ignored);
    if (ours) found.push_back(path);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<CheckpointFolder> find_latest_checkpoint(const std::filesystem::path& output_dir) {
  const auto found = list_checkpoints(output_dir);
  if (found.empty()) return std::nullopt;
  std::error_code error;
  const auto pointer = output_dir / latest_name;
  const auto pointed_at = std::filesystem::last_write_time(pointer, error);
  if (error) return found.back();
  auto name = read_file(pointer, 4096);
  while (!name.empty() && (name.back() == '\n' || name.back() == '\r' || name.back() == ' ')) name.pop_back();
  const auto named = std::find_if(found.begin(), found.end(), [&](const auto& f) { return f.path.filename() == name; });
  if (named == found.end()) return found.back();
  // Only of a higher step: in a copy of the folder, times tell nothing.
  const auto finished = std::filesystem::last_write_time(found.back().path / manifest_name, error);
  return !error && finished > pointed_at ? found.back() : *named;
}

void remove_unfinished_checkpoints(const std::filesystem::path& output_dir) {
  for (const auto& path : entries(output_dir)) {
    const auto name = path.filename().string();
    if (name.starts_with(prefix) && name.ends_with(".part")) remove_all_or_warn(path);
  }
}

void commit_checkpoint(const std::filesystem::path& part, const std::filesystem::path& final_path) {
  sync_folder(part);
  if (std::filesystem::exists(final_path) && !std::filesystem::is_directory(final_path)) {
    throw IoError("a file is where the checkpoint's folder should be", final_path.string(), "move it away")
        .with_code(ExitCode::failed);
  }
  if (!std::filesystem::exists(final_path)) {
    rename_path(part, final_path);
  } else if (!exchange(part, final_path)) {
    const auto old = with_suffix(final_path, ".old.part");
    remove_all_or_warn(old);
    rename_path(final_path, old);
    rename_path(part, final_path);
    remove_all_or_warn(old);
  }
  const auto output_dir = final_path.parent_path();
  sync_folder(output_dir);
  write_file_atomically(output_dir / latest_name, final_path.filename().string() + "\n");
  if (std::filesystem::exists(part)) remove_all_or_warn(part);  // what was replaced
}

void prune_checkpoints(const std::filesystem::path& output_dir, int limit, const std::filesystem::path& keep,
                       const std::filesystem::path& best) {
  if (limit < 1) return;
  auto found = list_checkpoints(output_dir);
  auto excess = static_cast<std::int64_t>(found.size()) - limit;
  for (const auto& folder : found) {
    if (excess <= 0) return;
    if (folder.path.filename() == keep.filename() || folder.path.filename() == best.filename()) continue;
    const auto going = with_suffix(folder.path, ".old.part");
    rename_path(folder.path, going);
    sync_folder(output_dir);
    remove_all_or_warn(going);
    --excess;
  }
}

}  // namespace dstrain
