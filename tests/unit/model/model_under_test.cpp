// SPDX-License-Identifier: Apache-2.0
#include "unit/model/model_under_test.hpp"

#include <utility>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "io/files/file.hpp"
#include "io/safetensors/reader.hpp"

namespace dstrain::test {

ModelUnderTest::ModelUnderTest(ModelSpec model, DecoderOptions decoder_options)
    : spec(std::move(model)), layout(make_layout(spec)), options(decoder_options) {
  options.threads = max_threads();
  MemoryPlan plan;
  auto buffers = plan_decoder(plan, spec, options);
  plan.finalize();
  arena = std::make_unique<Arena>(std::move(plan));
  decoder = std::make_unique<Decoder>(spec, layout, options, *arena, std::move(buffers), Device{});
  store = std::make_unique<LocalParameterStore>(layout, options.dtype);
}

std::unique_ptr<ModelUnderTest> random_model(const ModelSpec& spec, const DecoderOptions& options) {
  auto model = std::make_unique<ModelUnderTest>(spec, options);
  model->store->fill([](const TensorLayout& tensor, float* out) {
    const Rng rng(7, RngSite::weights, 0, static_cast<std::uint32_t>(tensor.index));
    const bool norm = tensor.name.ends_with("norm.weight");
    for (std::int64_t i = 0; i < tensor.count; ++i) {
      out[i] = (norm ? 1.0F : 0.0F) + 0.15F * rng.normal(static_cast<std::uint64_t>(i));
    }
  });
  return model;
}

std::unique_ptr<ModelUnderTest> load_model(const std::filesystem::path& folder, const DecoderOptions& options) {
  const auto config = folder / "config.json";
  auto model = std::make_unique<ModelUnderTest>(parse_model_spec(read_file(config, 1 << 20), config.string()), options);
  const auto file = SafetensorsFile::open(folder / "model.safetensors");
  model->store->fill([&](const TensorLayout& tensor, float* out) {
    const std::int32_t index = file.find(tensor.name);
    DSTRAIN_CHECK(index >= 0, "{} has no {}", file.path().string(), tensor.name);
    file.read_f32(index, 0, tensor.count, out);
  });
  return model;
}

ModelSpec small_spec(bool tied, bool biases) {
  return parse_model_spec(
      fmt::format(R"({{"model_type": "llama", "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3,
      "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 97, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
      "attention_bias": {1}, "mlp_bias": {1}, "tie_word_embeddings": {0}}})",
                  tied, biases),
      "small");
}

}  // namespace dstrain::test
