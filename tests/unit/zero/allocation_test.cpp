// SPDX-License-Identifier: Apache-2.0
/// A micro step takes no memory: everything was in the plan.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "unit/zero/fake_model.hpp"
#include "unit/zero/spy_communicator.hpp"

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t bytes) noexcept {
  ++allocations;
  return std::malloc(bytes == 0 ? 1 : bytes);
}

}  // namespace

// Counts what the process allocates. All forms that standard containers use, so that new and delete stay a pair.
// Not inlined: where only one of a pair is, GCC 12 takes them for a mismatch.
void* operator new(std::size_t bytes) {
  void* p = counted(bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void* operator new[](std::size_t bytes) { return operator new(bytes); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return counted(bytes); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return counted(bytes); }
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }

namespace dstrain::test::allocation_test {
namespace {

TEST(ZeroStore, AllocatesNothingInAMicroStep) {
  const FakeShape shape;
  const ModelLayout layout = fake_layout(shape);
  const GradientRule rule = exact_gradient;
  for (const bool reproducible : {false, true}) {
    for (int stage = 0; stage <= 3; ++stage) {
      SpyCommunicator comm(0, 3);
      const StoreUnderTest store =
          make_store(layout, {.stage = stage, .reproducible = reproducible, .reduce_bucket_size = 3'000}, comm);
      comm.accumulate.reserve(64);
      const std::int64_t before = allocations;

      store->begin_step();
      for (int m = 0; m < 3; ++m) {
        store->begin_micro_step(3, m == 2);
        run_micro_step(*store.store, layout, shape.tied, rule, m);
      }
      (void)store->reduce_gradients();

      EXPECT_EQ(allocations, before) << "stage " << stage << (reproducible ? ", reproducible" : "");
    }
  }
}

TEST(Allocations, AreCounted) {
  const std::int64_t before = allocations;

  const auto memory = std::make_unique<std::vector<int>>(1'000);

  EXPECT_EQ(allocations, before + 2) << memory->size();
}

}  // namespace
}  // namespace dstrain::test::allocation_test
