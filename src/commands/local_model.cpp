// SPDX-License-Identifier: Apache-2.0
#include "commands/local_model.hpp"

#include <span>
#include <utility>

#include "core/error.hpp"
#include "core/system_memory.hpp"
#include "model/adapters/tuning.hpp"
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

LocalModel::LocalModel(const std::string& folder, const ZeroOptions& options, const PlanMore& plan_more,
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
  MemoryPlan plan;
  const auto buffers = plan_zero(plan, layout_, options, 1);
  plan_more(plan, spec_);
  const BufferId staging = plan.add("staging/weights", staging_elements, DType::f32, phase_load);
  plan.finalize();
  const std::int64_t needed = plan.arena_bytes(MemoryKind::host) + plan.arena_bytes(MemoryKind::registered);
  if (needed > available_host_bytes()) {
    throw RefusedError(
        fmt::format("{} are needed, {} are free", format_bytes(needed), format_bytes(available_host_bytes())), {},
        "use --dtype bfloat16, or a machine with more memory");
  }
  arena_ = std::make_unique<Arena>(std::move(plan));
  store_ = make_zero_store(layout_, options, comm_, *arena_, buffers, Device{});
  const View scratch = (*arena_)[staging];
  const auto weights = open_merged(source.folder, source.spec, spec_, adapters);
  stream_in_weights(comm_, layout_, *store_, weights.get(), false,
                    std::span(scratch.as<float>(), static_cast<std::size_t>(scratch.count)));
  store_->weights_changed();
}

}  // namespace dstrain::commands
