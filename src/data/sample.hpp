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
  std::vector<Message> response;
  std::string system;
  std::string tools;  ///< JSON, as the dataset gives it
};

}  // namespace dstrain
