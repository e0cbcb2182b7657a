// SPDX-License-Identifier: Apache-2.0
/// The Engine: initialize, forward, backward, step, save, load. For dstrain's own trainer and for those who write their
/// own loop.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/device.hpp"
#include "core/dtype.hpp"
#include "dstrain/checkpoint_settings.hpp"
#include "dstrain/loss_scale_options.hpp"
#include "kernels/ops/attention_kernels.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/optimizer_settings.hpp"
#include "model/adapters/tuning.hpp"
#include "model/micro_batch.hpp"
#include "train/nonfinite_finding.hpp"

namespace dstrain {

class Communicator;
class MemoryPlan;
struct SamplingOptions;

/// What step() does where loss or gradient is NaN or infinite and no loss scale explains it.
enum class OnNonfinite : std::uint8_t {
  stop,  ///< throws
  skip   ///< leaves weights and optimizer as they are and says so in StepResult
};

/// What an Engine is made of. Sizes are per rank.
struct EngineOptions {
  Device device = {};  ///< where weights lie and kernels run
  int zero_stage = 0;
  DType dtype = DType::f32;  ///< f32; or bf16, f16 (then with f32 master weights)
  bool gradient_checkpointing = true;
  bool train = true;      ///< false: forward only
  bool optimizer = true;  ///< false: gradients, but no optimizer
  bool reproducible = false;
  std::int64_t max_tokens = 0;    ///< largest micro-batch in tokens; rounded up to its class
  std::int64_t max_position = 0;  ///< longest row (padded)
  std::int64_t reduce_bucket_size = 500'000'000;
  std::int64_t stage3_prefetch_bucket_size = 50'000'000;
  bool offload_optimizer = false;  ///< on a GPU: masters and optimizer states in host memory, updated by the CPU
  bool offload_param = false;      ///< on a GPU at stage 3: slices of the weights in host memory
  int max_micro_steps = 1;         ///< most forward() calls between begin_step() and step()
  std::vector<std::int64_t>
      token_classes;  ///< micro-batch sizes (padded tokens) that will occur: their kernels are made at start
  std::int64_t max_eval_tokens = 0;              ///< largest batch of evaluate_batch(); 0: max_tokens
  std::vector<std::int64_t> eval_token_classes;  ///< as token_classes, for evaluate_batch()
  bool eval_predictions = false;                 ///< evaluate_batch() also gives the likeliest tokens
  std::int64_t max_prompts = 0;        ///< prompts that generate() answers at the same time; 0: it is not called
  std::int64_t max_answer_length = 0;  ///< tokens of a prompt and its answer together
  std::int64_t client_bytes = 0;       ///< room in the plan for the caller's own buffers (client_memory())
  int threads = 1;
  std::uint64_t seed = 42;
  Tuning tuning;                                       ///< what is trained: everything, some layers, or adapters
  double neftune_noise_alpha = 0.0;                    ///< 0: no noise
  AttentionKernels attention = AttentionKernels::own;  ///< on a GPU
  TokenLoss token_loss = {};                           ///< plain: the negative log likelihood

  OptimizerSettings optim = {};  ///< which optimizer, and its numbers
  double weight_decay = 0.0;
  double max_grad_norm = 1.0;          ///< 0: no clipping
  LossScaleOptions loss_scale = {};    ///< with dtype f16
  CheckpointSettings checkpoint = {};  ///< how checkpoints are written
  OnNonfinite on_nonfinite = OnNonfinite::stop;
  /// Chooses the parameters that decay; unset: transformers' rule (train/decay.hpp).
  std::function<bool(const std::string& name, const std::vector<std::int64_t>& shape)> decays;
  /// A tensor's share of the learning rate (LoRA+); unset: 1 for all.
  std::function<double(const std::string& name, const std::vector<std::int64_t>& shape)> lr_factor;
};

/// Numbers of one optimizer step, equal on all ranks.
struct StepResult {
  double loss = 0.0;     ///< sum over all micro-batches of sum_t weight * nll
  double nll_sum = 0.0;  ///< sum of nll over all targets
  std::int64_t targets = 0;
  double grad_norm = 0.0;   ///< global L2 norm before clipping, of gradients without the loss scale
  double loss_scale = 1.0;  ///< that the step was made with
  bool skipped = false;     ///< an overflow in any slot: weights and optimizer are as before
  bool nonfinite = false;   ///< of those: not for the loss scale's sake (OnNonfinite::skip)
  std::string overflow;     ///< what to log then

  /// The micro-batch with the highest mean loss over its targets; rank -1: none has a target.
  double highest_loss = 0.0;
  int highest_rank = -1;
  int highest_micro_step = -1;
};

/// A rank's loss of a micro-batch. On a GPU it is there when its forward pass is over: whoever reads it waits for that,
/// and for what was queued before. Valid until the next begin_step().
class PendingLoss {
 public:
  PendingLoss(const double* loss, const Stream& stream) : loss_(loss), stream_(stream) {}

  [[nodiscard]] double value() const {
    stream_.synchronize();
    return *loss_;
  }
  operator double() const { return value(); }  // NOLINT: it is the loss to whoever wants it

 private:
  const double* loss_;
  Stream stream_;
};

/// What save_checkpoint() writes beside the training state, and how.
struct SaveOptions {
  std::string client_state = "{}";  ///< of rank 0: a JSON object, DeepSpeed's client_state
  bool save_only_model = false;
  int save_total_limit = 0;  ///< 0: all; else the oldest others are removed
};

/// What load_checkpoint() took.
struct LoadedCheckpoint {
  std::filesystem::path folder;
  std::vector<std::string> tags;
  std::string client_state = "{}";  ///< on all ranks
};

/// What evaluate_batch() says of this rank's batch. The spans hold until the next call of the engine.
struct BatchEvaluation {
  double nll_sum = 0.0;  ///< sum of nll over the targets
  std::int64_t targets = 0;
  std::span<const float> nll = {};               ///< [T]; 0 where there is no target
  std::span<const std::int32_t> predicted = {};  ///< [T] likeliest token, -1 where there is no target; empty without
                                                 ///< eval_predictions
};

/// Where weights come from on rank 0 (other ranks pass nothing): a folder of safetensors, or random ones made on their
/// owners.
struct WeightOrigin {
  std::filesystem::path folder;                    ///< empty: random initial weights from `seed`
  std::vector<std::filesystem::path> merged = {};  ///< adapters that become part of the base weights
  std::filesystem::path adapter = {};              ///< the adapter that is trained on; empty: a new one
  std::int64_t stored_vocab_rows = 0;              ///< of the folder's embedding, where the model has more; 0: as many
};

/// One model being trained by a group of ranks. Functions are collective unless they say Local; not thread-safe.
///
///     engine.begin_step();
///     for (each micro step) { engine.forward(batch, contributors, last); engine.backward(); }
///     StepResult r = engine.step(learning_rate);
class Engine {
 public:
  /// Plans, allocates exactly the plan, loads or makes the weights. `spec` is the same on all ranks.
  /// @throws Error where the memory cannot be had; IoError, ConfigError for the weights: on all ranks
  static std::unique_ptr<Engine> initialize(Communicator& comm, const ModelSpec& spec, const EngineOptions& options,
                                            const WeightOrigin& origin);

  /// The plan that initialize() allocates, for any number of ranks. Local, pure.
  static MemoryPlan plan(const ModelSpec& spec, const EngineOptions& options, int ranks);

  virtual ~Engine() = default;

  virtual void begin_step() = 0;
  /// Forward pass of this rank's micro-batch; ranks >= contributors pass an empty batch (tokens == 0).
  /// @param batch  must stay valid until backward() returns
  /// @param last   this is the last micro step before step()
  /// @return this rank's loss. On a GPU nothing waits for it but who reads it
  virtual PendingLoss forward(const MicroBatch& batch, int contributors, bool last) = 0;
  virtual void backward() = 0;
  /// Waits until the GPU has done what it was given; for measuring. Local.
  virtual void synchronize() = 0;
  /// Reduces, clips, updates. Where loss or gradient is not finite a run with a loss scale skips the update and lowers
  /// the scale; any other does what on_nonfinite says: throws Error naming the cause (on all ranks), or skips. Weights
  /// are unchanged then.
  /// @param betas  of this update, where a schedule cycles them
  virtual StepResult step(double learning_rate, const std::optional<std::array<double, 2>>& betas) = 0;
  StepResult step(double learning_rate) { return step(learning_rate, std::nullopt); }

  /// Finds out where NaN or infinity comes from, after a step() that was `nonfinite`: call begin_search(), make the
  /// step's forward() and backward() calls once more, call end_search(). It names unit, rank and micro-batch of the
  /// first weight, loss or gradient that is not finite. Training pays nothing for it; nothing is changed.
  virtual void begin_search() = 0;
  virtual NonfiniteFinding end_search() = 0;

  /// Compares the bits that ranks should have in common (docs/fault-tolerance.md), one pass over them.
  /// @return which ranks and units are wrong, the same on all ranks; empty: none
  virtual std::string compare_replicas() = 0;

  /// Mean loss of a batch without touching gradients: sum of weight * nll over all ranks.
  virtual double evaluate(const MicroBatch& batch) = 0;

  /// The same for this rank alone, token by token: nothing is summed over ranks, weights of the batch are not looked
  /// at. Ranks without a batch pass an empty one (tokens == 0). Collective at stage 3, else local.
  virtual BatchEvaluation evaluate_batch(const MicroBatch& batch) = 0;

  /// Answers this rank's prompts, at most max_prompts of them. Every rank calls it as often as it has prompts, then
  /// generate_done() once. Local at stages 0 to 2; at stage 3 ranks wait for each other in every pass.
  /// @throws ConfigError  a prompt that is empty, too long or holds unknown tokens
  virtual std::vector<std::vector<std::int32_t>> generate(std::span<const std::vector<std::int32_t>> prompts,
                                                          const SamplingOptions& sampling) = 0;
  /// This rank has no more prompts. Collective.
  virtual void generate_done() = 0;

  /// Number of finished step() calls, also over a resume.
  [[nodiscard]] virtual std::int64_t global_step() const noexcept = 0;
  /// Those of them that updated the weights: what schedules count.
  [[nodiscard]] virtual std::int64_t optimizer_steps() const noexcept = 0;

  /// Writes output_dir/checkpoint-<global_step>/ (docs/checkpoint-format.md). `client_state` is kept with it.
  /// @param save_total_limit  0: all; else the oldest others are removed, but never `best`
  virtual void save(const std::filesystem::path& output_dir, const std::map<std::string, std::string>& client_state,
                    bool save_only_model, int save_total_limit, const std::filesystem::path& best = {}) = 0;
  /// As save(), but returns when the files are begun: they are written behind the following forward and backward
  /// passes. step() copies what is left by then, into checkpoint.buffer_bytes, before it changes anything; a step that
  /// checkpoint.max_lag_steps does not allow beside it waits until it is complete. One is in
  /// flight at a time: a second call waits for the first. What must follow is continue_save() now and then, or
  /// finish_save().
  virtual void begin_save(const std::filesystem::path& output_dir,
                          const std::map<std::string, std::string>& client_state, bool save_only_model,
                          int save_total_limit, const std::filesystem::path& best = {}) = 0;
  /// Where this rank stands with the save in flight: 0 done, 1 at work, 2 failed. Local; never waits.
  [[nodiscard]] virtual std::int32_t save_state() const = 0;
  /// Brings the save in flight on. @param largest  save_state() of the rank that has the largest
  /// @throws Error  it failed on some rank, on all ranks; earlier checkpoints stay as they were
  virtual void continue_save(std::int32_t largest) = 0;
  /// Waits until nothing is in flight. @throws as continue_save()
  virtual void finish_save() = 0;
  /// Whether output_dir can take what save() will bring: rights, space, and the rate of the disk, by writing a little.
  /// @throws RefusedError, IoError on all ranks
  virtual CheckpointTrial try_save(const std::filesystem::path& output_dir, bool save_only_model) = 0;

  /// Reads a checkpoint folder written by any number of ranks at any stage; returns its client state.
  virtual std::map<std::string, std::string> load(const std::filesystem::path& checkpoint) = 0;

  /// DeepSpeed's save_checkpoint: writes `folder`/checkpoint-<global_step>/ with `options.client_state` under `tag`.
  /// Saving again at the same step replaces the checkpoint, which keeps its older tags.
  /// @param tag  empty: none. One line of text
  /// @throws ConfigError  client_state is no JSON object, or no usable tag; IoError as save()
  virtual void save_checkpoint(const std::filesystem::path& folder, const std::string& tag,
                               const SaveOptions& options) = 0;
  void save_checkpoint(const std::filesystem::path& folder, const std::string& tag) {
    save_checkpoint(folder, tag, SaveOptions{});
  }
  /// DeepSpeed's load_checkpoint: weights, optimizer, step numbers and loss scale as they were, on any number of ranks
  /// at any stage. Looks for the newest checkpoint in `folder` that carries `tag`.
  /// @param tag  empty: the checkpoint written last
  /// @throws IoError  there is none, or it is damaged; RefusedError as load()
  virtual LoadedCheckpoint load_checkpoint(const std::filesystem::path& folder, const std::string& tag) = 0;
  LoadedCheckpoint load_checkpoint(const std::filesystem::path& folder) {
    return load_checkpoint(folder, std::string());
  }

  /// Takes the weights alone from a checkpoint folder; optimizer state and step number stay as they are.
  virtual void load_weights(const std::filesystem::path& checkpoint) = 0;
  /// Writes model*.safetensors (+ index) into `folder` on rank 0, without any rank holding the model. With adapters
  /// (tuning: lora) a PEFT adapter folder is written instead, in f32.
  /// @param dtype  f32, bf16 or f16
  virtual void export_weights(const std::filesystem::path& folder, DType dtype) = 0;

  /// Calls `f(tensor index, begin, count, weights, gradients)` for the slices this rank keeps. Gradients are those of
  /// the last step() or reduce. Local. For tests and tools.
  virtual void for_each_slice(const std::function<void(std::int32_t tensor, std::int64_t begin, std::int64_t count,
                                                       const float* weights, const float* gradients)>& f) const = 0;

  [[nodiscard]] virtual const ModelSpec& spec() const noexcept = 0;
  [[nodiscard]] virtual const ModelLayout& layout() const noexcept = 0;
  [[nodiscard]] virtual const MemoryPlan& memory_plan() const noexcept = 0;
  [[nodiscard]] virtual std::int64_t allocated_bytes() const noexcept = 0;
  /// client_bytes of the plan, for the caller's own use. Local.
  [[nodiscard]] virtual void* client_memory() const = 0;
  /// FLOP/s of this rank in a large matrix product, measured at initialize() while all ranks measured. Local.
  [[nodiscard]] virtual double matrix_peak() const noexcept = 0;
};

}  // namespace dstrain
