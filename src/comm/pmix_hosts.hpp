// SPDX-License-Identifier: Apache-2.0
/// Where the launcher put a rank, as its PMIx server knows it.
#pragma once

#include <string>

namespace dstrain {

/// The host of a rank of this job; empty where MPI was not started through PMIx (or dstrain was built without its
/// header). Asks the library that MPI has loaded. Local; for failures only: it can take as long as the server takes.
std::string host_by_pmix(int rank);

}  // namespace dstrain
