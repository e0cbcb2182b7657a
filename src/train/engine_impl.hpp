// SPDX-License-Identifier: Apache-2.0
/// The Engine over plan, arena, ZeroStore and Decoder: weights and passes in engine.cpp, the end of a step in
/// engine_step.cpp, files in engine_files.cpp.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "core/error.hpp"
#include "core/host_mirror.hpp"
#include "dstrain/engine.hpp"
#include "io/checkpoint/writer.hpp"
#include "train/adapter_files.hpp"
#include "train/engine_plan.hpp"
#include "train/engine_state.hpp"
#include "train/loss_scale.hpp"
#include "train/nonfinite_search.hpp"

namespace dstrain {

class EngineImpl final : public Engine {
 public:
  EngineImpl(Communicator& comm, const ModelSpec& spec, const EngineOptions& options);
  /// Collective, once after construction.
  void measure_matrix_peak();
  /// Collective, once. @param origin  of rank 0; empty elsewhere
  void load_weights(const WeightOrigin& origin);

  void begin_step() override;
  PendingLoss forward(const MicroBatch& batch, int contributors, bool last) override;
  void backward() override { decoder_.backward(passing(), batch_); }
  void synchronize() override { store_->stream().synchronize(); }
  void begin_search() override;
  NonfiniteFinding end_search() override;
  std::string compare_replicas() override;
  StepResult step(double learning_rate, const std::optional<std::array<double, 2>>& betas) override;
  double evaluate(const MicroBatch& batch) override;
  BatchEvaluation evaluate_batch(const MicroBatch& batch) override;
  std::vector<std::vector<std::int32_t>> generate(std::span<const std::vector<std::int32_t>> prompts,
                                                  const SamplingOptions& sampling) override;
  void generate_done() override;
  [[nodiscard]] std::int64_t global_step() const noexcept override { return global_step_; }
  [[nodiscard]] std::int64_t optimizer_steps() const noexcept override { return optimizer_steps_; }
  void save(const std::filesystem::path& output_dir, const std::map<std::string, std::string>& client_state,
            bool save_only_model, int save_total_limit, const std::filesystem::path& best) override;
  void begin_save(const std::filesystem::path& output_dir, const std::map<std::string, std::string>& client_state,
                  bool save_only_model, int save_total_limit, const std::filesystem::path& best) override;
  [[nodiscard]] std::int32_t save_state() const override { return static_cast<std::int32_t>(writer_.state()); }
  void continue_save(std::int32_t largest) override { writer_.advance(static_cast<SaveState>(largest)); }
  void finish_save() override;
  CheckpointTrial try_save(const std::filesystem::path& output_dir, bool save_only_model) override;
  std::map<std::string, std::string> load(const std::filesystem::path& checkpoint) override;
  void save_checkpoint(const std::filesystem::path& folder, const std::string& tag,
                       const SaveOptions& options) override;
  LoadedCheckpoint load_checkpoint(const std::filesystem::path& folder, const std::string& tag) override;
  void load_weights(const std::filesystem::path& checkpoint) override;
  void export_weights(const std::filesystem::path& folder, DType dtype) override;
  void for_each_slice(const std::function<void(std::int32_t, std::int64_t, std::int64_t, const float*, const float*)>&
                          f) const override;
  [[nodiscard]] const ModelSpec& spec() const noexcept override { return spec_; }
  [[nodiscard]] const ModelLayout& layout() const noexcept override { return layout_; }
  [[nodiscard]] const MemoryPlan& memory_plan() const noexcept override { return arena_.plan(); }
  [[nodiscard]] std::int64_t allocated_bytes() const noexcept override;
  [[nodiscard]] void* client_memory() const override { return arena_[plan_.client].data; }
  [[nodiscard]] double matrix_peak() const noexcept override { return matrix_peak_; }

 private:
  /// The host reads losses and norm, and decides on the update. Collective.
  StepResult decided_step(StepParameters& parameters);

  /// The GPU decides and updates; the host queues it all, then waits once, for losses and norm. Collective.
  StepResult queued_step(StepParameters& parameters);
  [[nodiscard]] bool loss_is_usable(const StepResult& result) const;
  std::string nonfinite_loss(const StepResult& result);
  [[nodiscard]] std::string nonfinite_norm(const StepResult& result) const;

  /// @param norm  of gradients without the loss scale
  void take_norm(StepResult& result, double norm);

  /// From here on the state changes. Collective where a save in flight is late.
  void secure_state();
  StepResult skipped(StepResult& result);
  StepResult counted(StepResult& result);

  /// The batch with its rows in memory that nobody changes before the step is over: what is queued reads them later
  /// than the call that was given them. On a CPU the batch itself.
  MicroBatch kept_rows(const MicroBatch& batch);

  /// Splits the base weights where the adapter starts from them, then makes or reads the adapter.
  void start_adapter(const WeightOrigin& origin);

  /// Counters out of a checkpoint's texts; what stays is the caller's.
  void take_state(LoadedState& loaded, const std::string& where);
  void export_adapter(const std::filesystem::path& folder, Durability durability);

  /// Before a step counts: waits for a save in flight that has to be complete by then. Collective: all ranks are here
  /// at the same step, with the same save in flight.
  void settle_late_save();

  /// What the passes run on: the store, or the search before it.
  [[nodiscard]] ParameterStore& passing() noexcept;

  /// The end of a step whose numbers are no use. The same on all ranks: their loss and norm are the same bits.
  StepResult not_finite(StepResult& result, const std::string& what);

  /// " (rank 2, micro-batch 0)", or empty where every slot is finite and their sum is not.
  std::string slot_that_is_not_finite();

  /// transformers leaves torch's own LayerNorm out whatever its name ("ln_1", "norm"), RMS norms by name only.
  [[nodiscard]] bool is_layer_norm(const TensorLayout& tensor) const noexcept;
  static std::function<void*(std::int64_t)> registered_memory(Communicator& comm);
  Generator& generator();
  bool any(bool mine);

  /// Other ranks are given no folder: rank 0's decides. Collective.
  bool rank0_has(const std::filesystem::path& folder, const char* what);
  [[nodiscard]] std::span<float> staging() const;
  double* slot_of(int rank, int micro_step);

  /// Sums of all slots in slot order: the same bits for any number of ranks.
  StepResult sum_slots();

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

}  // namespace dstrain
