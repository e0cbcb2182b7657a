// SPDX-License-Identifier: Apache-2.0
/// A decoder with its plan, memory and a store of one process.
#pragma once

#include <filesystem>
#include <memory>

#include "model/decoder.hpp"
#include "support/local_store.hpp"

namespace dstrain::test {

struct ModelUnderTest {
  ModelSpec spec;
  ModelLayout layout;
  DecoderOptions options;
  std::unique_ptr<Arena> arena;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<LocalParameterStore> store;

  /// Zero weights.
  ModelUnderTest(ModelSpec model, DecoderOptions decoder_options);
  ModelUnderTest(const ModelUnderTest&) = delete;
  ModelUnderTest& operator=(const ModelUnderTest&) = delete;
};

/// A model with random weights of a size at which every part of the forward pass matters.
std::unique_ptr<ModelUnderTest> random_model(const ModelSpec& spec, const DecoderOptions& options);

/// config.json and model.safetensors of a folder.
std::unique_ptr<ModelUnderTest> load_model(const std::filesystem::path& folder, const DecoderOptions& options);

/// preset:nano with every bias and norm away from its initial value.
ModelSpec small_spec(bool tied, bool biases);

}  // namespace dstrain::test
