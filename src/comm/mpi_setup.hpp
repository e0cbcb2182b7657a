// SPDX-License-Identifier: Apache-2.0
/// How an MpiCommunicator comes to its transport. Only for the .cpp files of comm/.
#pragma once

#include "comm/mpi_communicator.hpp"
#include "comm/mpi_transport.hpp"

namespace dstrain {

/// Duplicates `parent`, finds out who shares memory, makes windows and scratch. All ranks agree on what was possible.
/// Collective over `parent`. @throws CommError
Transport make_transport(MPI_Comm parent, const MpiOptions& options);

/// True where every rank has a window of `bytes` per rank free on its node. Collective.
bool shared_memory_suffices(const Transport& transport, int local_size, std::int64_t bytes);

}  // namespace dstrain
