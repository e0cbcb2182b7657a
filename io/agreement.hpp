// SPDX-License-Identifier: Apache-2.0
/// Do all ranks bring the same list? Asked before a sequence of messages that hangs where they do not.
#pragma once

#include <string_view>

#include "comm/communicator.hpp"
#include "io/files/digest.hpp"

namespace dstrain {

/// Compares `digest` over the ranks. Collective. @throws ShapeError on all ranks where any differs, saying what: "lists
/// of slices"
void check_same_on_all_ranks(Communicator& comm, std::string_view what, const Digest& digest);

}  // namespace dstrain
