// SPDX-License-Identifier: Apache-2.0
/// Whether all hosts write checkpoints into the same folder, and whether it has room. (Declared in preflight.hpp.)
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "cluster/preflight/preflight.hpp"
#include "core/error.hpp"
#include "core/system_memory.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

/// A new name each time: network file systems remember for a while that a name was not there.
std::string random_name() {
  std::random_device device;
  return fmt::format(".dstrain-seen-{:08x}{:08x}", device(), device());
}

/// Exists from construction to destruction.
class ProbeFile {
 public:
  explicit ProbeFile(std::filesystem::path path) : path_(std::move(path)) { const auto file = create_to_write(path_); }
  ProbeFile(const ProbeFile&) = delete;
  ProbeFile& operator=(const ProbeFile&) = delete;
  ~ProbeFile() {
    std::error_code gone;
    std::filesystem::remove(path_, gone);
  }

 private:
  std::filesystem::path path_;
};

bool comes_into_sight(const std::filesystem::path& file) {
  constexpr auto patience = std::chrono::seconds(3);  // attributes of a folder are cached, by NFS for 3 s at first
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    std::error_code none;
    if (std::filesystem::exists(file, none)) return true;
    if (std::chrono::steady_clock::now() - start > patience) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

Findings check_room(const OutputNeeds& needs, const std::string& host) {
  if (needs.bytes <= 0) return {};
  const auto free = free_disk_bytes(needs.folder);
  if (free >= needs.bytes) return {};
  return {{Severity::error, "disk",
           fmt::format("a checkpoint needs {}, and {} are free", format_bytes(needs.bytes), format_bytes(free)),
           fmt::format("{} on {}", needs.folder.string(), host),
           "free space, another output_dir, or save_strategy: \"no\""}};
}

}  // namespace

Findings check_output(Communicator& comm, const Topology& topology, const OutputNeeds& needs) {
  Findings findings;
  std::unique_ptr<ProbeFile> probe;
  const bool looks = needs.every_host_writes && topology.node_count > 1;
  std::string file;
  on_all_ranks(comm, "look at the output folder", [&] {
    if (comm.rank() != 0) return;
    findings = check_room(needs, topology.hosts[0]);
    if (!looks) return;
    file = (needs.folder / random_name()).string();
    probe = std::make_unique<ProbeFile>(file);
  });
  if (!looks) return findings;
  file = broadcast_string(comm, file);
  std::vector<std::int32_t> seen(static_cast<std::size_t>(comm.size()), 1);
  if (topology.local_rank == 0 && !comes_into_sight(file)) seen[static_cast<std::size_t>(comm.rank())] = 0;
  comm.all_reduce(View(seen.data(), comm.size(), DType::i32), ReduceOp::min, Stream{}, "output folder");
  probe.reset();
  std::vector<std::string> blind;
  for (std::size_t r = 0; r < seen.size(); ++r) {
    if (seen[r] == 0) blind.push_back(topology.hosts[r]);
  }
  if (!blind.empty()) {
    findings.push_back(
        {Severity::error, "output-folder",
         fmt::format("output_dir '{}' of {} is not the folder that {} see{}: every rank writes its part of "
                     "a checkpoint there",
                     needs.folder.string(), topology.hosts[0], list_names(blind), blind.size() == 1 ? "s" : ""),
         list_names(blind),
         "an output_dir on a file system that all hosts share; or checkpoint_writers: single, then rank 0 alone "
         "writes"});
  }
  return findings;
}

}  // namespace dstrain
