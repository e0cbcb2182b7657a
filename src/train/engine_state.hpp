// SPDX-License-Identifier: Apache-2.0
/// State of an Engine on its way between ranks and files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "core/host_mirror.hpp"
#include "io/checkpoint/content.hpp"
#include "io/safetensors/writer.hpp"
#include "io/weights/weight_source.hpp"
#include "model/adapters/adapter_config.hpp"
#include "model/model_spec.hpp"
#include "zero/zero_store.hpp"

namespace dstrain {

/// Random initial weights, made slice by slice on their owners: the same for any number of ranks. Local.
/// @param adapters_only  the base weights come from elsewhere
/// @param tied           the head's own matrix starts as the embedding (an untied head of a tied model)
void initialise_weights(const ModelLayout& layout, const ModelSpec& spec, const ZeroStore& store, std::uint64_t seed,
                        bool adapters_only, bool tied, std::span<float> staging);

/// Reads tensors from `source` on rank 0 and streams them to their owners through `staging`. Collective.
/// @param source    looked at on rank 0 only
/// @param adapters  false: the model's own tensors; true: what is trained beside frozen weights
/// @throws IoError, ConfigError on all ranks
void stream_in_weights(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                       const WeightSource* source, bool adapters, std::span<float> staging);

/// The same for the model folder `folder` (rank 0), every tensor.
void stream_in_weights(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                       const std::filesystem::path& folder, std::span<float> staging);

/// The way back: model*.safetensors in `folder`, written by rank 0. Collective.
void stream_out_weights(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                        const std::filesystem::path& folder, DType dtype, std::span<float> staging);

/// The trained tensors beside frozen ones as a PEFT adapter in `folder`, f32, written by rank 0. Collective.
void stream_out_adapter(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                        const std::filesystem::path& folder, const AdapterConfig& config, Durability durability,
                        std::span<float> staging);

/// What a checkpoint holds besides tensors.
struct LoadedState {
  std::int64_t step = 0;
  std::map<std::string, std::string> client_state;
};

/// This rank's ranges of everything that is trained (frozen weights stand where they came from), without metadata. They
/// point into the store's memory, or into `mirror` where that is on a device. Local.
CheckpointContent checkpoint_content(const Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                                     bool save_only_model, HostMirror& mirror);

/// Reads master weights and moments of the slices this rank owns. Collective.
/// @throws IoError where the checkpoint is damaged, incomplete or of another model; RefusedError where it has no
/// optimizer state
/// @param weights_only  moments are neither read nor asked for
LoadedState load_state(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                       const std::filesystem::path& checkpoint, std::span<float> staging, bool weights_only = false);

/// "model." or "transformer.": what the names of the base model begin with. Local.
std::string base_prefix_of(const ModelLayout& layout);

}  // namespace dstrain
