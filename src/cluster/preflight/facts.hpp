// SPDX-License-Identifier: Apache-2.0
/// What each rank knows about itself and its host: the only thing that the rules of preflight look at.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/network_interfaces.hpp"
#include "comm/topology.hpp"

namespace dstrain {

struct GpuFacts {
  std::string uuid;  ///< hexadecimal digits alone
  std::string model;
  std::int64_t total_bytes = 0;
  std::int64_t free_bytes = 0;

  friend bool operator==(const GpuFacts&, const GpuFacts&) = default;
};

/// Of a host; told by its lowest rank.
struct NodeFacts {
  std::vector<NetworkInterface> interfaces;
  std::vector<std::string> infiniband;   ///< devices with an active port
  std::int64_t available_bytes = 0;      ///< of host memory
  std::int64_t shared_memory_bytes = 0;  ///< free in /dev/shm
  std::vector<GpuFacts> gpus;            ///< those that are looked at only where the run or the doctor wants them
  std::string gpu_driver;                ///< empty: no NVIDIA driver

  friend bool operator==(const NodeFacts&, const NodeFacts&) = default;
};

struct RankFacts {
  int rank = 0;
  int node = 0;
  int local_rank = 0;
  std::string host;
  std::string build;                            ///< build_id()
  std::string binary;                           ///< SHA-256 of the file; doctor only
  std::string mpi;                              ///< the library's own words
  std::string hdf5;                             ///< 1.10.8
  std::string libraries;                        ///< of CUDA: device_libraries()
  std::string device;                           ///< "cpu", or the uuid of the rank's GPU
  std::vector<int> cores;                       ///< physical ones it may run on
  int threads = 1;                              ///< it will use
  std::int64_t memlock = 0;                     ///< bytes it may lock; INT64_MAX: no limit
  std::int64_t nofile = 0;                      ///< files it may open
  double clock_s = 0;                           ///< seconds since 1970 at a moment that all ranks share
  std::map<std::string, std::string> settings;  ///< NCCL_*, OMPI_MCA_*, UCX_* that a person can have set
  std::optional<NodeFacts> host_facts;          ///< local_rank 0

  /// "3@node2"
  [[nodiscard]] std::string tag() const;
  friend bool operator==(const RankFacts&, const RankFacts&) = default;
};

/// All ranks, in rank order.
using JobFacts = std::vector<RankFacts>;

/// What to look at beyond what costs nothing.
struct FactsWanted {
  bool gpus = false;    ///< asks the driver's management library (tens of milliseconds)
  bool digest = false;  ///< reads the whole binary
};

/// Of this rank; `clock_s` and `binary` are left. Local.
/// @param device  as RankFacts::device
RankFacts gather_facts(const Topology& topology, const std::string& device, int threads, const FactsWanted& wanted);

/// Most bytes that one rank tells.
inline constexpr std::size_t facts_limit = 32 << 10;

/// JSON and back. Local. @throws CommError  `text` is none of to_text()'s
std::string to_text(const RankFacts& facts);
RankFacts parse_facts(std::string_view text);

/// True for variables that a person sets for NCCL, UCX or Open MPI's transports; not for those that mpirun gives each
/// rank. Pure.
bool is_setting(std::string_view name);

}  // namespace dstrain
