// SPDX-License-Identifier: Apache-2.0
#include "commands/local_model.hpp"

#include <span>
#include <utility>

#include "core/device_runtime.hpp"
#include "core/error.hpp"
#include "core/system_memory.hpp"
#include "model/adapters/tuning.hpp"
#include "train/device_setup.hpp"
#include "train/engine_state.hpp"
#include "train/merged_weights.hpp"
#include "train/model_source.hpp"

namespace dstrain::commands {

namespace {

constexpr std::int64_t staging_elements = 2 << 20;

}  // namespace

DType dtype_of_flag(const std::string& text) {
  if (text == "float32" || text == "f32" || text == "fp32") return DType::f32;
  if (text == "bfloat16" || text == "bf16") return DType::bf16;
  if (text == "float16" || text == "f16") return DType::f16;
  throw ConfigError(fmt::format("--dtype is \"{}\"", text), "command line", "give float32, bfloat16 or float16");
}

Device device_of_flag(const std::string& text) {
  DeviceRuntime* runtime = device_runtime();
  const int count = runtime == nullptr ? 0 : runtime->count();
  const std::string why = runtime == nullptr ? "this dstrain was built without CUDA" : runtime->why_none();
  const Device device = choose_device(parse_device_wish(text), 0, 1, count, why, false).device;
  if (device.kind == DeviceKind::cuda) runtime->use(device.index);
  return device;
}

LocalModel::LocalModel(const std::string& folder, const ZeroOptions& options, Device device, const PlanMore& plan_more,
                       const std::vector<std::filesystem::path>& adapters) {
  ModelSource source = open_model(folder);
  if (!source.has_weights) {
    throw RefusedError(fmt::format("{} has no weights", folder), {},
                       "give a model folder with model.safetensors; `dstrain export` makes one");
  }
  spec_ = source.spec;
  for (const auto& adapter : adapters) {
    Tuning tuning;
    tuning.kind = TuningKind::lora;
    tuning.adapter = AdapterFolder::open(adapter).config();
    spec_ = merged_spec(std::move(spec_), tuning);
  }
  layout_ = make_layout(spec_);
  MemoryPlan plan(device.kind);
  const auto buffers = plan_zero(plan, layout_, options, 1);
  plan_more(plan, spec_);
  const BufferId staging = plan.add("staging/weights", staging_elements, DType::f32, phase_load, plan.host_visible());
  plan.finalize();
  if (device.kind == DeviceKind::cuda) refuse_if_gpu_too_small(plan);
  const MemoryKind of_host = device.kind == DeviceKind::cuda ? MemoryKind::pinned : MemoryKind::host;
  const std::int64_t needed = plan.arena_bytes(of_host);
  if (needed > available_host_bytes()) {
    throw RefusedError(
        fmt::format("{} are needed, {} are free", format_bytes(needed), format_bytes(available_host_bytes())), {},
        "use --dtype bfloat16, or a machine with more memory");
  }
  arena_ = std::make_unique<Arena>(std::move(plan));
  store_ = make_zero_store(layout_, options, comm_, *arena_, buffers, device);
  const View scratch = (*arena_)[staging];
  const auto weights = open_merged(source.folder, source.spec, spec_, adapters);
  stream_in_weights(comm_, layout_, *store_, weights.get(), false,
                    std::span(scratch.as<float>(), static_cast<std::size_t>(scratch.count)));
  store_->weights_changed();
}

}  // namespace dstrain::commands
