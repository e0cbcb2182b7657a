// SPDX-License-Identifier: Apache-2.0
/// The weights of a Hugging Face model folder, whatever form they have.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "io/weights/weight_source.hpp"

namespace dstrain {

/// Whether `folder` holds weights in a form that open_weights() reads. Local.
[[nodiscard]] bool holds_weights(const std::filesystem::path& folder);

/// Opens them in transformers' order: safetensors before pytorch_model.bin. Local; reads headers only.
/// @param base_prefix  what names of the base model begin with ("transformer."): where no name of the file does, it was
///                     saved without the head's class, and the names are given as if it had been
/// @throws IoError, ConfigError as SafetensorsModel::open and TorchModel::open
[[nodiscard]] std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& folder,
                                                         const std::string& base_prefix = {});

/// Whether a tensor that the model does not ask for is no sign of a mistake: tables that are computed.
[[nodiscard]] bool is_computed_buffer(const std::string& name) noexcept;

}  // namespace dstrain
