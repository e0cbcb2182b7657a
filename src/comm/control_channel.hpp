// SPDX-License-Identifier: Apache-2.0
/// The launcher's own channel between hosts, which works where MPI's connections do not. For failures only.
#pragma once

#include <span>

#include "comm/silence.hpp"

namespace dstrain {

/// Leaves host and interfaces of this rank with the launcher. Local; failures are silent (a launcher need not offer
/// it).
void publish_contact(int rank, const OwnContact& own);

/// Fills in what the ranks of `peers` have published, or their host alone where the launcher knows that; those of which
/// nothing is known stay as they are. Local; waits at most 2 s in all.
void look_up_contacts(std::span<PeerContact> peers);

}  // namespace dstrain
