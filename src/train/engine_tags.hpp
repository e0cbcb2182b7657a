// SPDX-License-Identifier: Apache-2.0
/// Tags and the client's state in a checkpoint's metadata: what Engine::save_checkpoint and load_checkpoint add to
/// save and load.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "comm/communicator.hpp"
#include "dstrain/engine.hpp"

namespace dstrain {

/// The metadata of a checkpoint that is about to be written: the client's state, `tag`, and the tags that a checkpoint
/// of the same step in `folder` has already. Collective; the result is rank 0's.
/// @throws ConfigError  on all ranks: `client_state` is no JSON object, `tag` is longer than a line
std::map<std::string, std::string> tagged_state(Communicator& comm, const std::filesystem::path& folder,
                                                std::int64_t step, const std::string& tag,
                                                const std::string& client_state);

/// The newest checkpoint of `folder` that carries `tag`; an empty tag: the one written last. Collective: rank 0 looks.
/// @throws IoError  on all ranks: there is none
std::filesystem::path find_tagged(Communicator& comm, const std::filesystem::path& folder, const std::string& tag);

/// What a client gets of the metadata that Engine::load() returned. Local.
/// @throws IoError  it is not what tagged_state() makes
LoadedCheckpoint loaded_from(const std::filesystem::path& folder, const std::map<std::string, std::string>& metadata);

}  // namespace dstrain
