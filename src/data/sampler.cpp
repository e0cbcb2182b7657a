// SPDX-License-Identifier: Apache-2.0
#include "data/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <utility>

#include "core/error.hpp"

namespace dstrain {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

void require_positive(std::int64_t value, const char* key) {
  if (value < 1) throw ConfigError(fmt::format("is {}; must be at least 1", value), key);
}

void check(const BatchPlanOptions& o) {
  require_positive(o.per_device_train_batch_size, "per_device_train_batch_size");
  require_positive(o.gradient_accumulation_steps, "gradient_accumulation_steps");
  require_positive(o.virtual_ranks, "virtual_ranks");
  if (o.rows < 1) throw ConfigError("there is no row to train on", "dataset");
  // The permutation counts in 32 bits, as torch's generator does.
  if (o.rows > std::numeric_limits<std::uint32_t>::max())
    throw ConfigError(fmt::format("{} rows are too many", o.rows), "dataset");
  if (o.max_steps <= 0 && !(o.num_train_epochs > 0.0 && std::isfinite(o.num_train_epochs))) {
    throw ConfigError(fmt::format("is {}; must be above 0", o.num_train_epochs), "num_train_epochs");
  }
  if (o.virtual_ranks > 1 && !o.even_batches.value_or(true)) {
    throw ConfigError("even_batches: false would leave ranks without a batch", "accelerator_config",
                      "remove it, or set dataloader_drop_last: true");
  }
}

}  // namespace

BatchPlan::BatchPlan(const BatchPlanOptions& options) : options_(options) {
  check(options_);
  const std::int64_t batch = options_.per_device_train_batch_size;
  const std::int64_t ranks = options_.virtual_ranks;
  fill_tail_ = options_.even_batches.value_or(ranks > 1) && !options_.dataloader_drop_last;
  micro_steps_per_epoch_ =
      options_.dataloader_drop_last ? options_.rows / batch / ranks : divide_up(divide_up(options_.rows, batch), ranks);
  if (micro_steps_per_epoch_ < 1) {
    throw ConfigError(fmt::format("{} rows do not fill one batch of {} on {} ranks", options_.rows, batch, ranks),
                      "dataloader_drop_last", "set it to false, or lower per_device_train_batch_size");
  }
  steps_per_epoch_ = divide_up(micro_steps_per_epoch_, options_.gradient_accumulation_steps);
  const double steps = std::ceil(options_.num_train_epochs * static_cast<double>(steps_per_epoch_));
  if (options_.max_steps <= 0 && steps > 1e15) throw ConfigError("is too large", "num_train_epochs");
  total_steps_ = options_.max_steps > 0 ? options_.max_steps : static_cast<std::int64_t>(steps);
}

std::int64_t BatchPlan::max_slots() const noexcept {
  return options_.virtual_ranks * std::min<std::int64_t>(options_.gradient_accumulation_steps, micro_steps_per_epoch_);
}

PlannedStep BatchPlan::step(std::int64_t step) const {
  DSTRAIN_CHECK(step >= 0, "step {}", step);
  const std::int64_t ranks = options_.virtual_ranks;
  const std::int64_t first_micro = step % steps_per_epoch_ * options_.gradient_accumulation_steps;
  const std::int64_t end_micro =
      std::min<std::int64_t>(first_micro + options_.gradient_accumulation_steps, micro_steps_per_epoch_);
  PlannedStep out;
  out.epoch = step / steps_per_epoch_;
  out.first_batch = first_micro * ranks;
  out.first_slot = (out.epoch * micro_steps_per_epoch_ + first_micro) * ranks;
  out.slots = (end_micro - first_micro) * ranks;
  out.epoch_after =
      static_cast<double>(out.epoch) + static_cast<double>(end_micro) / static_cast<double>(micro_steps_per_epoch_);
  return out;
}

BatchPlan::Places BatchPlan::places(std::int64_t batch) const {
  const std::int64_t begin = batch * options_.per_device_train_batch_size;
  const std::int64_t end = begin + options_.per_device_train_batch_size;
  return {begin, fill_tail_ ? end : std::min(end, options_.rows)};
}

void epoch_order(const BatchPlanOptions& options, std::int64_t epoch, std::span<std::uint32_t> order) {
  DSTRAIN_CHECK(std::ssize(order) == options.rows, "an order of {} for {} rows", order.size(), options.rows);
  std::iota(order.begin(), order.end(), 0U);
  if (options.disable_shuffling) return;
  // torch's CPU generator takes the lower 32 bits of a seed.
  std::mt19937 generator(static_cast<std::uint32_t>(options.seed + static_cast<std::uint64_t>(epoch)));
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    std::swap(order[i], order[i + generator() % (order.size() - i)]);
  }
}

void group_by_length(const BatchPlanOptions& options, std::span<std::uint32_t> order,
                     const std::function<std::int64_t(std::uint32_t)>& length_of) {
  const std::int64_t batch = std::int64_t{options.per_device_train_batch_size} * options.gradient_accumulation_steps;
  const std::int64_t groups = std::clamp<std::int64_t>(std::ssize(order) / (batch * 4), 1, 50);
  const auto size = static_cast<std::size_t>(groups * batch);
  std::size_t longest = 0;  // the group's first row
  for (std::size_t begin = 0; begin < order.size(); begin += size) {
    const auto group = order.subspan(begin, std::min(size, order.size() - begin));
    std::stable_sort(group.begin(), group.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return length_of(a) > length_of(b); });
    if (length_of(group.front()) > length_of(order[longest])) longest = begin;
  }
  if (!order.empty()) std::swap(order[0], order[longest]);
}

}  // namespace dstrain
