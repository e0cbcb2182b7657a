// SPDX-License-Identifier: Apache-2.0
/// The collectives that training is written in.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.hpp"
#include "core/view.hpp"

namespace dstrain {

enum class ReduceOp : std::uint8_t { sum, max, min };

/// One buffer of a grouped reduce_scatter: `full` has size() * shard.count elements, shard r goes to rank r. `shard`
/// may be the rank's own slice of `full` (in place) where it does not accumulate.
struct ReduceScatterPart {
  ConstView full;
  View shard;               ///< f32
  bool accumulate = false;  ///< true: shard = ((shard + c0) + c1) + ...; false: shard = (c0 + c1) + ...
};

/// One buffer of a grouped all_gather. `shard` may be the rank's own slice of `full` (in place).
struct AllGatherPart {
  ConstView shard;
  View full;
};

/// A fixed group of ranks that run collectives together.
///
/// Each function marked *collective* is called by every rank of the group, in the same order, with
/// equal counts, dtype and op. CheckedCommunicator verifies this in the `checked` preset.
/// Device buffers are ordered on `stream`; host buffers are complete on return.
/// `label` (a string literal or one that outlives the communicator) names the call in the flight recorder.
/// All functions throw ShapeError (nothing was sent) or CommError (the group cannot be used again).
/// Implementations: LocalCommunicator (one rank), MpiCommunicator (host), later NcclCommunicator (device).
class Communicator {
 public:
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  [[nodiscard]] virtual int rank() const noexcept = 0;
  [[nodiscard]] virtual int size() const noexcept = 0;

  /// Sums `full` of the first `contributors` ranks element by element in rank order (a left fold: the same bits in
  /// every run and for any grouping of the same contributions) and leaves rank r's slice in its `shard`. Elements f32
  /// or bf16 in, sums and shard f32. Ranks >= contributors send nothing (their `full.data` may be null) but must call.
  /// With `two_level` the sum runs inside each node first, then between nodes: fewer bytes on the wire, other rounding.
  ///
  /// Collective. Moves (size-1)/size of `full` per rank.
  virtual void reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level, Stream stream,
                              const char* label) = 0;

  /// Gathers every rank's `shard` into `full`, in rank order. Collective.
  virtual void all_gather(std::span<const AllGatherPart> parts, Stream stream, const char* label) = 0;

  /// Reduces `values` in place, the same bits on all ranks (fold in rank order). f64, f32, i64, i32. Collective; for
  /// small counts.
  virtual void all_reduce(View values, ReduceOp op, Stream stream, const char* label) = 0;

  /// Copies `values` of `root` to all. Any dtype. Collective.
  virtual void broadcast(View values, int root, Stream stream, const char* label) = 0;

  /// Waits for all. Collective.
  virtual void barrier(const char* label) = 0;

  /// Point to point between two ranks of the group, host memory, in order per pair. Local to the two.
  virtual void send(ConstView values, int to, const char* label) = 0;
  virtual void recv(View values, int from, const char* label) = 0;

  /// A buffer that the group's collectives reach without a copy (shared window inside a node), or plain memory where
  /// there is none. Collective; equal bytes on all ranks. Lives as long as the communicator. `bytes` are in the plan by
  /// the caller.
  [[nodiscard]] virtual void* allocate_registered(std::int64_t bytes) = 0;

  /// Collectives that take longer than `seconds` end the job with a message that says who waits where; 0: never. Local;
  /// a communicator without other processes has nothing to wait for and ignores it.
  virtual void set_timeout(double seconds) { static_cast<void>(seconds); }

  /// Collective ending; after it no call is allowed. The destructor never communicates.
  virtual void close() = 0;

  /// Ends the whole job at once with `exit_code`, also while other ranks are inside a collective. Local; does not
  /// return for MPI.
  virtual void abort(std::string_view reason, int exit_code) noexcept = 0;

  // One-buffer forms.
  void reduce_scatter(ConstView full, View shard, Stream stream, const char* label) {
    const ReduceScatterPart part{full, shard, false};
    reduce_scatter(std::span(&part, 1), size(), false, stream, label);
  }
  void all_gather(ConstView shard, View full, Stream stream, const char* label) {
    const AllGatherPart part{shard, full};
    all_gather(std::span(&part, 1), stream, label);
  }
};

/// Runs `local_step` on every rank; if it throws on any, throws on all: the first failing rank's error (message, where,
/// hint and kind of exit code) with the list of ranks that failed.
///
/// Collective. For work that can fail on one rank (open a file, allocate) right before a collective:
/// without it the healthy ranks would wait for ever. Costs one 8-byte all_reduce when all is well.
void on_all_ranks(Communicator& comm, std::string_view what, const std::function<void()>& local_step);

/// Sends a string (any length) from `root` to all. Collective.
std::string broadcast_string(Communicator& comm, std::string value, int root = 0);

/// Every rank's string, in rank order, on all ranks. Collective; for reports and small tables.
std::vector<std::string> all_gather_strings(Communicator& comm, const std::string& value);

}  // namespace dstrain
