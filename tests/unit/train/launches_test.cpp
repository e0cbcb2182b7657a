// SPDX-License-Identifier: Apache-2.0
/// How many kernels and copies a step gives a GPU: what the host's launch time is made of, and what keeps a small model
/// from being bound by it.
#include <gtest/gtest.h>

#include <cstdio>

#include "comm/local_communicator.hpp"
#include "core/parallel.hpp"
#include "dstrain/engine.hpp"
#include "kernels/cuda/emulation/simt.hpp"
#include "model/model_spec.hpp"
#include "support/emulated/emulated_device.hpp"
#include "support/token_rows.hpp"

namespace dstrain::launches_test {
namespace {

constexpr Device emulated_gpu{DeviceKind::cuda, 0};

/// The architecture of a preset, small.
ModelSpec small(const char* preset, std::int64_t layers) {
  const ModelSpec nano = preset_spec("nano");
  ModelSpec spec = preset_spec(preset);
  spec.num_hidden_layers = layers;
  spec.hidden_size = nano.hidden_size;
  spec.num_attention_heads = nano.num_attention_heads;
  spec.num_key_value_heads = nano.num_key_value_heads;
  spec.head_dim = nano.head_dim;
  spec.rope.rotary_dim = nano.rope.rotary_dim;
  spec.intermediate_size = nano.intermediate_size;
  spec.vocab_size = nano.vocab_size;
  return spec;
}

struct Launches {
  std::int64_t forward = 0;
  std::int64_t backward = 0;
  std::int64_t step = 0;
};

/// Of one step with one micro-batch and recomputation, in bf16.
Launches launches_of(const ModelSpec& spec) {
  WithEmulatedDevice device;
  LocalCommunicator comm;
  EngineOptions options;
  options.device = emulated_gpu;
  options.threads = max_threads();
  options.dtype = DType::bf16;
  options.max_tokens = 64;
  const auto engine = Engine::initialize(comm, spec, options, {});
  const std::vector<std::vector<std::int32_t>> rows = {{1, 2, 3, 4, 5, 6}};
  const test::PackedRows packed(rows, 0.1F);
  const auto given = [&](const auto& call) {
    const std::int64_t grids = simt::grids_run();
    const std::size_t seen = device->operations().size();
    device->watch(true);
    call();
    device->watch(false);
    std::int64_t others = 0;  // products are the CPU's here, copies the runtime's
    for (std::size_t i = seen; i < device->operations().size(); ++i) {
      const std::string& name = device->operations()[i].name;
      const bool brings_segments = name == "attention_forward" || name == "attention_backward";
      others +=
          name == "matmul" || name == "matmul_bias" || name == "copy" || name == "zero" || brings_segments ? 1 : 0;
    }
    return simt::grids_run() - grids + others;
  };
  Launches launches;
  engine->begin_step();
  launches.forward = given([&] { engine->forward(packed.batch(), 1, true); });
  launches.backward = given([&] { engine->backward(); });
  launches.step = given([&] { engine->step(1e-3); });
  return launches;
}

TEST(Launches, OfALayerAreFew) {
  for (const char* preset : {"1b", "0.5b"}) {
    const Launches two = launches_of(small(preset, 2)), four = launches_of(small(preset, 4));

    const std::int64_t forward = (four.forward - two.forward) / 2, backward = (four.backward - two.backward) / 2,
                       step = (four.step - two.step) / 2;
    std::printf("%s: a layer %lld forward, %lld backward, %lld in the step; the rest %lld, %lld, %lld\n", preset,
                static_cast<long long>(forward), static_cast<long long>(backward), static_cast<long long>(step),
                static_cast<long long>(two.forward - 2 * forward), static_cast<long long>(two.backward - 2 * backward),
                static_cast<long long>(two.step - 2 * step));
    EXPECT_LE(forward, 16) << preset;
    EXPECT_LE(backward, 50) << preset;
    EXPECT_LE(step, 16) << preset;
  }
}

}  // namespace
}  // namespace dstrain::launches_test
