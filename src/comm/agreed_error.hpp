// SPDX-License-Identifier: Apache-2.0
/// The error that all ranks know of.
#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"

namespace dstrain {

/// Thrown by on_all_ranks() on every rank alike, so that nobody waits for anybody: main prints it once and ends in good
/// order.
class AgreedError : public Error {
 public:
  AgreedError(const std::string& what, const std::string& where, const std::string& hint, ExitCode code,
              std::vector<int> ranks)
      : Error(what, where, hint), code_(code), ranks_(std::move(ranks)) {}
  [[nodiscard]] ExitCode exit_code() const noexcept override { return code_; }
  /// The ranks it happened on.
  [[nodiscard]] const std::vector<int>& failed_ranks() const noexcept { return ranks_; }

 private:
  ExitCode code_;
  std::vector<int> ranks_;
};

}  // namespace dstrain
