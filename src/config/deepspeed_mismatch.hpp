// SPDX-License-Identifier: Apache-2.0
/// What DeepSpeed's file and the trainer say about the same thing.
#pragma once

#include <string>
#include <string_view>

#include "config/trainer_keys.hpp"

namespace dstrain {

/// Compares, takes what is open, and collects what differs into one problem.
class DeepSpeedOffers {
 public:
  explicit DeepSpeedOffers(TrainerKeys& trainer) : trainer_(trainer) {}

  /// DeepSpeed's `value` (not "auto") at `path` for the trainer's `key`: taken where the user left the key open.
  ///
  /// Local. @param hf_name  the trainer's side in transformers' words where transformers compares the two; empty: the
  ///                        command line wins over the file
  void offer(std::string_view key, const std::string& path, const ConfigValue& value, std::string_view hf_name);
  /// One pair that differs, for the list.
  void differ(const std::string& path, const ConfigValue& theirs, std::string_view hf_name, const std::string& ours);
  /// Adds the problem, if pairs differ. `remark`: a line below the list.
  void report(const std::string& remark);

 private:
  TrainerKeys& trainer_;
  std::string pairs_;
  Origin first_;
};

/// Whether the two mean the same for the key's type: 1 and true for a switch, 1e-5 and 0.00001 for a number.
bool same_for_key(std::string_view key, const ConfigValue& a, const ConfigValue& b);

}  // namespace dstrain
