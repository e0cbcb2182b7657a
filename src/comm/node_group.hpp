// SPDX-License-Identifier: Apache-2.0
/// The ranks of one node and the memory they share: windows, staging, a barrier. Only for the .cpp files of comm/.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "comm/comm_op.hpp"
#include "comm/mpi_handles.hpp"

namespace dstrain {

/// Where a buffer lies in memory that the node shares. Region numbers are the same on all ranks.
struct SharedPlace {
  std::int32_t region = -1;  ///< < 0: not shared
  std::int64_t offset = 0;
  [[nodiscard]] bool shared() const noexcept { return region >= 0; }
};

/// Where a rank is in the row of collectives, for others to see.
struct RankPosition {
  std::uint64_t sequence = 0;  ///< of the last collective it entered; 0: none yet
  CommOp op = CommOp::barrier;
  bool inside = false;      ///< false: it has left that one and not entered another
  std::uint16_t label = 0;  ///< a hash of its label
};

/// Ranks that load from each other's memory directly, through MPI-3 shared windows.
///
/// The protocol of every exchange: write what the others will read into own slots of the current half (publish(),
/// staging()); barrier(); read theirs; flip(). A rank can write into a half again only after the following barrier,
/// which nobody reaches before having read: one barrier per exchange is enough. Memory of registered buffers has no
/// second half: whoever read from it must meet in one more barrier() before its owner may write again.
class NodeGroup {
 public:
  static constexpr int max_places = 64;  ///< that one publish() can name

  /// Collective over `comm`, which is the node's communicator (and becomes owned).
  /// @param half_bytes   staging bytes of one rank and half
  /// @param world_wide   others wait beyond this node: MPI must be kept going while this rank waits
  /// @param spin         tries before a waiting rank gives its core away; 0 where ranks outnumber cores
  NodeGroup(MpiComm comm, std::int64_t half_bytes, bool world_wide, int spin);
  ~NodeGroup();

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int size() const noexcept { return size_; }
  /// False where a window could not be had on this rank; then nothing but close() may be called.
  [[nodiscard]] bool usable() const noexcept { return usable_; }

  /// Collective over the node.
  /// @throws CommError  the ranks meet in it from different collectives (as shown by show_position()): one of them left
  /// one out. What they share is not to be trusted then
  void barrier();
  /// How messages name the ranks of the node; by default by their place in it.
  void name_ranks(std::vector<int> ranks) { names_ = std::move(ranks); }
  /// Bytes of one rank's header and staging, in whole pages.
  [[nodiscard]] static std::int64_t control_bytes(std::int64_t half_bytes) noexcept;
  [[nodiscard]] std::int64_t control_bytes() const noexcept { return control_bytes(half_bytes_); }
  /// The current half of a rank's staging memory. Local.
  [[nodiscard]] char* staging(int local_rank) const;
  void publish(std::span<const SharedPlace> places);
  [[nodiscard]] SharedPlace published(int local_rank, int index) const;
  void flip() noexcept { half_ ^= 1; }

  /// Shows the others where this rank is, and where they are, at any time and from any thread. Local.
  void show_position(RankPosition position) noexcept;
  [[nodiscard]] RankPosition position(int local_rank) const noexcept;

  /// Memory of `bytes` that every rank of the node can reach, zeroed, page aligned; null where it cannot be had.
  /// Collective over the node.
  [[nodiscard]] void* allocate(std::int64_t bytes);
  /// Forgets the newest region (where another node could not have it). Collective over the node.
  void drop_newest();
  /// Local.
  [[nodiscard]] SharedPlace locate(const void* data, std::int64_t bytes) const noexcept;
  [[nodiscard]] char* address(int local_rank, SharedPlace place) const;

  /// Collective over the node.
  void close();

 private:
  struct Header;
  struct Region {
    MpiWin window;
    std::int64_t bytes = 0;
    std::vector<char*> base;  ///< of every rank of the node, in this process's addresses
  };
  [[nodiscard]] bool make_region(std::int64_t bytes, Region& region);
  void wait_for_generation(std::uint32_t wanted);
  void check_same_call();

  MpiComm comm_;
  int rank_ = 0, size_ = 1;
  std::int64_t half_bytes_;
  bool world_wide_;
  int spin_;
  bool usable_ = false;
  int half_ = 0;
  std::uint32_t generation_ = 0;
  std::uint64_t checked_ = 0;  ///< the collective whose first barrier was looked at
  std::vector<int> names_;
  Region control_;  ///< per rank: a header, then two halves of staging
  std::vector<Header*> headers_;
  std::vector<Region> regions_;
};

}  // namespace dstrain
