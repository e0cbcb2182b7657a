// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_config.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "config/deepspeed_batch.hpp"
#include "config/deepspeed_measuring.hpp"
#include "config/deepspeed_mismatch.hpp"
#include "config/deepspeed_sections.hpp"
#include "config/dialect_walker.hpp"

namespace dstrain {
namespace {

class DeepSpeedReader {
 public:
  explicit DeepSpeedReader(TrainerKeys& trainer) : trainer_(trainer), offers_(trainer) {}

  void read(const ConfigValue& file) {
    auto rest = file;
    take_old_forms(rest);
    walk_dialect(Dialect::deepspeed, rest, trainer_,
                 [&](const KeySpec&, const std::string& path, const ConfigValue& value) { take(path, value); });
    take_sections(file);
    take_measuring(file, trainer_);
    if (file.find("gradient_clipping") == nullptr) absent_clipping();
    settle_fp16(file);
    const auto remark = complete_batch(batch_, trainer_, offers_);
    offers_.report(remark);
  }

 private:
  void problem(const ConfigValue& value, std::string text) { trainer_.problem(value.origin, std::move(text)); }

  /// Before 2021 `zero_optimization` was a switch for stage 1.
  void take_old_forms(ConfigValue& file) {
    auto* zero = file.find("zero_optimization");
    if (zero == nullptr || !to_bool(*zero)) return;
    offers_.offer("zero_stage", "zero_optimization", ConfigValue::scalar(*to_bool(*zero) ? "1" : "0", zero->origin),
                  {});
    zero->kind = ConfigValue::Kind::null;
  }

  void take(const std::string& path, const ConfigValue& value) {
    if (value.is_null()) return;
    if (path == "optimizer" || path == "scheduler") return;  // take_sections: one after the other
    if (path.starts_with("fp16.") && path != "fp16.enabled") return take_fp16(path.substr(5), value);
    if (is_auto(value)) return automatic(path);
    struct Pair {
      std::string_view key, hf_name;
    };
    static const std::map<std::string, Pair, std::less<>> pairs{
        {"gradient_clipping", {"max_grad_norm", "max_grad_norm"}},
        {"dataloader_drop_last", {"dataloader_drop_last", {}}},
        {"fp16.enabled", {"fp16", "fp16|fp16_full_eval"}},
        {"bf16.enabled", {"bf16", "bf16|bf16_full_eval"}},
        {"bfloat16.enabled", {"bf16", "bf16|bf16_full_eval"}},
        {"zero_optimization.stage", {"zero_stage", {}}},
        {"zero_optimization.reduce_bucket_size", {"reduce_bucket_size", {}}},
        {"zero_optimization.stage3_prefetch_bucket_size", {"stage3_prefetch_bucket_size", {}}},
        {"zero_optimization.prefetch_bucket_size", {"stage3_prefetch_bucket_size", {}}},
        {"zero_optimization.offload_optimizer.device", {"offload_optimizer", {}}},
        {"zero_optimization.offload_param.device", {"offload_param", {}}}};
    if (const auto pair = pairs.find(path); pair != pairs.end()) {
      if (auto wrong = range_problem(path, value); !wrong.empty()) return problem(value, std::move(wrong));
      return offers_.offer(pair->second.key, path, value, pair->second.hf_name);
    }
    if (path.starts_with("zero_optimization.cpu_offload") && !path.ends_with("memory")) {
      const bool params = path.find("_param") != std::string::npos;
      return offers_.offer(params ? "offload_param" : "offload_optimizer", path,
                           ConfigValue::scalar(to_bool(value) == true ? "cpu" : "none", value.origin), {});
    }
    if (path == "train_batch_size") batch_.all = value;
    if (path == "train_micro_batch_size_per_gpu") batch_.micro = value;
    if (path == "gradient_accumulation_steps") batch_.steps = value;
  }

  static std::string range_problem(const std::string& path, const ConfigValue& value) {
    const auto number = to_number(value);
    if (path.ends_with(".stage") && (!number || *number < 0 || *number > 3)) {
      return fmt::format("key '{}': {} is not 0, 1, 2 or 3", path, value.shown());
    }
    if (path == "gradient_clipping" && !(number && *number >= 0)) {
      return fmt::format("key '{}': {} is not a number of 0 or more", path, value.shown());
    }
    if (path.ends_with("bucket_size") && !(number && *number >= (path.find("prefetch") == std::string::npos ? 1 : 0))) {
      return fmt::format("key '{}': {} is not a whole number of 1 or more", path, value.shown());
    }
    return {};
  }

  /// "auto" keeps the trainer's value; bucket sizes come from the model.
  void automatic(const std::string& path) {
    const bool reduce = path == "zero_optimization.reduce_bucket_size";
    const bool prefetch =
        path == "zero_optimization.stage3_prefetch_bucket_size" || path == "zero_optimization.prefetch_bucket_size";
    if (path == "train_micro_batch_size_per_gpu") batch_.micro_is_trainers = true;
    if (path == "gradient_accumulation_steps") batch_.steps_are_trainers = true;
    if (!reduce && !prefetch) return;
    const std::string_view key = reduce ? "reduce_bucket_size" : "stage3_prefetch_bucket_size";
    if (trainer_.given(key) != nullptr) return;
    const auto hidden = trainer_.hidden_size();
    if (!hidden) {
      return trainer_.note(
          fmt::format("DeepSpeed's {}: auto keeps {} elements until the model is there (it changes no result)", key,
                      reduce ? trainer_.config().reduce_bucket_size : trainer_.config().stage3_prefetch_bucket_size));
    }
    const auto count =
        reduce ? *hidden * *hidden : static_cast<std::int64_t>(0.9 * static_cast<double>(*hidden * *hidden));
    trainer_.set(key, ConfigValue::scalar(std::to_string(count), {Origin::Source::deepspeed, "auto: hidden_size", 0}));
  }

  void take_sections(const ConfigValue& file) {
    const auto* optimizer = file.find("optimizer");
    const auto* scheduler = file.find("scheduler");
    if (optimizer != nullptr && !optimizer->is_null()) take_optimizer(*optimizer, trainer_, offers_);
    if (scheduler != nullptr && !scheduler->is_null()) take_scheduler(*scheduler, trainer_, offers_);
  }

  void take_fp16(const std::string& name, const ConfigValue& value) {
    if (is_auto(value))
      return problem(value, fmt::format("key 'fp16.{}': there is no trainer value for \"auto\"", name));
    const double number = to_number(value).value_or(0.0);
    const bool positive = name == "loss_scale_window" || name == "hysteresis" || name == "min_loss_scale";
    if ((positive && !(number > 0)) || number < 0 || (name == "initial_scale_power" && number > 126)) {
      return problem(value, fmt::format("key 'fp16.{}': {} is out of range", name, value.shown()));
    }
    if (name == "auto_cast") fp16_.auto_cast = to_bool(value).value_or(false);
    if (name == "loss_scale") fp16_.loss_scale = number;
    if (name == "initial_scale_power") fp16_.initial_scale_power = static_cast<int>(number);
    if (name == "loss_scale_window") fp16_.loss_scale_window = static_cast<std::int64_t>(number);
    if (name == "hysteresis") fp16_.hysteresis = static_cast<int>(std::min(number, 1e9));
    if (name == "consecutive_hysteresis") fp16_.consecutive_hysteresis = to_bool(value).value_or(false);
    if (name == "min_loss_scale") fp16_.min_loss_scale = number;
    scale_is_described_ = scale_is_described_ || (name != "auto_cast" && name != "loss_scale");
  }

  /// The rule for the loss scale goes along wherever the run is in fp16.
  void settle_fp16(const ConfigValue& file) {
    auto& config = trainer_.config();
    if (!config.fp16) return;
    const auto* section = file.find("fp16");
    fp16_.enabled = true;
    if (section == nullptr) fp16_.auto_cast = true;  // accelerate adds the section with this
    if (!scale_is_described_) {  // DeepSpeed's own defaults, other than those of its documented keys
      fp16_.initial_scale_power = 32;
      fp16_.hysteresis = 1;
    }
    config.deepspeed_fp16 = fp16_;
    trainer_.set_origin("deepspeed_fp16", section != nullptr ? section->origin : file.origin);
  }

  /// Under DeepSpeed the trainer does not clip; DeepSpeed does, and without its key not at all (its default is 0).
  void absent_clipping() {
    const auto* ours = trainer_.given("max_grad_norm");
    auto& config = trainer_.config();
    if (ours != nullptr) {
      if (config.max_grad_norm > 0) {
        trainer_.note(fmt::format(
            "max_grad_norm: {} is kept; under DeepSpeed it would do nothing, as its file has no gradient_clipping",
            config.max_grad_norm));
      }
      return;
    }
    config.max_grad_norm = 0.0;
    trainer_.set_origin("max_grad_norm", {Origin::Source::deepspeed, "DeepSpeed's default", 0});
    trainer_.note("gradients are not clipped: DeepSpeed's file has no gradient_clipping, and its default is 0");
  }

  TrainerKeys& trainer_;
  DeepSpeedOffers offers_;
  DeepSpeedBatch batch_;
  Fp16Options fp16_;
  bool scale_is_described_ = false;
};

}  // namespace

void apply_deepspeed(const ConfigValue& file, TrainerKeys& trainer) { DeepSpeedReader(trainer).read(file); }

}  // namespace dstrain
