// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/emulation/simt.hpp"

#include <sys/mman.h>

#include <memory>
#include <vector>

#include "core/error.hpp"

#if !defined(__x86_64__)
#error "the emulation of GPU threads switches stacks of x86-64"
#endif

// Saves what a call must keep, changes the stack, and goes on where that stack was left.
extern "C" void dstrain_switch_stack(void** save, void* next);
asm(R"(
.text
.globl dstrain_switch_stack
.type dstrain_switch_stack, @function
dstrain_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size dstrain_switch_stack, .-dstrain_switch_stack
)");

namespace dstrain::simt {

Place place;

namespace {

constexpr std::size_t stack_bytes = 128 << 10;
constexpr int most_threads = 1024;
constexpr int warp_size = 32;

/// Threads wait until all that still run have come.
struct Barrier {
  int running = 0;
  int waiting = 0;
  std::uint64_t generation = 0;

  void open() {
    waiting = 0;
    ++generation;
  }
  void leave() {
    --running;
    if (running > 0 && waiting == running) open();
  }
};

struct Fiber {
  void* saved = nullptr;
  const Barrier* waits_at = nullptr;  ///< null: it runs
  std::uint64_t generation = 0;       ///< of that barrier when it came
  bool done = false;
  bool odd = false;  ///< which of its two slots the next exchange takes

  [[nodiscard]] bool ready() const { return !done && (waits_at == nullptr || waits_at->generation != generation); }
};

struct Machine {
  std::vector<char*> stacks;
  std::vector<Fiber> fibers = std::vector<Fiber>(most_threads);
  // Two a thread: nobody comes to the exchange after the next before all have read this one.
  std::vector<std::uint64_t> slots[2] = {std::vector<std::uint64_t>(most_threads),
                                         std::vector<std::uint64_t>(most_threads)};
  Barrier block;
  std::vector<Barrier> warps = std::vector<Barrier>(most_threads / warp_size);
  std::vector<char> shared;
  void* scheduler = nullptr;
  int threads = 0;
  int current = 0;
  int direction = 1;
  void (*body)(const void*) = nullptr;
  const void* argument = nullptr;

  char* stack(int thread) {
    while (static_cast<int>(stacks.size()) <= thread) {
      void* memory = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      DSTRAIN_CHECK(memory != MAP_FAILED, "no memory for the stack of an emulated thread");
      stacks.push_back(static_cast<char*>(memory));
    }
    return stacks[static_cast<std::size_t>(thread)];
  }
  Fiber& fiber(int thread) { return fibers[static_cast<std::size_t>(thread)]; }
  Fiber& me() { return fiber(current); }
  Barrier& warp() { return warps[static_cast<std::size_t>(current / warp_size)]; }
};
Machine machine;

/// The next thread that can go on, in an order that turns round at both ends; none: -1.
int next_ready() {
  Machine& m = machine;
  int thread = m.current;
  for (int ends = 0; ends < 3;) {  // twice across the block sees every thread
    thread += m.direction;
    if (thread < 0 || thread >= m.threads) {
      m.direction = -m.direction;
      ++ends;
    } else if (m.fiber(thread).ready()) {
      return thread;
    }
  }
  return -1;
}

/// Goes on as thread `next`; comes back when that thread's turn is over.
void switch_to(int next, void** save) {
  Machine& m = machine;
  m.current = next;
  place.thread = {static_cast<unsigned>(next), 0, 0};
  dstrain_switch_stack(save, m.me().saved);
}

/// The turn goes to a thread that can use it; where none can, to run_block().
void pass_on() {
  Machine& m = machine;
  void** save = &m.me().saved;
  const int next = next_ready();
  if (next >= 0) {
    switch_to(next, save);
  } else {
    dstrain_switch_stack(save, m.scheduler);
  }
}

void wait_at(Barrier& barrier) {
  Machine& m = machine;
  Fiber& me = m.me();
  if (++barrier.waiting == barrier.running) {
    barrier.open();
    return;
  }
  me.waits_at = &barrier;
  me.generation = barrier.generation;
  pass_on();
  me.waits_at = nullptr;
}

/// Where a fiber begins. A kernel throws nothing; it may not return into a stack that has no caller.
void run_fiber() {
  Machine& m = machine;
  m.body(m.argument);
  Fiber& me = m.me();
  me.done = true;
  m.block.leave();
  m.warp().leave();
  pass_on();
}

void start(int thread) {
  Machine& m = machine;
  // Stacks begin at different lines of a page: at the same one all would share a few lines of every cache.
  const std::size_t offset = static_cast<std::size_t>(thread % 61) * 192;
  auto* top = reinterpret_cast<void**>(m.stack(thread) + stack_bytes - offset);
  *--top = nullptr;  // run_fiber's return address: never used; also what the calling convention's alignment asks for
  *--top = reinterpret_cast<void*>(run_fiber);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  m.fiber(thread) = {.saved = top};
}

void run_block(int threads) {
  Machine& m = machine;
  m.threads = threads;
  m.block = {.running = threads};
  for (int w = 0; w * warp_size < threads; ++w) m.warps[static_cast<std::size_t>(w)] = {.running = warp_size};
  for (int t = 0; t < threads; ++t) start(t);
  m.direction = 1;
  switch_to(0, &m.scheduler);
  DSTRAIN_CHECK(m.block.running == 0, "{} threads of an emulated block wait for others that wait elsewhere",
                m.block.running);
}

}  // namespace

namespace {
std::int64_t grids = 0;
}  // namespace

std::int64_t grids_run() noexcept { return grids; }

void run_grid(std::int64_t x, std::int64_t y, std::int64_t z, int threads, std::int64_t shared_bytes,
              void (*body)(const void*), const void* argument) {
  DSTRAIN_CHECK(threads > 0 && threads <= most_threads && threads % warp_size == 0, "a block of {} threads", threads);
  DSTRAIN_CHECK(shared_bytes <= 227 << 10, "{} bytes of shared memory", shared_bytes);
  ++grids;
  Machine& m = machine;
  m.body = body;
  m.argument = argument;
  // Not zeroed between blocks: a GPU's is not either. 0xff makes NaN of what is read before it is written.
  m.shared.assign(static_cast<std::size_t>(shared_bytes) + 128, static_cast<char>(0xff));
  place.block_size = {static_cast<unsigned>(threads), 1, 1};
  place.grid_size = {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
  for (std::int64_t bz = 0; bz < z; ++bz) {
    for (std::int64_t by = 0; by < y; ++by) {
      for (std::int64_t bx = 0; bx < x; ++bx) {
        place.block = {static_cast<unsigned>(bx), static_cast<unsigned>(by), static_cast<unsigned>(bz)};
        run_block(threads);
      }
    }
  }
}

void sync_threads() { wait_at(machine.block); }
void sync_warp() { wait_at(machine.warp()); }

char* dynamic_shared() {
  const auto at = reinterpret_cast<std::uintptr_t>(machine.shared.data());
  return reinterpret_cast<char*>((at + 127) / 128 * 128);
}

std::uint64_t exchange(std::uint64_t bits, int mask) {
  Machine& m = machine;
  const int me = m.current;
  auto& slots = m.slots[m.me().odd ? 1 : 0];
  m.me().odd = !m.me().odd;
  slots[static_cast<std::size_t>(me)] = bits;
  wait_at(m.warp());
  return slots[static_cast<std::size_t>(me ^ mask)];
}

}  // namespace dstrain::simt
