// SPDX-License-Identifier: Apache-2.0
/// What a run does about numbers that have gone wrong: NaN and infinity, jumping losses, ranks that differ.
#include "comm/agreed_error.hpp"
#include "core/log.hpp"
#include "train/nonfinite_search.hpp"
#include "train/training_run.hpp"

namespace dstrain {
namespace {

/// Updates that may be skipped one after the other with on_nonfinite: skip. A run that never recovers must not go on
/// for days.
constexpr std::int64_t most_in_a_row = 50;

/// An error that all ranks come to by themselves, with the same words.
[[noreturn]] void stop_all(const Communicator& comm, const std::string& what, const std::string& hint) {
  std::vector<int> ranks;
  for (int r = 0; r < comm.size(); ++r) ranks.push_back(r);
  throw AgreedError(what, {}, hint, ExitCode::failed, ranks);
}

}  // namespace

/// The update of this step was not made. Runs the step's passes again to name the cause, then does what the policy
/// says.
void Trainer::handle_nonfinite(const StepInfo& info, const StepResult& result) {
  engine_->begin_search();
  run_micro_batches(info);
  const NonfiniteFinding finding = engine_->end_search();
  ++nonfinite_in_a_row_;
  const std::string what = fmt::format("{}: {}", result.overflow, finding.text);
  if (finding.parameter) {
    stop_all(comm_, what,
             "the weights themselves are damaged: resume from the last checkpoint, with a lower learning_rate if it "
             "comes again");
  }
  if (config_.on_nonfinite == "stop") {
    stop_all(comm_, what,
             "lower learning_rate or set max_grad_norm, look at the data of this step, or set on_nonfinite: skip; the "
             "weights before it are in the last checkpoint");
  }
  if (nonfinite_in_a_row_ >= most_in_a_row) {
    stop_all(comm_, fmt::format("{} ({} steps in a row were skipped)", what, nonfinite_in_a_row_),
             "resume from an older checkpoint with a lower learning_rate");
  }
  log::warning("{}; the update is skipped", what);
}

void Trainer::watch_loss(const StepResult& result) {
  if (result.nonfinite) return;
  const auto mean = loss_watch_.observe(result.loss);
  if (!mean) return;
  log::warning(
      "step {}: loss {:.4f} is {:.1f} times its running mean {:.4f}; highest on rank {}, micro-batch {}: {:.4f}", step_,
      result.loss, result.loss / *mean, *mean, result.highest_rank, result.highest_micro_step, result.highest_loss);
}

void Trainer::compare_replicas() {
  const std::string wrong = engine_->compare_replicas();
  if (wrong.empty()) return;
  stop_all(comm_, fmt::format("ranks no longer hold the same bits after step {}: {}", step_, wrong),
           "memory or processor of that rank's host is suspect: resume from a checkpoint without it");
}

}  // namespace dstrain
