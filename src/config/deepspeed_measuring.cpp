// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_measuring.hpp"

#include <cmath>
#include <filesystem>

namespace dstrain {
namespace {

class Measuring {
 public:
  Measuring(const ConfigValue& file, TrainerKeys& trainer) : file_(file), trainer_(trainer) {}

  void take() {
    for (const char* key : {"wall_clock_breakdown", "memory_breakdown", "dump_state"}) {
      if (const auto* value = file_.find(key); value != nullptr && to_bool(*value)) put(key, *value);
    }
    take_steps_per_print();
    take_profiler();
    if (const auto* section = enabled("comms_logger")) put("comms_logger", *section->find("enabled"));
    take_monitor("csv_monitor", "csv_monitor");
    take_monitor("tensorboard", "tensorboard_monitor");
  }

 private:
  void put(std::string_view key, const ConfigValue& value) {
    if (trainer_.given(key) == nullptr) trainer_.set(key, value);
  }
  void put(std::string_view key, std::string text, const Origin& origin) {
    put(key, ConfigValue::scalar(std::move(text), origin));
  }

  /// The section where it is switched on, else nullptr.
  [[nodiscard]] const ConfigValue* enabled(std::string_view name) const {
    const auto* section = file_.find(name);
    const auto* on = section != nullptr && section->is_map() ? section->find("enabled") : nullptr;
    return on != nullptr && to_bool(*on) == true ? section : nullptr;
  }

  /// accelerate writes Infinity: no lines at all. Without the key logging_steps counts, as DeepSpeed would print none.
  void take_steps_per_print() {
    const auto* steps = file_.find("steps_per_print");
    if (steps == nullptr || steps->is_null()) return;
    const auto number = to_number(*steps);
    if (!number || !(*number >= 1)) {
      return trainer_.problem(steps->origin,
                              "key 'steps_per_print': " + steps->shown() + " is not a number of 1 or more");
    }
    put("steps_per_print", *steps);
  }

  void take_profiler() {
    const auto* section = enabled("flops_profiler");
    if (section == nullptr) return;
    const auto* step = section->find("profile_step");
    if (step != nullptr && to_number(*step).value_or(0) < 1) {
      return trainer_.problem(step->origin,
                              "key 'flops_profiler.profile_step': " + step->shown() + " is not a step of 1 or more");
    }
    if (step != nullptr) {
      put("flops_profiler_step", *step);
    } else {
      put("flops_profiler_step", "1", section->origin);
    }
    for (const auto& [name, key] :
         {std::pair{"module_depth", "flops_profiler_depth"}, std::pair{"detailed", "flops_profiler_detailed"},
          std::pair{"output_file", "flops_profiler_file"}}) {
      if (const auto* value = section->find(name); value != nullptr && !value->is_null()) put(key, *value);
    }
    put("wall_clock_breakdown", "true", section->origin);  // as in DeepSpeed
  }

  /// Both monitors write below output_path/job_name.
  void take_monitor(std::string_view name, std::string_view key) {
    const auto* section = enabled(name);
    if (section == nullptr) return;
    const auto text = [&](std::string_view member, std::string fallback) {
      const auto* value = section->find(member);
      return value == nullptr || value->is_null() ? fallback : value->text;
    };
    const auto folder = std::filesystem::path(text("output_path", "")) / text("job_name", "DeepSpeedJobName");
    put(key, folder.string(), section->origin);
  }

  const ConfigValue& file_;
  TrainerKeys& trainer_;
};

}  // namespace

void take_measuring(const ConfigValue& file, TrainerKeys& trainer) { Measuring(file, trainer).take(); }

}  // namespace dstrain
