// SPDX-License-Identifier: Apache-2.0
/// Walks a file of another dialect against that dialect's rows.
#pragma once

#include <functional>
#include <string>

#include "config/key_schema.hpp"
#include "config/trainer_keys.hpp"

namespace dstrain {

/// Checks every member of `tree` by its row (known, type, choices, class) and hands those that run to `take`.
///
/// Local. "auto" is handed on as it is. What has no effect is said in one note, where it is not the default; what is
/// wrong becomes a problem at its line.
/// @param take  (row, dotted path, value), for rows that run
void walk_dialect(Dialect dialect, const ConfigValue& tree, TrainerKeys& trainer,
                  const std::function<void(const KeySpec&, const std::string&, const ConfigValue&)>& take);

/// Whether the value is DeepSpeed's word for "the trainer's value".
bool is_auto(const ConfigValue& value);

}  // namespace dstrain
