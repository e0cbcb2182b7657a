// SPDX-License-Identifier: Apache-2.0
#include "comm/pmix_hosts.hpp"

#if defined(DSTRAIN_HAS_PMIX)
#include <dlfcn.h>
#include <pmix.h>

#include <cstdlib>
#include <cstring>
#include <string_view>
#endif

namespace dstrain {

#if defined(DSTRAIN_HAS_PMIX)

std::string host_by_pmix(int rank) {
  const char* job = std::getenv("PMIX_NAMESPACE");
  // Not linked: it must be the very copy that MPI has initialized, and an MPI without PMIx has none.
  void* library = dlopen("libpmix.so.2", RTLD_NOLOAD | RTLD_LAZY);
  if (job == nullptr || library == nullptr) return {};
  decltype(&PMIx_Get) get = nullptr;
  void* symbol = dlsym(library, "PMIx_Get");
  std::memcpy(&get, &symbol, sizeof symbol);
  dlclose(library);  // MPI keeps it
  if (get == nullptr) return {};
  pmix_proc_t process{};
  std::string_view(job).copy(process.nspace, PMIX_MAX_NSLEN);
  process.rank = static_cast<pmix_rank_t>(rank);
  pmix_value_t* value = nullptr;
  if (get(&process, PMIX_HOSTNAME, nullptr, 0, &value) != PMIX_SUCCESS || value == nullptr) return {};
  std::string host = value->type == PMIX_STRING && value->data.string != nullptr ? value->data.string : "";
  if (value->type == PMIX_STRING) std::free(value->data.string);  // as PMIX_VALUE_RELEASE does
  std::free(value);
  return host;
}

#else

std::string host_by_pmix(int) { return {}; }

#endif

}  // namespace dstrain
