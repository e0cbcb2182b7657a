// SPDX-License-Identifier: Apache-2.0
/// The Engine's start, its weights, its passes, and what it shows.
#include "dstrain/engine.hpp"

#include <cstring>

#include "core/device_runtime.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/adapters/adapter_names.hpp"
#include "train/adapter_start.hpp"
#include "train/decay.hpp"
#include "train/engine_impl.hpp"
#include "train/machine.hpp"
#include "train/merged_weights.hpp"
#include "train/replicas.hpp"

namespace dstrain {

EngineImpl::EngineImpl(Communicator& comm, const ModelSpec& spec, const EngineOptions& options)
    : comm_(comm),
      tied_(spec.tie_word_embeddings),
      spec_(tuned_spec(spec, options.tuning)),
      layout_(make_tuned_layout(spec_, options.tuning)),
      options_(options),
      plan_(make_engine_plan(spec_, layout_, options, comm.size())),
      arena_(plan_.memory, registered_memory(comm)),
      store_(make_zero_store(layout_, plan_.zero_options, comm, arena_, plan_.zero, options.device)),
      decoder_(spec_, layout_, plan_.decoder_options, arena_, plan_.decoder, options.device),
      slots_(arena_[plan_.slot_losses].as<double>(), static_cast<std::size_t>(arena_[plan_.slot_losses].count)),
      loss_scale_(options.loss_scale),
      writer_(comm, arena_[plan_.checkpoint_copies]) {
  for (const auto padded_tokens : options.token_classes) decoder_.prepare(padded_tokens);
  for (const auto padded_tokens : options.eval_token_classes) decoder_.prepare(padded_tokens, false);
  rates_.reserve(layout_.tensors.size());
  contributors_.reserve(static_cast<std::size_t>(options.max_micro_steps));
  for (const auto& tensor : layout_.tensors) {
    const bool decays = options.decays ? options.decays(tensor.name, tensor.shape)
                                       : decays_by_default(tensor.name) && !is_layer_norm(tensor);
    rates_.push_back({.lr_factor = options.lr_factor ? options.lr_factor(tensor.name, tensor.shape) : 1.0,
                      .weight_decay = decays ? options.weight_decay : 0.0});
  }
}

void EngineImpl::measure_matrix_peak() {
  comm_.barrier("matrix peak");  // all ranks share the machine while they measure, as they will in training
  matrix_peak_ = dstrain::measure_matrix_peak(Exec{store_->stream()}, options_.dtype, arena_[plan_.matrix_probe].data);
}

void EngineImpl::load_weights(const WeightOrigin& origin) {
  const bool lora = options_.tuning.kind == TuningKind::lora;
  const bool random = !rank0_has(origin.folder, "weight origin");
  const bool untied = tied_ && !spec_.tie_word_embeddings;
  initialise_weights(layout_, spec_, *store_, options_.seed, !random, untied, staging());
  if (!random) {
    std::unique_ptr<WeightSource> source;
    on_all_ranks(comm_, "open the weights", [&] {
      if (comm_.rank() != 0) return;
      ModelSpec as_stored = spec_;
      as_stored.tie_word_embeddings = tied_;
      source = open_merged(origin.folder, as_stored, spec_, origin.merged,
                           {.stored_rows = origin.stored_vocab_rows, .seed = options_.seed});
    });
    stream_in_weights(comm_, layout_, *store_, source.get(), false, staging());
  }
  store_->weights_changed();
  if (lora) start_adapter(origin);
}

void EngineImpl::start_adapter(const WeightOrigin& origin) {
  const AdapterConfig& config = options_.tuning.adapter;
  if (config.starts_from_pissa()) {
    start_from_pissa(comm_, layout_, config, *store_, options_.seed);
    store_->weights_changed();
  }
  if (config.use_dora) {
    start_magnitudes(layout_, *store_);
    store_->weights_changed();
  }
  if (!rank0_has(origin.adapter, "adapter origin")) return;
  std::unique_ptr<AdapterFolder> source;
  on_all_ranks(comm_, "open the adapter", [&] {
    if (comm_.rank() == 0) source = std::make_unique<AdapterFolder>(AdapterFolder::open(origin.adapter));
  });
  stream_in_weights(comm_, layout_, *store_, source.get(), true, staging());
  store_->weights_changed();
}

void EngineImpl::begin_step() {
  store_->begin_step();
  micro_step_ = 0;
  contributors_.clear();
}

PendingLoss EngineImpl::forward(const MicroBatch& batch, int contributors, bool last) {
  DSTRAIN_CHECK(micro_step_ < options_.max_micro_steps, "more than max_micro_steps = {} forward passes in a step",
                options_.max_micro_steps);
  DSTRAIN_CHECK(batch.padded_tokens <= plan_.decoder_options.max_tokens, "a micro-batch of {} tokens, planned for {}",
                batch.padded_tokens, plan_.decoder_options.max_tokens);
  batch_ = kept_rows(batch);
  store_->begin_micro_step(contributors, last);
  if (search_) search_->begin_micro_step(micro_step_, batch.tokens > 0 && comm_.rank() < contributors);
  double* slot = slot_of(comm_.rank(), micro_step_);
  decoder_.queue_forward(passing(), batch_, options_.train, static_cast<float>(loss_scale_.scale()), slot);
  const PendingLoss loss(slot, store_->stream());
  if (search_) search_->look_at_loss(loss);
  contributors_.push_back(contributors);
  ++micro_step_;
  return loss;
}

void EngineImpl::begin_search() {
  begin_step();
  search_.emplace(layout_, *store_);
}

NonfiniteFinding EngineImpl::end_search() {
  DSTRAIN_CHECK(search_.has_value(), "end_search() without begin_search()");
  const NonfiniteFinding finding = search_->gather(comm_);
  search_.reset();
  return finding;
}

std::string EngineImpl::compare_replicas() {
  return dstrain::compare_replicas(comm_, layout_, *store_, options_.device);
}

double EngineImpl::evaluate(const MicroBatch& batch) {
  double loss = decoder_.forward(*store_, batch, false).loss;
  comm_.all_reduce(View(&loss, 1, DType::f64), ReduceOp::sum, Stream{}, "evaluate loss");
  return loss;
}

BatchEvaluation EngineImpl::evaluate_batch(const MicroBatch& batch) {
  const ForwardResult result = decoder_.forward(*store_, batch, false);
  const auto rows = static_cast<std::size_t>(batch.tokens);
  BatchEvaluation out{.nll_sum = result.nll_sum, .targets = result.targets, .nll = {decoder_.nll(), rows}};
  if (options_.eval_predictions) out.predicted = {decoder_.predicted(), rows};
  return out;
}

std::vector<std::vector<std::int32_t>> EngineImpl::generate(std::span<const std::vector<std::int32_t>> prompts,
                                                            const SamplingOptions& sampling) {
  std::vector<std::vector<std::int32_t>> answers;
  for (auto& answer : generator().generate(*store_, prompts, sampling)) answers.push_back(std::move(answer.ids));
  return answers;
}

void EngineImpl::generate_done() {
  generator().help_others(*store_);
  generator_.reset();  // its tables share bytes with training
}

void EngineImpl::for_each_slice(
    const std::function<void(std::int32_t, std::int64_t, std::int64_t, const float*, const float*)>& f) const {
  for (const auto& slice : store_->owned()) {
    if (slice.gradient == nullptr && slice.master == nullptr) continue;  // frozen
    HostMirror mirror(store_->stream());
    const std::int64_t bytes = slice.count * static_cast<std::int64_t>(sizeof(float));
    std::vector<float> widened;
    const float* values = nullptr;
    if (slice.master == nullptr) {  // pure_bf16
      widened.resize(static_cast<std::size_t>(slice.count));
      const Data stored{mirror.fetch(slice.weights.data, bytes / 2), slice.weights.dtype};
      ops::convert(Exec{}, Data{widened.data(), DType::f32}, stored, slice.count);
      values = widened.data();
    } else {
      values = mirror.fetch<const float>(slice.master, bytes);
    }
    f(slice.tensor, slice.begin, slice.count, values, mirror.fetch<const float>(slice.gradient, bytes));
  }
}

std::int64_t EngineImpl::allocated_bytes() const noexcept {
  std::int64_t bytes = 0;
  for (int kind = 0; kind < memory_kinds; ++kind) bytes += arena_.allocated_bytes(static_cast<MemoryKind>(kind));
  return bytes;
}

MicroBatch EngineImpl::kept_rows(const MicroBatch& batch) {
  const View kept = arena_[plan_.batch_rows];
  if (kept.count == 0 || batch.tokens == 0) return batch;
  const std::int64_t width = plan_.decoder_options.max_tokens;
  auto* at = kept.as<std::int32_t>() + micro_step_ * batch_row_arrays * width;
  const auto keep = [&]<typename T>(std::span<const T>& row) {
    DSTRAIN_CHECK(static_cast<std::int64_t>(row.size()) <= width, "a row of {} tokens, planned for {}", row.size(),
                  width);
    std::memcpy(at, row.data(), row.size_bytes());
    row = {reinterpret_cast<const T*>(at), row.size()};
    at += width;
  };
  MicroBatch own = batch;
  keep(own.input_ids);
  keep(own.position_ids);
  keep(own.targets);
  keep(own.weights);
  return own;
}

ParameterStore& EngineImpl::passing() noexcept {
  if (search_) return *search_;
  return *store_;
}

bool EngineImpl::is_layer_norm(const TensorLayout& tensor) const noexcept {
  return spec_.norm == NormKind::layer && tensor.shape.size() < 2 && !is_adapter_tensor(tensor.name);
}

std::function<void*(std::int64_t)> EngineImpl::registered_memory(Communicator& comm) {
  return [&comm](std::int64_t bytes) { return comm.allocate_registered(bytes); };
}

Generator& EngineImpl::generator() {
  DSTRAIN_CHECK(plan_.generator != nullptr, "generation was not planned: max_prompts is 0");
  if (!generator_) {
    generator_.emplace(spec_, layout_, plan_.generator_options, arena_, plan_.generator, options_.device);
    if (options_.zero_stage == 3 && comm_.size() > 1) generator_->keep_in_step([this](bool mine) { return any(mine); });
  }
  return *generator_;
}

bool EngineImpl::any(bool mine) {
  std::int32_t value = mine ? 1 : 0;
  comm_.all_reduce(View(&value, 1, DType::i32), ReduceOp::max, Stream{}, "generation pass");
  return value != 0;
}

bool EngineImpl::rank0_has(const std::filesystem::path& folder, const char* what) {
  std::int32_t given = folder.empty() ? 0 : 1;
  comm_.broadcast(View(&given, 1, DType::i32), 0, Stream{}, what);
  return given != 0;
}

std::span<float> EngineImpl::staging() const {
  const View view = arena_[plan_.staging];
  return {view.as<float>(), static_cast<std::size_t>(view.count)};
}

std::unique_ptr<Engine> Engine::initialize(Communicator& comm, const ModelSpec& spec, const EngineOptions& options,
                                           const WeightOrigin& origin) {
  if (options.device.kind == DeviceKind::cuda) {
    require_device_runtime().use(options.device.index);
  }
  auto engine = std::make_unique<EngineImpl>(comm, spec, options);
  engine->measure_matrix_peak();
  engine->load_weights(origin);
  return engine;
}

}  // namespace dstrain
