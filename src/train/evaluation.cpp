// SPDX-License-Identifier: Apache-2.0
#include "train/evaluation.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "core/error.hpp"
#include "train/trainer_log.hpp"

namespace dstrain {

namespace {

// A record: nll sum and targets of the batch, then hits and targets of each attention segment.
constexpr std::size_t batch_numbers = 2;

std::int64_t even(std::int64_t n) { return (n + 1) / 2 * 2; }

std::int64_t record_count(const Feeder& feeder, bool accuracy) noexcept {
  return static_cast<std::int64_t>(batch_numbers) + (accuracy ? 2 * feeder.limits().segments : 0);
}

}  // namespace

/// What rank 0 adds up.
struct Evaluation::Sums {
  double loss = 0.0;  ///< of batch means by their weight
  double weight = 0.0;
  double accuracy = 0.0;
  double accuracy_rows = 0.0;
};

void add_speed(Metrics& metrics, const std::string& prefix, double runtime_s, std::int64_t samples,
               std::int64_t steps) {
  const double seconds = std::max(runtime_s, 1e-9);
  metrics[prefix + "_runtime"] = round_decimals(runtime_s, 4);
  metrics[prefix + "_samples_per_second"] = round_decimals(static_cast<double>(samples) / seconds, 3);
  metrics[prefix + "_steps_per_second"] = round_decimals(static_cast<double>(steps) / seconds, 3);
}

Metrics EvaluationResult::metrics(const std::string& name) const {
  const std::string prefix = name.empty() ? "eval" : "eval_" + name;
  Metrics out{{prefix + "_loss", loss}};
  if (accuracy) out[prefix + "_accuracy"] = *accuracy;
  add_speed(out, prefix, runtime_s, rows, steps);
  return out;
}

Evaluation::Evaluation(Communicator& comm, Feeder& feeder, const RowSource* rows, BatchWeight weight, bool accuracy)
    : comm_(comm), feeder_(feeder), rows_(comm.rank() == 0 ? rows : nullptr), weight_(weight), accuracy_(accuracy) {}

std::int64_t Evaluation::storage_count(const Feeder& feeder, int ranks, bool accuracy) noexcept {
  return even(feeder.storage_count()) + 2 * ranks * record_count(feeder, accuracy);
}

void Evaluation::bind(View storage) {
  DSTRAIN_CHECK(storage.dtype == DType::i32 && storage.count >= storage_count(),
                "an evaluation needs {} i32 elements, not {}", storage_count(), storage.count);
  feeder_.bind(View(storage.data, feeder_.storage_count(), DType::i32));
  auto* behind = storage.as<std::int32_t>() + even(feeder_.storage_count());
  records_ = {reinterpret_cast<double*>(behind),
              static_cast<std::size_t>(comm_.size() * record_count(feeder_, accuracy_))};
}

void Evaluation::write_record(const MicroBatch& batch, const BatchEvaluation& result, std::span<double> record) const {
  std::fill(record.begin(), record.end(), 0.0);
  record[0] = result.nll_sum;
  record[1] = static_cast<double>(result.targets);
  if (!accuracy_) return;
  for (std::size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
    double* segment = record.data() + batch_numbers + 2 * s;
    const auto begin = static_cast<std::size_t>(batch.cu_seqlens[s]);
    const auto end = static_cast<std::size_t>(batch.cu_seqlens[s + 1]);
    for (std::size_t t = begin; t < end; ++t) {
      if (batch.targets[t] < 0) continue;
      segment[0] += result.predicted[t] == batch.targets[t] ? 1.0 : 0.0;
      segment[1] += 1.0;
    }
  }
}

void Evaluation::add_slot(std::int64_t step, std::int64_t slot, std::span<const double> record, Sums& sums) const {
  const auto places = feeder_.plan().places(feeder_.plan().step(step).first_batch + slot);
  const bool equal = weight_ == BatchWeight::equal;
  const std::int64_t counted = equal ? places.end - places.begin : feeder_.counted_rows(step, slot);
  if (record[1] > 0) {
    const double weight = equal ? 1.0 : static_cast<double>(counted);
    sums.loss += weight * (record[0] / record[1]);
    sums.weight += weight;
  }
  if (!accuracy_) return;
  const double* segment = record.data() + batch_numbers;
  for (std::int64_t place = places.begin; place < places.begin + counted; ++place) {
    const std::int64_t row = place % feeder_.info().rows;
    double hits = 0.0, targets = 0.0;
    for (std::int64_t s = feeder_.info().separate_samples ? rows_->row_samples(row) : 1; s > 0; --s, segment += 2) {
      hits += segment[0];
      targets += segment[1];
    }
    if (targets == 0.0) continue;
    sums.accuracy += hits / targets;
    sums.accuracy_rows += 1.0;
  }
}

EvaluationResult Evaluation::run(Engine& engine) {
  DSTRAIN_CHECK(!records_.empty(), "an evaluation without memory: bind() comes first");
  const auto start = std::chrono::steady_clock::now();
  const BatchPlan& plan = feeder_.plan();
  const auto record_size = static_cast<std::size_t>(record_count(feeder_, accuracy_));
  const int ranks = comm_.size();
  const auto mine = records_.subspan(static_cast<std::size_t>(comm_.rank()) * record_size, record_size);
  Sums sums;
  for (std::int64_t step = 0; step < plan.steps_per_epoch(); ++step) {
    const StepInfo info = feeder_.next(step);
    for (std::int64_t round = 0; round < info.rounds; ++round) {
      const MicroBatch batch = feeder_.has_slot(round) ? feeder_.micro_batch(round) : MicroBatch{};
      write_record(batch, engine.evaluate_batch(batch), mine);
      comm_.all_gather(ConstView(View(mine)), View(records_), Stream{}, "evaluated batches");
      if (comm_.rank() != 0) continue;
      for (int rank = 0; rank < feeder_.contributors(round); ++rank) {
        add_slot(step, round * ranks + rank,
                 records_.subspan(static_cast<std::size_t>(rank) * record_size, record_size), sums);
      }
    }
  }
  std::array<double, 4> shared{sums.loss, sums.weight, sums.accuracy, sums.accuracy_rows};
  comm_.broadcast(View(std::span<double>(shared)), 0, Stream{}, "evaluation");
  if (shared[1] == 0.0) {
    throw Error("no row of the validation set has a label", {},
                "cutoff_len may cut every answer off; `dstrain data` shows the rows");
  }
  EvaluationResult result;
  result.loss = shared[0] / shared[1];
  if (accuracy_) result.accuracy = shared[3] > 0 ? shared[2] / shared[3] : 0.0;
  result.rows = feeder_.info().rows;
  result.steps = plan.micro_steps_per_epoch();
  result.runtime_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace dstrain
