// SPDX-License-Identifier: Apache-2.0
#include "config/dialect_walker.hpp"

#include <fmt/core.h>

#include <utility>

namespace dstrain {
namespace {

class Walker {
 public:
  Walker(Dialect dialect, TrainerKeys& trainer,
         const std::function<void(const KeySpec&, const std::string&, const ConfigValue&)>& take)
      : dialect_(dialect), trainer_(trainer), take_(take) {}

  void walk(const ConfigValue& section, const std::string& prefix) {
    for (const auto& [name, value] : section.members) {
      const std::string path = prefix.empty() ? name : prefix + "." + name;
      const bool section_of_rows = is_section(dialect_, path);
      const auto* row = find_key(dialect_, path);
      if (section_of_rows && row == nullptr && (value.is_map() || value.is_null())) {
        walk(value, path);
      } else if (section_of_rows && row == nullptr) {
        trainer_.problem(value.origin, fmt::format("key '{}': {} is not a section", path, value.shown()));
      } else if (row != nullptr) {
        handle(*row, path, value);
      } else {
        unknown(path, value);
      }
    }
  }

  void say_what_has_no_effect() {
    if (without_effect_.empty()) return;
    trainer_.note(fmt::format("keys of {} without effect in dstrain: {}", title_of(dialect_), without_effect_));
  }

 private:
  void handle(const KeySpec& row, const std::string& path, const ConfigValue& value) {
    const bool automatic = is_auto(value);
    if (!automatic) {
      auto wrong = type_problem(row, value);
      if (wrong.empty()) wrong = choice_problem(row, value);
      if (!wrong.empty()) return trainer_.problem(value.origin, fmt::format("key '{}': {}", path, wrong));
    }
    if (row.action == KeyClass::runs) return take_(row, path, value);
    if (automatic || is_off(row, value)) return;
    if (row.action == KeyClass::refused) {
      return trainer_.problem(value.origin, fmt::format("key '{}': {}", path, refusal(value, row.why)));
    }
    without_effect_ += (without_effect_.empty() ? "" : ", ") + path;
  }

  void unknown(const std::string& path, const ConfigValue& value) {
    const auto near = nearest_key(dialect_, path);
    trainer_.problem(value.origin, fmt::format("unknown key '{}' of {}{}", path, title_of(dialect_),
                                               near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }

  Dialect dialect_;
  TrainerKeys& trainer_;
  const std::function<void(const KeySpec&, const std::string&, const ConfigValue&)>& take_;
  std::string without_effect_;
};

}  // namespace

bool is_auto(const ConfigValue& value) { return value.kind == ConfigValue::Kind::scalar && value.text == "auto"; }

void walk_dialect(Dialect dialect, const ConfigValue& tree, TrainerKeys& trainer,
                  const std::function<void(const KeySpec&, const std::string&, const ConfigValue&)>& take) {
  Walker walker(dialect, trainer, take);
  walker.walk(tree, "");
  walker.say_what_has_no_effect();
}

}  // namespace dstrain
