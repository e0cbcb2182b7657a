// SPDX-License-Identifier: Apache-2.0
#include "train/engine_tags.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/log.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/read.hpp"

namespace dstrain {
namespace {

constexpr const char* tags_key = "tags";
constexpr const char* client_key = "client_state";
constexpr std::size_t longest_tag = 200;

void check_tag(const std::string& tag) {
  const bool usable = tag.size() <= longest_tag &&
                      std::none_of(tag.begin(), tag.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  if (!usable) throw ConfigError("a checkpoint's tag is one line of at most 200 letters");
}

std::vector<std::string> tags_in(const std::map<std::string, std::string>& metadata, const std::string& where) {
  const auto at = metadata.find(tags_key);
  if (at == metadata.end()) return {};
  const auto json = nlohmann::json::parse(at->second, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> tags;
  if (!json.is_array()) throw IoError("the checkpoint's tags are no list", where);
  for (const auto& tag : json) {
    if (!tag.is_string()) throw IoError("a tag of the checkpoint is no text", where);
    tags.push_back(tag.get<std::string>());
  }
  return tags;
}

/// Tags of a complete checkpoint; none where it cannot be read.
std::vector<std::string> tags_of(const std::filesystem::path& checkpoint) {
  try {
    return tags_in(CheckpointReader::open(checkpoint).metadata(), checkpoint.string());
  } catch (const IoError& error) {
    log::warning("{} is left out: {}", checkpoint.string(), error.what());
    return {};
  }
}

bool carries(const std::vector<std::string>& tags, const std::string& tag) {
  return std::find(tags.begin(), tags.end(), tag) != tags.end();
}

std::string look_for(const std::filesystem::path& folder, const std::string& tag) {
  if (tag.empty()) {
    if (const auto latest = find_latest_checkpoint(folder)) return latest->path.string();
    throw IoError("there is no complete checkpoint in this folder", folder.string());
  }
  auto found = list_checkpoints(folder);
  std::reverse(found.begin(), found.end());
  for (const auto& checkpoint : found) {
    if (carries(tags_of(checkpoint.path), tag)) return checkpoint.path.string();
  }
  throw IoError(fmt::format("no complete checkpoint in this folder carries the tag \"{}\"", tag), folder.string());
}

}  // namespace

std::map<std::string, std::string> tagged_state(Communicator& comm, const std::filesystem::path& folder,
                                                std::int64_t step, const std::string& tag,
                                                const std::string& client_state) {
  std::map<std::string, std::string> state;
  on_all_ranks(comm, "prepare the checkpoint's state", [&] {
    if (comm.rank() != 0) return;
    check_tag(tag);
    const auto json = nlohmann::json::parse(client_state, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) throw ConfigError("the client's state is no JSON object");
    state[client_key] = json.dump();
    std::vector<std::string> tags;
    for (const auto& checkpoint : list_checkpoints(folder)) {
      if (checkpoint.step == step) tags = tags_of(checkpoint.path);
    }
    if (!tag.empty() && !carries(tags, tag)) tags.push_back(tag);
    if (!tags.empty()) state[tags_key] = nlohmann::json(tags).dump();
  });
  return state;
}

std::filesystem::path find_tagged(Communicator& comm, const std::filesystem::path& folder, const std::string& tag) {
  std::string found;
  on_all_ranks(comm, "look for the checkpoint", [&] {
    if (comm.rank() == 0) found = look_for(folder, tag);
  });
  return broadcast_string(comm, found);
}

LoadedCheckpoint loaded_from(const std::filesystem::path& folder, const std::map<std::string, std::string>& metadata) {
  LoadedCheckpoint loaded;
  loaded.folder = folder;
  loaded.tags = tags_in(metadata, folder.string());
  if (const auto at = metadata.find(client_key); at != metadata.end()) loaded.client_state = at->second;
  return loaded;
}

}  // namespace dstrain
