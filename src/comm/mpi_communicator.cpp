// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi_communicator.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <thread>

#include "comm/mpi_setup.hpp"
#include "comm/plain_memory.hpp"
#include "comm/shape_checks.hpp"
#include "comm/stop_launcher.hpp"
#include "comm/wait_board.hpp"
#include "comm/wait_notice.hpp"
#include "comm/watchdog.hpp"
#include "core/log.hpp"

namespace dstrain {
namespace {

constexpr int tag_of_transfers = 2;

/// Between a rank's message and the end of the job: mpirun must have read it, and other waiting ranks say where they
/// are.
constexpr auto last_words = std::chrono::milliseconds(200);

template <typename Parts>
std::int64_t bytes_of(const Parts& parts) noexcept {
  std::int64_t bytes = 0;
  for (const auto& part : parts) bytes += part.full.bytes();
  return bytes;
}

/// What a rank adds to that when another one says more than it can.
constexpr auto others_first = std::chrono::milliseconds(1000);

/// FNV-1a, folded to 16 bits: labels that differ almost always differ in it.
std::uint16_t hash_of(const char* label) noexcept {
  std::uint32_t hash = 2166136261U;
  for (; label != nullptr && *label != '\0'; ++label) hash = (hash ^ static_cast<unsigned char>(*label)) * 16777619U;
  return static_cast<std::uint16_t>(hash ^ hash >> 16);
}

bool many_threads_may_call() noexcept {
  int level = MPI_THREAD_SINGLE;
  return MPI_Query_thread(&level) == MPI_SUCCESS && level == MPI_THREAD_MULTIPLE;
}

/// How a rank ends the job.
struct Ending {
  int exit_code = 0;
  std::chrono::milliseconds patience = {};  ///< beyond last_words
  bool host_lost = false;                   ///< a host that the launcher would wait for cannot be reached
};

/// Prints `reason` as the last word of this rank and ends the job.
[[noreturn]] void end_job(std::string_view reason, const Ending& ending) noexcept {
  std::fprintf(stderr, "error: %.*s\n", static_cast<int>(reason.size()), reason.data());
  std::fflush(nullptr);
  std::this_thread::sleep_for(last_words + ending.patience);
  if (ending.host_lost) stop_launcher();
  int finalized = 0;
  MPI_Finalized(&finalized);
  // The caller may be the watchdog while another thread is inside MPI. Where that is not allowed, dying is enough: the
  // launcher ends the others.
  if (finalized == 0 && many_threads_may_call()) MPI_Abort(MPI_COMM_WORLD, ending.exit_code);
  std::_Exit(ending.exit_code);
}

}  // namespace

struct MpiCommunicator::Impl {
  explicit Impl(const MpiOptions& options)
      : transport(make_transport(MPI_COMM_WORLD, options)), visible(transport.node.get()) {
    if (many_threads_may_call()) board.emplace(transport.comm.get(), recorder);
  }

  Transport transport;
  FlightRecorder recorder;
  std::atomic<NodeGroup*> visible;  ///< the node as the watchdog may look at it; null from close() on
  std::uint64_t collectives = 0;
  struct Mapping {
    void* base;
    std::int64_t bytes;
  };
  std::vector<Mapping> plain;
  std::optional<WaitBoard> board;    ///< none where MPI takes one thread at a time
  std::optional<WaitNotice> notice;  ///< the watchdog's alone
  std::optional<Watchdog> watchdog;  // last: it reads the rest

  void require_open() const {
    if (!transport.comm) throw CommError("a collective was called after close()");
  }
  [[nodiscard]] std::string late_neighbours() const;
};

namespace {

/// The ranks of this node that are not in the collective that this rank is in: they are what it waits for.
std::string describe_late(const NodeGroup& node, const std::vector<int>& ranks) {
  constexpr int most = 16;
  const RankPosition here = node.position(node.rank());
  if (!here.inside) return "";
  std::string text;
  int late = 0;
  for (int local = 0; local < node.size(); ++local) {
    const RankPosition there = node.position(local);
    if (there.sequence > here.sequence || (there.sequence == here.sequence && there.inside)) continue;
    if (++late > most) continue;
    const int rank = ranks[static_cast<std::size_t>(local)];
    text += fmt::format("; rank {} {} {} #{}", rank, there.inside ? "is in" : "came no further than", name_of(there.op),
                        there.sequence);
  }
  return late > most ? fmt::format("{}; and {} more", text, late - most) : text;
}

}  // namespace

std::string MpiCommunicator::Impl::late_neighbours() const {
  const NodeGroup* node = visible.load();
  return node == nullptr ? "" : describe_late(*node, transport.map.members(transport.map.node(transport.rank)));
}

/// A collective from its begin to its end, for the recorder and for the neighbours.
class MpiCommunicator::Collective {
 public:
  Collective(Impl& impl, CommOp op, const char* label, std::int64_t bytes)
      : impl_(impl), call_(impl.recorder, op, label, bytes), position_{++impl.collectives, op, true, hash_of(label)} {
    show();
  }
  Collective(const Collective&) = delete;
  Collective& operator=(const Collective&) = delete;
  ~Collective() {
    position_.inside = false;
    show();
  }

 private:
  void show() noexcept {
    if (NodeGroup* node = impl_.visible.load(std::memory_order_relaxed)) node->show_position(position_);
  }
  Impl& impl_;
  FlightRecorder::Call call_;
  RankPosition position_;
};

MpiCommunicator::MpiCommunicator(const MpiOptions& options) : impl_(std::make_unique<Impl>(options)) {
  set_timeout(options.timeout_s);
}

MpiCommunicator::~MpiCommunicator() {
  for (const auto& mapping : impl_->plain) unmap_plain_memory(mapping.base, mapping.bytes);
}

const FlightRecorder& MpiCommunicator::recorder() const noexcept { return impl_->recorder; }
bool MpiCommunicator::uses_shared_windows() const noexcept { return impl_->transport.node != nullptr; }
int MpiCommunicator::node_count() const noexcept { return impl_->transport.map.node_count(); }
std::int64_t MpiCommunicator::fixed_bytes() const noexcept {
  const Transport& t = impl_->transport;
  return (t.node != nullptr ? t.node->control_bytes() : 0) + (t.one_node() ? 0 : Scratch::halves * t.half_bytes);
}
int MpiCommunicator::rank() const noexcept { return impl_->transport.rank; }
int MpiCommunicator::size() const noexcept { return impl_->transport.size; }

void MpiCommunicator::reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level, Stream,
                                     const char* label) {
  impl_->require_open();
  check_reduce_scatter(parts, contributors, rank(), size(), label);
  const Collective call(*impl_, CommOp::reduce_scatter, label, bytes_of(parts));
  dstrain::reduce_scatter(impl_->transport, parts, contributors, two_level);
}

void MpiCommunicator::all_gather(std::span<const AllGatherPart> parts, Stream, const char* label) {
  impl_->require_open();
  check_all_gather(parts, size(), label);
  const Collective call(*impl_, CommOp::all_gather, label, bytes_of(parts));
  dstrain::all_gather(impl_->transport, parts);
}

void MpiCommunicator::all_reduce(View values, ReduceOp op, Stream, const char* label) {
  impl_->require_open();
  check_all_reduce(values, label);
  const Collective call(*impl_, CommOp::all_reduce, label, values.bytes());
  dstrain::all_reduce(impl_->transport, values, op);
}

void MpiCommunicator::broadcast(View values, int root, Stream, const char* label) {
  impl_->require_open();
  check_peer(values, root, size(), label);
  const Collective call(*impl_, CommOp::broadcast, label, values.bytes());
  dstrain::broadcast(impl_->transport, values, root);
}

void MpiCommunicator::barrier(const char* label) {
  impl_->require_open();
  const Collective call(*impl_, CommOp::barrier, label, 0);
  Transport& t = impl_->transport;
  if (t.one_node()) {
    t.node->barrier();
  } else {
    mpi_check(MPI_Barrier(t.comm.get()), "MPI_Barrier");
  }
}

void MpiCommunicator::send(ConstView values, int to, const char* label) {
  impl_->require_open();
  check_peer(values, to, size(), label);
  const FlightRecorder::Call call(impl_->recorder, CommOp::send, label, values.bytes(), to);
  for (std::int64_t begin = 0; begin < values.bytes(); begin += largest_message) {
    const auto n = static_cast<int>(std::min(largest_message, values.bytes() - begin));
    mpi_check(MPI_Send(values.as<char>() + begin, n, MPI_BYTE, to, tag_of_transfers, impl_->transport.comm.get()),
              "MPI_Send");
  }
}

void MpiCommunicator::recv(View values, int from, const char* label) {
  impl_->require_open();
  check_peer(values, from, size(), label);
  const FlightRecorder::Call call(impl_->recorder, CommOp::recv, label, values.bytes(), from);
  for (std::int64_t begin = 0; begin < values.bytes(); begin += largest_message) {
    const auto n = static_cast<int>(std::min(largest_message, values.bytes() - begin));
    MPI_Status status;
    mpi_check(
        MPI_Recv(values.as<char>() + begin, n, MPI_BYTE, from, tag_of_transfers, impl_->transport.comm.get(), &status),
        "MPI_Recv");
    int received = 0;
    MPI_Get_count(&status, MPI_BYTE, &received);
    if (received != n)
      throw CommError(fmt::format("recv \"{}\": rank {} sent {} of {} bytes", label, from, received, n));
  }
}

void* MpiCommunicator::allocate_registered(std::int64_t bytes) {
  impl_->require_open();
  if (bytes < 0) throw ShapeError(fmt::format("a registered buffer of {} bytes was asked for", bytes));
  const Collective call(*impl_, CommOp::allocate, "", bytes);
  Transport& t = impl_->transport;
  if (bytes == 0) return nullptr;
  if (t.node != nullptr && shared_memory_suffices(t, t.local_size(), bytes)) {
    void* base = t.node->allocate(bytes);
    int good = base != nullptr ? 1 : 0, all_good = 0;
    mpi_check(MPI_Allreduce(&good, &all_good, 1, MPI_INT, MPI_MIN, t.comm.get()), "MPI_Allreduce");
    if (all_good != 0) return base;
    if (base != nullptr) t.node->drop_newest();
  }
  void* base = map_plain_memory(bytes);
  impl_->plain.push_back({base, bytes});
  return base;
}

void MpiCommunicator::set_timeout(double seconds) {
  impl_->watchdog.reset();
  impl_->notice.reset();
  if (!(seconds > 0)) return;
  Impl& impl = *impl_;
  WatchdogHooks hooks;
  if (impl.board) {
    impl.notice.emplace(*impl.board, WaitTiming::of(seconds));
    hooks.look = [&impl] { impl.board->serve(); };
    hooks.waiting = [&impl](const FlightEntry& entry, double age_s) {
      const std::string text = impl.notice->look(entry, age_s);
      if (!text.empty()) std::fprintf(stderr, "warning: %s\n", text.c_str());
    };
  }
  hooks.timeout = [&impl](const std::string& where, const FlightEntry& entry) {
    Ending ending{.exit_code = static_cast<int>(ExitCode::failed)};
    std::string others;
    if (!impl.notice) {
      others = impl.late_neighbours();
    } else if (impl.notice->silent()) {
      ending.patience = others_first;
    } else {
      others = impl.notice->others(entry);
      ending.host_lost = impl.notice->host_lost();
    }
    end_job(fmt::format("rank {} {}{}", log::tag(), where, others), ending);
  };
  impl.watchdog.emplace(impl.recorder, seconds, std::move(hooks));
}

void MpiCommunicator::close() {
  impl_->require_open();
  Transport& t = impl_->transport;
  {
    const FlightRecorder::Call call(impl_->recorder, CommOp::close, "", 0);
    impl_->visible.store(nullptr);
    if (t.node != nullptr) t.node->close();
    t.node.reset();
    mpi_check(MPI_Barrier(t.comm.get()), "MPI_Barrier");  // the last that a rank may have to wait for
  }
  impl_->watchdog.reset();
  if (impl_->board) impl_->board->close();
  impl_->board.reset();
  MPI_Comm comm = t.comm.release();
  mpi_check(MPI_Comm_free(&comm), "MPI_Comm_free");
}

void MpiCommunicator::abort(std::string_view reason, int exit_code) noexcept {
  end_job(reason, {.exit_code = exit_code});
}

}  // namespace dstrain
