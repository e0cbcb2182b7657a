// SPDX-License-Identifier: Apache-2.0
/// The Engine over plan, arena, ZeroStore and Decoder.
#include "dstrain/engine.hpp"

#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>

#include "comm/agreed_error.hpp"
#include "comm/communicator.hpp"
#include "core/device_runtime.hpp"
#include "core/error.hpp"
#include "core/host_mirror.hpp"
#include "core/log.hpp"
#include "io/checkpoint/trial.hpp"
#include "io/checkpoint/writer.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/adapters/adapter_names.hpp"
#include "train/adapter_files.hpp"
#include "train/adapter_start.hpp"
#include "train/decay.hpp"
#include "train/engine_plan.hpp"
#include "train/engine_state.hpp"
#include "train/engine_tags.hpp"
#include "train/loss_scale.hpp"
#include "train/machine.hpp"
#include "train/merged_weights.hpp"
#include "train/nonfinite_search.hpp"
#include "train/replicas.hpp"

namespace dstrain {

namespace {

/// For messages: a processor's NaN may print as "-nan".
double without_sign_of_nan(double value) { return std::isnan(value) ? std::abs(value) : value; }

class EngineImpl final : public Engine {
 public:
  EngineImpl(Communicator& comm, const ModelSpec& spec, const EngineOptions& options)
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

  void measure_matrix_peak() {
    comm_.barrier("matrix peak");  // all ranks share the machine while they measure, as they will in training
    matrix_peak_ =
        dstrain::measure_matrix_peak(Exec{store_->stream()}, options_.dtype, arena_[plan_.matrix_probe].data);
  }

  void load_weights(const WeightOrigin& origin) {
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

  /// Splits the base weights where the adapter starts from them, then makes or reads the adapter.
  void start_adapter(const WeightOrigin& origin) {
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

  void begin_step() override {
    store_->begin_step();
    micro_step_ = 0;
    contributors_.clear();
  }

  PendingLoss forward(const MicroBatch& batch, int contributors, bool last) override {
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

  void backward() override { decoder_.backward(passing(), batch_); }

  void synchronize() override { store_->stream().synchronize(); }

  void begin_search() override {
    begin_step();
    search_.emplace(layout_, *store_);
  }

  NonfiniteFinding end_search() override {
    DSTRAIN_CHECK(search_.has_value(), "end_search() without begin_search()");
    const NonfiniteFinding finding = search_->gather(comm_);
    search_.reset();
    return finding;
  }

  std::string compare_replicas() override {
    return dstrain::compare_replicas(comm_, layout_, *store_, options_.device);
  }

  StepResult step(double learning_rate, const std::optional<std::array<double, 2>>& betas) override {
    StepParameters parameters{.lr = learning_rate, .step = optimizer_steps_ + 1};
    if (betas) parameters.beta1 = (*betas)[0], parameters.beta2 = (*betas)[1];
    return store_->queues_norm() ? queued_step(parameters) : decided_step(parameters);
  }

  double evaluate(const MicroBatch& batch) override {
    double loss = decoder_.forward(*store_, batch, false).loss;
    comm_.all_reduce(View(&loss, 1, DType::f64), ReduceOp::sum, Stream{}, "evaluate loss");
    return loss;
  }

  BatchEvaluation evaluate_batch(const MicroBatch& batch) override {
    const ForwardResult result = decoder_.forward(*store_, batch, false);
    const auto rows = static_cast<std::size_t>(batch.tokens);
    BatchEvaluation out{.nll_sum = result.nll_sum, .targets = result.targets, .nll = {decoder_.nll(), rows}};
    if (options_.eval_predictions) out.predicted = {decoder_.predicted(), rows};
    return out;
  }

  std::vector<std::vector<std::int32_t>> generate(std::span<const std::vector<std::int32_t>> prompts,
                                                  const SamplingOptions& sampling) override {
    std::vector<std::vector<std::int32_t>> answers;
    for (auto& answer : generator().generate(*store_, prompts, sampling)) answers.push_back(std::move(answer.ids));
    return answers;
  }

  void generate_done() override {
    generator().help_others(*store_);
    generator_.reset();  // its tables share bytes with training
  }

  [[nodiscard]] std::int64_t global_step() const noexcept override { return global_step_; }
  [[nodiscard]] std::int64_t optimizer_steps() const noexcept override { return optimizer_steps_; }

  void save(const std::filesystem::path& output_dir, const std::map<std::string, std::string>& client_state,
            bool save_only_model, int save_total_limit, const std::filesystem::path& best) override {
    begin_save(output_dir, client_state, save_only_model, save_total_limit, best);
    finish_save();
  }

  void begin_save(const std::filesystem::path& output_dir, const std::map<std::string, std::string>& client_state,
                  bool save_only_model, int save_total_limit, const std::filesystem::path& best) override {
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

  [[nodiscard]] std::int32_t save_state() const override { return static_cast<std::int32_t>(writer_.state()); }
  void continue_save(std::int32_t largest) override { writer_.advance(static_cast<SaveState>(largest)); }
  void finish_save() override {
    writer_.finish();
    saved_.reset();
  }

  CheckpointTrial try_save(const std::filesystem::path& output_dir, bool save_only_model) override {
    HostMirror mirror(store_->stream());
    return try_checkpoint(comm_, output_dir, checkpoint_content(comm_, layout_, *store_, save_only_model, mirror),
                          options_.checkpoint.writers);
  }

  std::map<std::string, std::string> load(const std::filesystem::path& checkpoint) override {
    writer_.finish();  // what is in flight reads the state in place
    auto loaded = load_state(comm_, layout_, *store_, checkpoint, staging());
    on_all_ranks(comm_, "read the engine's state", [&] { take_state(loaded, checkpoint.string()); });
    store_->weights_changed();
    return std::move(loaded.client_state);
  }

  void save_checkpoint(const std::filesystem::path& folder, const std::string& tag,
                       const SaveOptions& options) override {
    const auto state = tagged_state(comm_, folder, global_step_, tag, options.client_state);
    save(folder, state, options.save_only_model, options.save_total_limit, {});
  }

  LoadedCheckpoint load_checkpoint(const std::filesystem::path& folder, const std::string& tag) override {
    const std::filesystem::path found = find_tagged(comm_, folder, tag);
    return loaded_from(found, load(found));
  }

  void load_weights(const std::filesystem::path& checkpoint) override {
    writer_.finish();
    load_state(comm_, layout_, *store_, checkpoint, staging(), true);
    store_->weights_changed();
  }

  void export_weights(const std::filesystem::path& folder, DType dtype) override {
    if (options_.tuning.kind == TuningKind::lora) {
      export_adapter(folder, Durability::now);
    } else {
      stream_out_weights(comm_, layout_, *store_, folder, dtype, staging());
    }
  }

  void for_each_slice(const std::function<void(std::int32_t, std::int64_t, std::int64_t, const float*, const float*)>&
                          f) const override {
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

  [[nodiscard]] const ModelSpec& spec() const noexcept override { return spec_; }
  [[nodiscard]] const ModelLayout& layout() const noexcept override { return layout_; }
  [[nodiscard]] const MemoryPlan& memory_plan() const noexcept override { return arena_.plan(); }
  [[nodiscard]] std::int64_t allocated_bytes() const noexcept override {
    std::int64_t bytes = 0;
    for (int kind = 0; kind < memory_kinds; ++kind) bytes += arena_.allocated_bytes(static_cast<MemoryKind>(kind));
    return bytes;
  }
  [[nodiscard]] void* client_memory() const override { return arena_[plan_.client].data; }
  [[nodiscard]] double matrix_peak() const noexcept override { return matrix_peak_; }

 private:
  static constexpr const char* steps_key = "optimizer_steps";
  static constexpr const char* scale_key = "loss_scale";
  static constexpr const char* seed_key = "engine_seed";

  /// The host reads losses and norm, and decides on the update. Collective.
  StepResult decided_step(StepParameters& parameters) {
    if (store_->stream().on_device()) store_->stream().synchronize();  // the losses are the host's from here on
    StepResult result = sum_slots();
    if (!loss_is_usable(result)) return not_finite(result, nonfinite_loss(result));
    take_norm(result, store_->reduce_gradients() / loss_scale_.scale());
    if (result.skipped) return skipped(result);
    if (!std::isfinite(result.grad_norm)) return not_finite(result, nonfinite_norm(result));
    double clip = 1.0;
    if (options_.max_grad_norm > 0)
      clip = std::min(1.0, options_.max_grad_norm / (result.grad_norm + 1e-6));  // torch's rule
    parameters.gradient_scale = clip / result.loss_scale;
    secure_state();
    store_->optimizer_step(parameters, rates_);
    return counted(result);
  }

  /// The GPU decides and updates; the host queues it all, then waits once, for losses and norm. Collective.
  StepResult queued_step(StepParameters& parameters) {
    const ScaleRule rule{.max_norm = options_.max_grad_norm, .loss_scale = loss_scale_.scale()};
    const double* losses = loss_scale_.active() ? nullptr : slot_of(comm_.rank(), 0);
    parameters.gradient_scale_at = store_->queue_gradient_norm(rule, losses, micro_step_, slot_numbers);
    secure_state();
    store_->optimizer_step(parameters, rates_);
    const double norm = store_->await_gradient_norm();
    StepResult result = sum_slots();
    if (!loss_is_usable(result)) return not_finite(result, nonfinite_loss(result));
    take_norm(result, norm);
    if (result.skipped) return skipped(result);
    if (!std::isfinite(result.grad_norm)) return not_finite(result, nonfinite_norm(result));
    return counted(result);
  }

  [[nodiscard]] bool loss_is_usable(const StepResult& result) const {
    return std::isfinite(result.loss) || loss_scale_.active();
  }
  std::string nonfinite_loss(const StepResult& result) {
    return fmt::format("the loss of step {} is {}{}", global_step_ + 1, without_sign_of_nan(result.loss),
                       slot_that_is_not_finite());
  }
  [[nodiscard]] std::string nonfinite_norm(const StepResult& result) const {
    return fmt::format("the gradient norm of step {} is {}", global_step_ + 1, without_sign_of_nan(result.grad_norm));
  }

  /// @param norm  of gradients without the loss scale
  void take_norm(StepResult& result, double norm) {
    result.loss_scale = loss_scale_.scale();
    result.grad_norm = norm;
    result.skipped = loss_scale_.active() && !std::isfinite(norm);
    result.overflow = loss_scale_.update(result.skipped);
  }

  /// From here on the state changes. Collective where a save in flight is late.
  void secure_state() {
    settle_late_save();
    writer_.secure();
  }

  StepResult skipped(StepResult& result) {
    settle_late_save();
    ++global_step_;
    return result;
  }

  StepResult counted(StepResult& result) {
    ++optimizer_steps_;
    ++global_step_;
    return result;
  }

  /// The batch with its rows in memory that nobody changes before the step is over: what is queued reads them later
  /// than the call that was given them. On a CPU the batch itself.
  MicroBatch kept_rows(const MicroBatch& batch) {
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

  /// Counters out of a checkpoint's texts; what stays is the caller's.
  void take_state(LoadedState& loaded, const std::string& where) {
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

  void export_adapter(const std::filesystem::path& folder, Durability durability) {
    stream_out_adapter(comm_, layout_, *store_, folder, options_.tuning.adapter, durability, staging());
  }

  /// Before a step counts: waits for a save in flight that has to be complete by then. Collective: all ranks are here
  /// at the same step, with the same save in flight.
  void settle_late_save() {
    const auto& lag = options_.checkpoint.max_lag_steps;
    if (lag && writer_.in_flight() && global_step_ - saved_step_ >= *lag) finish_save();
  }

  /// What the passes run on: the store, or the search before it.
  [[nodiscard]] ParameterStore& passing() noexcept {
    if (search_) return *search_;
    return *store_;
  }

  /// The end of a step whose numbers are no use. The same on all ranks: their loss and norm are the same bits.
  StepResult not_finite(StepResult& result, const std::string& what) {
    if (options_.on_nonfinite == OnNonfinite::stop) {
      std::vector<int> ranks;
      for (int r = 0; r < comm_.size(); ++r) ranks.push_back(r);
      throw AgreedError(what, {},
                        "lower learning_rate or set max_grad_norm, or look at the data of this step; the weights "
                        "before it are in the last checkpoint",
                        ExitCode::failed, ranks);
    }
    result.skipped = result.nonfinite = true;
    result.overflow = what;
    settle_late_save();
    ++global_step_;
    return result;
  }

  /// " (rank 2, micro-batch 0)", or empty where every slot is finite and their sum is not.
  std::string slot_that_is_not_finite() {
    for (int micro = 0; micro < micro_step_; ++micro) {
      for (int rank = 0; rank < contributors_[static_cast<std::size_t>(micro)]; ++rank) {
        if (!std::isfinite(slot_of(rank, micro)[0])) return fmt::format(" (rank {}, micro-batch {})", rank, micro);
      }
    }
    return {};
  }

  /// transformers leaves torch's own LayerNorm out whatever its name ("ln_1", "norm"), RMS norms by name only.
  [[nodiscard]] bool is_layer_norm(const TensorLayout& tensor) const noexcept {
    return spec_.norm == NormKind::layer && tensor.shape.size() < 2 && !is_adapter_tensor(tensor.name);
  }

  static std::function<void*(std::int64_t)> registered_memory(Communicator& comm) {
    return [&comm](std::int64_t bytes) { return comm.allocate_registered(bytes); };
  }

  Generator& generator() {
    DSTRAIN_CHECK(plan_.generator != nullptr, "generation was not planned: max_prompts is 0");
    if (!generator_) {
      generator_.emplace(spec_, layout_, plan_.generator_options, arena_, plan_.generator, options_.device);
      if (options_.zero_stage == 3 && comm_.size() > 1)
        generator_->keep_in_step([this](bool mine) { return any(mine); });
    }
    return *generator_;
  }

  bool any(bool mine) {
    std::int32_t value = mine ? 1 : 0;
    comm_.all_reduce(View(&value, 1, DType::i32), ReduceOp::max, Stream{}, "generation pass");
    return value != 0;
  }

  /// Other ranks are given no folder: rank 0's decides. Collective.
  bool rank0_has(const std::filesystem::path& folder, const char* what) {
    std::int32_t given = folder.empty() ? 0 : 1;
    comm_.broadcast(View(&given, 1, DType::i32), 0, Stream{}, what);
    return given != 0;
  }

  [[nodiscard]] std::span<float> staging() const {
    const View view = arena_[plan_.staging];
    return {view.as<float>(), static_cast<std::size_t>(view.count)};
  }

  double* slot_of(int rank, int micro_step) {
    return slots_.data() + (static_cast<std::int64_t>(rank) * options_.max_micro_steps + micro_step) * slot_numbers;
  }

  /// Sums of all slots in slot order: the same bits for any number of ranks.
  StepResult sum_slots() {
    const std::int64_t per_rank = static_cast<std::int64_t>(options_.max_micro_steps) * slot_numbers;
    comm_.all_gather(ConstView(slot_of(comm_.rank(), 0), per_rank, DType::f64),
                     View(slots_.data(), per_rank * comm_.size(), DType::f64), Stream{}, "slot losses");
    StepResult result;
    double targets = 0.0;
    for (int micro = 0; micro < micro_step_; ++micro) {
      for (int rank = 0; rank < contributors_[static_cast<std::size_t>(micro)]; ++rank) {
        const double* slot = slot_of(rank, micro);
        result.loss += slot[0];
        result.nll_sum += slot[1];
        targets += slot[2];
        if (slot[2] > 0 && (result.highest_rank < 0 || slot[1] / slot[2] > result.highest_loss)) {
          result.highest_loss = slot[1] / slot[2];
          result.highest_rank = rank;
          result.highest_micro_step = micro;
        }
      }
    }
    result.targets = static_cast<std::int64_t>(targets);
    return result;
  }

  Communicator& comm_;
  bool tied_;  ///< the model as it is stored
  ModelSpec spec_;
  ModelLayout layout_;
  EngineOptions options_;
  EnginePlan plan_;
  Arena arena_;
  std::unique_ptr<ZeroStore> store_;
  Decoder decoder_;
  std::optional<Generator> generator_;
  std::optional<NonfiniteSearch> search_;
  std::span<double> slots_;
  std::vector<TensorRates> rates_;  ///< by tensor
  std::vector<int> contributors_;
  MicroBatch batch_;
  int micro_step_ = 0;
  std::int64_t global_step_ = 0;
  std::int64_t optimizer_steps_ = 0;
  LossScale loss_scale_;
  std::int64_t saved_step_ = 0;      ///< global_step_ of the save in flight
  std::optional<HostMirror> saved_;  ///< of the checkpoint in flight, from a device
  CheckpointWriter writer_;          ///< after what it reads: its threads end first
  double matrix_peak_ = 0.0;
};

}  // namespace

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
