// SPDX-License-Identifier: Apache-2.0
#include "comm/node_group.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <chrono>
#include <new>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dstrain {
namespace {

constexpr std::int64_t page_bytes = 4096;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t step) noexcept {
  return (value + step - 1) / step * step;
}

void relax() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

/// The start of each rank's control memory. The barrier of the node is the one in rank 0's header.
struct NodeGroup::Header {
  alignas(64) std::atomic<std::uint32_t> arrived;
  alignas(64) std::atomic<std::uint32_t> generation;
  alignas(64) std::atomic<std::uint64_t> position;  ///< sequence, label, op, inside: 40, 16, 7 and 1 bits
  alignas(64) SharedPlace places[2][max_places];
};

NodeGroup::NodeGroup(MpiComm comm, std::int64_t half_bytes, bool world_wide, int spin)
    : comm_(std::move(comm)), half_bytes_(round_up(half_bytes, page_bytes)), world_wide_(world_wide), spin_(spin) {
  static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "atomics in shared memory must not need a lock");
  mpi_check(MPI_Comm_rank(comm_.get(), &rank_), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(comm_.get(), &size_), "MPI_Comm_size");
  usable_ = make_region(control_bytes(), control_);
  if (!usable_) return;
  for (char* base : control_.base) headers_.push_back(reinterpret_cast<Header*>(base));
  new (headers_[static_cast<std::size_t>(rank_)]) Header{};
  mpi_check(MPI_Barrier(comm_.get()), "MPI_Barrier");  // no one may wait on a header that is not there yet
}

NodeGroup::~NodeGroup() = default;

std::int64_t NodeGroup::control_bytes(std::int64_t half_bytes) noexcept {
  return round_up(sizeof(Header), page_bytes) + 2 * half_bytes;
}

void NodeGroup::barrier() {
  if (size_ == 1) return;
  Header& shared = *headers_[0];
  const std::uint32_t wanted = ++generation_;
  // The counter's read-modify-writes order all writes before the barrier for the last to arrive, whose release store of
  // the generation hands them to everyone: what MPI_Win_sync would do, without a call.
  if (shared.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<std::uint32_t>(size_)) {
    shared.arrived.store(0, std::memory_order_relaxed);
    shared.generation.store(wanted, std::memory_order_release);
  } else {
    wait_for_generation(wanted);
  }
  check_same_call();
}

/// Looked at once in each collective. A rank that is ahead has left this one in good order. Ranks that meet here by
/// mistake cannot both be ahead: the first one to look sees it.
void NodeGroup::check_same_call() {
  const RankPosition own = position(rank_);
  if (own.sequence == checked_) return;
  checked_ = own.sequence;
  for (int local = 0; local < size_; ++local) {
    const RankPosition there = position(local);
    if (there.sequence > own.sequence) continue;
    if (there.sequence == own.sequence && there.op == own.op && there.label == own.label) continue;
    const auto name = [&](int place) { return names_.empty() ? place : names_[static_cast<std::size_t>(place)]; };
    throw CommError(fmt::format("the ranks are in different collectives: rank {} in {} #{}, rank {} in {}{} #{}",
                                name(rank_), name_of(own.op), own.sequence, name(local),
                                there.op == own.op ? "another " : "", name_of(there.op), there.sequence),
                    "", "one of them left a call out or made one too many; the preset `checked` names the first");
  }
}

void NodeGroup::wait_for_generation(std::uint32_t wanted) {
  constexpr auto patience = std::chrono::milliseconds(1);
  constexpr int yields_per_look = 32;
  const auto& generation = headers_[0]->generation;
  const auto here = [&] { return generation.load(std::memory_order_acquire) == wanted; };
  for (int i = 0; i < spin_; ++i) {
    if (here()) return;
    relax();
  }
  const auto start = Clock::now();
  for (int i = 0;; ++i) {
    if (here()) return;
    sched_yield();
    if (i % yields_per_look != 0) continue;
    if (world_wide_) {  // a message of ours may be what a rank elsewhere waits for, and MPI moves only inside MPI calls
      int flag = 0;
      mpi_check(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_.get(), &flag, MPI_STATUS_IGNORE), "MPI_Iprobe");
    }
    if (Clock::now() - start > patience) {  // whoever is late needs the cores more than we do
      const timespec nap{0, 50'000};
      nanosleep(&nap, nullptr);
      i = -1;
    }
  }
}

char* NodeGroup::staging(int local_rank) const {
  return control_.base[static_cast<std::size_t>(local_rank)] + round_up(sizeof(Header), page_bytes) +
         half_ * half_bytes_;
}

void NodeGroup::publish(std::span<const SharedPlace> places) {
  DSTRAIN_CHECK(places.size() <= static_cast<std::size_t>(max_places), "{} buffers in one exchange", places.size());
  Header& own = *headers_[static_cast<std::size_t>(rank_)];
  for (std::size_t i = 0; i < places.size(); ++i) own.places[half_][i] = places[i];
}

SharedPlace NodeGroup::published(int local_rank, int index) const {
  return headers_[static_cast<std::size_t>(local_rank)]->places[half_][index];
}

void NodeGroup::show_position(RankPosition p) noexcept {
  const std::uint64_t packed = p.sequence << 24 | static_cast<std::uint64_t>(p.label) << 8 |
                               static_cast<std::uint64_t>(p.op) << 1 | (p.inside ? 1U : 0U);
  headers_[static_cast<std::size_t>(rank_)]->position.store(packed, std::memory_order_relaxed);
}

RankPosition NodeGroup::position(int local_rank) const noexcept {
  const std::uint64_t packed = headers_[static_cast<std::size_t>(local_rank)]->position.load(std::memory_order_relaxed);
  return {packed >> 24, static_cast<CommOp>(packed >> 1 & 0x7fU), (packed & 1U) != 0,
          static_cast<std::uint16_t>(packed >> 8)};
}

bool NodeGroup::make_region(std::int64_t bytes, Region& region) {
  // Every rank's part on pages of its own, so that memory lies near the rank that touches it first.
  MPI_Info info = MPI_INFO_NULL;
  mpi_check(MPI_Info_create(&info), "MPI_Info_create");
  MPI_Info_set(info, "alloc_shared_noncontig", "true");
  void* own = nullptr;
  MPI_Win window = MPI_WIN_NULL;
  // One page more than asked: where the parts begin is the library's choice, aligned they are by us.
  const int code =
      MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes + page_bytes), 1, info, comm_.get(), &own, &window);
  MPI_Info_free(&info);
  int good = code == MPI_SUCCESS ? 1 : 0, all_good = 0;
  mpi_check(MPI_Allreduce(&good, &all_good, 1, MPI_INT, MPI_MIN, comm_.get()), "MPI_Allreduce");
  if (all_good == 0) return false;  // a window that some ranks have is left to MPI_Finalize: freeing it is collective
  region.window.reset(window);
  mpi_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, window), "MPI_Win_lock_all");
  region.bytes = bytes;
  const auto aligned = [](void* raw) {
    return reinterpret_cast<char*>(round_up(reinterpret_cast<std::intptr_t>(raw), page_bytes));
  };
  // The same part may be mapped at another offset from a page elsewhere: each owner tells how far in it begins.
  std::int64_t skip = aligned(own) - static_cast<char*>(own);
  std::vector<std::int64_t> skips(static_cast<std::size_t>(size_));
  mpi_check(MPI_Allgather(&skip, 1, MPI_INT64_T, skips.data(), 1, MPI_INT64_T, comm_.get()), "MPI_Allgather");
  for (int r = 0; r < size_; ++r) {
    MPI_Aint length = 0;
    int unit = 0;
    void* base = nullptr;
    mpi_check(MPI_Win_shared_query(window, r, &length, &unit, &base), "MPI_Win_shared_query");
    region.base.push_back(static_cast<char*>(base) + skips[static_cast<std::size_t>(r)]);
  }
  madvise(region.base[static_cast<std::size_t>(rank_)], static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
  return true;
}

void* NodeGroup::allocate(std::int64_t bytes) {
  Region region;
  if (!make_region(bytes, region)) return nullptr;
  regions_.push_back(std::move(region));
  return regions_.back().base[static_cast<std::size_t>(rank_)];
}

void NodeGroup::drop_newest() {
  Region region = std::move(regions_.back());
  regions_.pop_back();
  MPI_Win window = region.window.release();
  mpi_check(MPI_Win_unlock_all(window), "MPI_Win_unlock_all");
  mpi_check(MPI_Win_free(&window), "MPI_Win_free");
}

SharedPlace NodeGroup::locate(const void* data, std::int64_t bytes) const noexcept {
  const auto* begin = static_cast<const char*>(data);
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const char* base = regions_[i].base[static_cast<std::size_t>(rank_)];
    if (begin >= base && begin + bytes <= base + regions_[i].bytes) return {static_cast<std::int32_t>(i), begin - base};
  }
  return {};
}

char* NodeGroup::address(int local_rank, SharedPlace place) const {
  const Region& region = regions_.at(static_cast<std::size_t>(place.region));
  return region.base[static_cast<std::size_t>(local_rank)] + place.offset;
}

void NodeGroup::close() {
  while (!regions_.empty()) drop_newest();
  if (usable_) {
    MPI_Win window = control_.window.release();
    mpi_check(MPI_Win_unlock_all(window), "MPI_Win_unlock_all");
    mpi_check(MPI_Win_free(&window), "MPI_Win_free");
  }
  usable_ = false;
  MPI_Comm comm = comm_.release();
  mpi_check(MPI_Comm_free(&comm), "MPI_Comm_free");
}

}  // namespace dstrain
