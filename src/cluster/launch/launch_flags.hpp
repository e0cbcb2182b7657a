// SPDX-License-Identifier: Apache-2.0
/// The flags that `dstrain launch` understands, one row each. Private to src/cluster/launch.
#pragma once

#include <span>
#include <string_view>

namespace dstrain {

enum class LaunchFlagKind {
  value,   ///< takes a value
  alone,   ///< takes none
  job,     ///< takes a value, and the job gets both
  noted,   ///< takes a value, changes nothing
  quiet,   ///< takes none, changes nothing
  refused  ///< `text` says what to do instead
};

struct LaunchFlag {
  std::string_view name;  ///< with underscores
  LaunchFlagKind kind;
  std::string_view means = {};  ///< the row it stands for, where that has another name; for noted and refused: why
};

std::span<const LaunchFlag> launch_flags();

/// The row of `name` (dashes and underscores alike); nullptr where there is none. Local.
const LaunchFlag* find_launch_flag(std::string_view name);

/// What a single dash stands for: -H hostfile, -np total; empty where it is nothing. Local.
std::string_view long_name_of(std::string_view short_flag);

}  // namespace dstrain
