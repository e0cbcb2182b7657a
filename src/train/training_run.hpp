// SPDX-License-Identifier: Apache-2.0
/// The state of a run between its steps. For trainer*.cpp alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dstrain/engine.hpp"
#include "train/best_model.hpp"
#include "train/deepspeed_monitor.hpp"
#include "train/evaluation.hpp"
#include "train/loss_watch.hpp"
#include "train/progress.hpp"
#include "train/run_setup.hpp"
#include "train/schedule.hpp"
#include "train/step_profile.hpp"
#include "train/trainer.hpp"
#include "train/trainer_log.hpp"

namespace dstrain {

/// One run: what `train()` does. Functions are collective unless they say Local.
class Trainer {
 public:
  /// @param measured  what `context.comm` is, where somebody asked for times and counts; else null
  Trainer(const TrainContext& context, const LoggedCommunicator* measured);

  /// Trains, evaluates and predicts as the keys say.
  ExitCode run();

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::int64_t steps_until_advice = 4;  ///< the first ones may be slower

  /// A validation set by its name; empty where there is one.
  struct NamedEvaluation {
    std::string name;
    Evaluation evaluation;
  };

  // trainer_start.cpp
  bool prepare();
  [[nodiscard]] std::int64_t save_interval() const;  ///< Local
  void bind_batches();
  void open_log(bool append);
  void resume(std::filesystem::path checkpoint);
  std::map<std::string, std::string> load_newest_sound(std::filesystem::path& checkpoint);
  void report_start();

  // trainer.cpp
  ExitCode train();
  ExitCode make_steps();
  void settle_save();
  bool agree_to_stop(std::string_view where);
  void run_step();
  [[nodiscard]] bool should_log() const;       ///< Local
  [[nodiscard]] bool should_evaluate() const;  ///< Local
  [[nodiscard]] bool should_save(bool new_best) const;
  bool agree_at_the_boundary();
  void run_micro_batches(const StepInfo& info);

  // trainer_checks.cpp
  void handle_nonfinite(const StepInfo& info, const StepResult& result);
  void watch_loss(const StepResult& result);  ///< Local
  void compare_replicas();

  // trainer_measure.cpp
  void start_measuring();      ///< Local
  void lap(StepPhase phase) {  ///< Local
    if (!profile_) return;
    engine_->synchronize();  // a GPU's time belongs to the phase that queued it
    profile_->lap(phase);
  }
  void end_measured_step(const StepResult& result, double learning_rate, std::int64_t rows);  ///< Local
  void report_measurements() const;                                                           ///< Local

  // trainer_output.cpp
  void log_step(const StepResult& result, double learning_rate);
  bool observe(const Metrics& metrics);
  Metrics evaluate(bool logged);
  void save_checkpoint();
  void try_checkpoint();
  void advise_save_steps();
  void take_best_model();
  void finish();
  void evaluate_at_the_end();

  // trainer_predict.cpp
  void predict();

  [[nodiscard]] bool is_root() const noexcept { return comm_.rank() == 0; }
  [[nodiscard]] bool lora() const noexcept { return options_.tuning.kind == TuningKind::lora; }
  void convert_pissa() const;  ///< Local

  const TrainContext& context_;
  Communicator& comm_;
  const RunConfig& config_;
  RunSetup setup_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  std::vector<NamedEvaluation> evaluations_;
  std::int64_t total_steps_ = 0;
  std::optional<Schedule> schedule_;
  std::optional<TrainerLog> log_;
  std::unique_ptr<Progress> progress_;
  const LoggedCommunicator* measured_;       ///< null: nothing is measured
  std::optional<StepProfile> profile_;       ///< with measured_
  std::optional<DeepSpeedMonitor> monitor_;  ///< rank 0
  std::int64_t samples_ = 0;                 ///< rows behind the last update, over resumes
  BestModel best_;
  LossWatch loss_watch_;
  std::int64_t logging_steps_ = 0;
  std::int64_t eval_steps_ = 0;
  std::int64_t save_steps_ = 0;
  double matrix_peak_ = 0.0;
  CheckpointTrial trial_;       ///< of the disk; nothing where the run saves nothing
  double free_bytes_ = 0.0;     ///< of the node with the least, before this run took any
  double preparation_s_ = 0.0;  ///< from the first look at the data to an engine with weights

  std::int64_t step_ = 0;  ///< finished optimizer steps
  std::int64_t first_step_ = 0;
  std::int64_t nonfinite_in_a_row_ = 0;
  std::int64_t data_lag_ = 0;  ///< ignore_data_skip: updates by which the data stand behind step_
  double epoch_ = 0.0;
  std::int64_t saved_step_ = -1;
  bool epoch_ended_ = false;
  double loss_sum_ = 0.0;  ///< since the last log
  std::int64_t loss_steps_ = 0;
  double run_loss_sum_ = 0.0;  ///< since the start of this run
  std::int64_t run_tokens_ = 0;
  RunTotals totals_;
  double flos_per_token_ = 0.0;
  std::int64_t logged_tokens_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point logged_at_ = Clock::now();
  std::optional<Metrics> last_evaluation_;  ///< of the weights as they are now
};

/// Bytes of a rank's arenas. Local.
std::int64_t planned_bytes(const MemoryPlan& plan);
/// Of those, what lies in host memory.
std::int64_t host_bytes(const MemoryPlan& plan);

}  // namespace dstrain
