// SPDX-License-Identifier: Apache-2.0
/// Stage 3: the few regions that units are gathered into while they are used. Private to src/zero.
#pragma once

#include <vector>

#include "comm/communicator.hpp"
#include "zero/timeline.hpp"
#include "zero/zero_memory.hpp"

namespace dstrain {

/// Which unit stands gathered in which region. All ranks make the same calls, so that all agree without a word.
///
/// Gathers run on the communication stream: behind the last reader of the region's unit before, and before the first
/// reader of the new one, each by an event of the region.
class GatheredUnits {
 public:
  GatheredUnits(const ZeroMemory& memory, Communicator& comm, Timeline& timeline);

  /// Gathers `unit` unless it stands already; work queued on `stream` from here on reads it. Evicts units that were
  /// fetched and never held. Collective.
  /// @param holds  of each unit
  /// @throws Error  every region that the unit may use is held: the plan has no room for this order of calls
  void fetch(int unit, const std::vector<int>& holds, const Stream& stream);
  /// Gathers `unit` where a region is free, else does nothing. Collective.
  void prefetch(int unit);
  /// Ends the reading of `unit`: what was queued on `stream` so far was the last. Its values cannot be read any more
  /// (NaN in the `checked` preset). Local.
  void drop(int unit, const Stream& stream);
  /// Forgets `unit`, if it stands, which nobody has read. Local.
  void forget(int unit);
  /// First element of a part of a fetched unit.
  [[nodiscard]] ConstData part(int unit, int kind) const;

 private:
  struct Region {
    View memory;
    int unit = -1;
    Event ready;  ///< of the communication stream: the unit is there
    Event free;   ///< of the stream that read: the unit is not needed any more
  };

  [[nodiscard]] int free_region(int unit) const noexcept;
  void gather(int unit, int region);

  const ZeroMemory& memory_;
  Communicator& comm_;
  Timeline& timeline_;
  std::vector<Region> regions_;
  std::vector<int> region_of_;  ///< by unit, -1: not gathered
};

}  // namespace dstrain
