// SPDX-License-Identifier: Apache-2.0
/// One row of a dataset after its format is understood, before tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dstrain {

enum class Role : std::uint8_t { user, assistant, observation, function };

struct Message {
  Role role = Role::user;
  std::string content;
};

/// An empty prompt marks a row that was not understood: it keeps its place in its group and is dropped when encoded.
struct Sample {
  std::vector<Message> prompt;
  /// One answer; none (unsupervised); or two: chosen and rejected, and of a kto row one with content and one without.
  std::vector<Message> response;
  std::string system;
  std::string tools;         ///< JSON, as the dataset gives it
  std::string problem = {};  ///< why the row was not understood, and where it stands; empty: it was
};

}  // namespace dstrain
