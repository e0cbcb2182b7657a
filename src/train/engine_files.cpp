// SPDX-License-Identifier: Apache-2.0
/// Checkpoints and exports of the Engine.
#include "train/engine_impl.hpp"

#include <charconv>

#include "core/log.hpp"
#include "io/checkpoint/trial.hpp"
#include "train/engine_tags.hpp"

namespace dstrain {

namespace {

// What a checkpoint's client state holds of the Engine itself.
constexpr const char* steps_key = "optimizer_steps";
constexpr const char* scale_key = "loss_scale";
constexpr const char* seed_key = "engine_seed";

}  // namespace

void EngineImpl::save(const std::filesystem::path& output_dir, const std::map<std::string, std::string>& client_state,
                      bool save_only_model, int save_total_limit, const std::filesystem::path& best) {
  begin_save(output_dir, client_state, save_only_model, save_total_limit, best);
  finish_save();
}

void EngineImpl::begin_save(const std::filesystem::path& output_dir,
                            const std::map<std::string, std::string>& client_state, bool save_only_model,
                            int save_total_limit, const std::filesystem::path& best) {
  writer_.finish();  // what is in flight reads the mirror of before
  saved_.emplace(store_->stream());
  auto content = checkpoint_content(comm_, layout_, *store_, save_only_model, *saved_);
  content.metadata = client_state;
  content.metadata[steps_key] = fmt::format("{}", optimizer_steps_);
  content.metadata[seed_key] = fmt::format("{}", options_.seed);
  if (loss_scale_.active()) content.metadata[scale_key] = loss_scale_.state();
  CheckpointOptions options;
  if (save_total_limit > 0) options.save_total_limit = save_total_limit;
  options.best = best;
  options.writers = options_.checkpoint.writers;
  options.node_of_rank = options_.checkpoint.node_of_rank;
  options.patience_s = options_.checkpoint.patience_s;
  saved_step_ = global_step_;
  writer_.begin(output_dir, global_step_, content, options, [&](const std::filesystem::path& part) {
    // An adapter for PEFT; its way to the disk is the writer's, behind training.
    if (options_.tuning.kind == TuningKind::lora) export_adapter(part, Durability::later);
  });
  if (options_.optim.pure_bf16) finish_save();  // it is written out of the gradients' memory
}

void EngineImpl::finish_save() {
  writer_.finish();
  saved_.reset();
}

void EngineImpl::settle_late_save() {
  const auto& lag = options_.checkpoint.max_lag_steps;
  if (lag && writer_.in_flight() && global_step_ - saved_step_ >= *lag) finish_save();
}

CheckpointTrial EngineImpl::try_save(const std::filesystem::path& output_dir, bool save_only_model) {
  HostMirror mirror(store_->stream());
  return try_checkpoint(comm_, output_dir, checkpoint_content(comm_, layout_, *store_, save_only_model, mirror),
                        options_.checkpoint.writers);
}

std::map<std::string, std::string> EngineImpl::load(const std::filesystem::path& checkpoint) {
  writer_.finish();  // what is in flight reads the state in place
  auto loaded = load_state(comm_, layout_, *store_, checkpoint, staging());
  on_all_ranks(comm_, "read the engine's state", [&] { take_state(loaded, checkpoint.string()); });
  store_->weights_changed();
  return std::move(loaded.client_state);
}

void EngineImpl::take_state(LoadedState& loaded, const std::string& where) {
  global_step_ = optimizer_steps_ = loaded.step;
  auto& state = loaded.client_state;
  if (const auto at = state.find(steps_key); at != state.end()) {
    const char* end = at->second.data() + at->second.size();
    const auto [stop, error] = std::from_chars(at->second.data(), end, optimizer_steps_);
    if (error != std::errc{} || stop != end || optimizer_steps_ < 0 || optimizer_steps_ > loaded.step)
      throw IoError(fmt::format("the checkpoint's optimizer_steps are '{}'", at->second), where);
    state.erase(at);
  }
  if (const auto at = state.find(scale_key); at != state.end()) {
    loss_scale_.restore(at->second, where);
    state.erase(at);
  }
  if (const auto at = state.find(seed_key); at != state.end()) {
    if (at->second != fmt::format("{}", options_.seed))
      log::warning("{} was made with seed {}, this run has {}: dropout and noise will differ", where, at->second,
                   options_.seed);
    state.erase(at);
  }
}

void EngineImpl::save_checkpoint(const std::filesystem::path& folder, const std::string& tag,
                                 const SaveOptions& options) {
  const auto state = tagged_state(comm_, folder, global_step_, tag, options.client_state);
  save(folder, state, options.save_only_model, options.save_total_limit, {});
}

LoadedCheckpoint EngineImpl::load_checkpoint(const std::filesystem::path& folder, const std::string& tag) {
  const std::filesystem::path found = find_tagged(comm_, folder, tag);
  return loaded_from(found, load(found));
}

void EngineImpl::load_weights(const std::filesystem::path& checkpoint) {
  writer_.finish();
  load_state(comm_, layout_, *store_, checkpoint, staging(), true);
  store_->weights_changed();
}

void EngineImpl::export_weights(const std::filesystem::path& folder, DType dtype) {
  if (options_.tuning.kind == TuningKind::lora) {
    export_adapter(folder, Durability::now);
  } else {
    stream_out_weights(comm_, layout_, *store_, folder, dtype, staging());
  }
}

void EngineImpl::export_adapter(const std::filesystem::path& folder, Durability durability) {
  stream_out_adapter(comm_, layout_, *store_, folder, options_.tuning.adapter, durability, staging());
}

}  // namespace dstrain
