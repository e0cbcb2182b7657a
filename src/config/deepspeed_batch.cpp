// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_batch.hpp"

#include <fmt/core.h>

namespace dstrain {
namespace {

constexpr std::string_view kMicro = "per_device_train_batch_size";
constexpr std::string_view kSteps = "gradient_accumulation_steps";

class Batch {
 public:
  Batch(const DeepSpeedBatch& given, TrainerKeys& trainer, DeepSpeedOffers& offers)
      : given_(given), trainer_(trainer), offers_(offers) {}

  std::string complete() {
    if (!offer(given_.micro, "train_micro_batch_size_per_gpu", kMicro) || !offer(given_.steps, kSteps, kSteps))
      return {};
    if (!given_.all) return {};
    const auto all = positive(*given_.all, "train_batch_size");
    if (!all) return {};
    micro_fixed_ = given_.micro || given_.micro_is_trainers || trainer_.given(kMicro) != nullptr;
    steps_fixed_ = given_.steps || given_.steps_are_trainers || trainer_.given(kSteps) != nullptr;
    if (trainer_.ranks() == 0) {
      trainer_.note(fmt::format("DeepSpeed's train_batch_size={} is compared when the number of ranks is known", *all));
      return {};
    }
    fill_open(*all);
    return check(*all);
  }

 private:
  std::optional<std::int64_t> positive(const ConfigValue& value, std::string_view path) {
    const auto count = to_integer(value);
    if (count && *count >= 1 && *count <= 1'000'000'000) return count;
    trainer_.problem(value.origin, fmt::format("key '{}': {} is not a whole number of 1 or more", path, value.shown()));
    return std::nullopt;
  }

  bool offer(const std::optional<ConfigValue>& value, std::string_view path, std::string_view key) {
    if (!value) return true;
    if (!positive(*value, path)) return false;
    offers_.offer(key, std::string(path), *value, key);
    return true;
  }

  /// DeepSpeed's completion: integer divisions, so that what does not divide fails the check.
  void fill_open(std::int64_t all) {
    const std::int64_t ranks = trainer_.ranks();
    if (micro_fixed_ && steps_fixed_) return;
    if (micro_fixed_) {
      set(kSteps, all / trainer_.config().per_device_train_batch_size / ranks);
    } else if (steps_fixed_) {
      set(kMicro, all / ranks / trainer_.config().gradient_accumulation_steps);
    } else {
      set(kSteps, 1);
      set(kMicro, all / ranks);
    }
  }

  void set(std::string_view key, std::int64_t value) {
    if (value < 1) return;  // the check says what is wrong
    trainer_.set(key, ConfigValue::scalar(std::to_string(value), given_.all->origin));
  }

  std::string check(std::int64_t all) {
    const std::int64_t micro = trainer_.config().per_device_train_batch_size;
    const std::int64_t steps = trainer_.config().gradient_accumulation_steps;
    const std::int64_t ranks = trainer_.ranks();
    const auto product = micro * steps * ranks;
    if (product == all) return {};
    const auto identity = fmt::format(
        "Check batch related parameters. train_batch_size is not equal to micro_batch_per_gpu * gradient_acc_step * "
        "world_size {} != {} * {} * {}; {}",
        all, micro, steps, ranks, what_fits(all, micro, steps, ranks));
    const bool trainers = trainer_.given(kMicro) != nullptr || trainer_.given(kSteps) != nullptr ||
                          given_.micro_is_trainers || given_.steps_are_trainers;
    if (!trainers) {
      trainer_.problem(given_.all->origin, identity);
      return {};
    }
    offers_.differ("train_batch_size", *given_.all, "train_batch_size (calculated)", std::to_string(product));
    return "\n" + identity;
  }

  static std::string what_fits(std::int64_t all, std::int64_t micro, std::int64_t steps, std::int64_t ranks) {
    auto text = fmt::format("these would fit on {} ranks: train_batch_size {}", ranks, micro * steps * ranks);
    if (all % (micro * ranks) == 0) text += fmt::format(", or gradient_accumulation_steps {}", all / (micro * ranks));
    if (all % (steps * ranks) == 0) text += fmt::format(", or a micro-batch of {}", all / (steps * ranks));
    if (all % (micro * steps) == 0) text += fmt::format(", or {} ranks", all / (micro * steps));
    if (all % (micro * ranks) != 0 && all > micro * ranks) {
      const auto below = all / (micro * ranks);
      text += fmt::format(", or train_batch_size {} or {}", below * micro * ranks, (below + 1) * micro * ranks);
    }
    return text;
  }

  const DeepSpeedBatch& given_;
  TrainerKeys& trainer_;
  DeepSpeedOffers& offers_;
  bool micro_fixed_ = false;
  bool steps_fixed_ = false;
};

}  // namespace

std::string complete_batch(const DeepSpeedBatch& batch, TrainerKeys& trainer, DeepSpeedOffers& offers) {
  return Batch(batch, trainer, offers).complete();
}

}  // namespace dstrain
