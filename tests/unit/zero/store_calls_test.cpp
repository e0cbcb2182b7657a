// SPDX-License-Identifier: Apache-2.0
/// Calls that the store refuses, and the rooms it fetches units into.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "comm/local_communicator.hpp"
#include "core/error.hpp"
#include "unit/zero/fake_model.hpp"
#include "unit/zero/spy_communicator.hpp"

namespace dstrain::test::store_calls_test {
namespace {

TEST(ZeroStoreCalls, NamesWrongOrdersOfCalls) {
  const FakeShape shape;
  const ModelLayout layout = fake_layout(shape);
  for (const int stage : {0, 3}) {
    SpyCommunicator comm(0, 2);
    const StoreUnderTest store = make_store(layout, {.stage = stage}, comm);
    ZeroStore& s = *store.store;

    EXPECT_THROW(s.release(1, host_stream), Error);
    EXPECT_THROW((void)s.acquire(-1, host_stream), Error);
    EXPECT_THROW((void)s.acquire(layout.unit_count(), host_stream), Error);
    EXPECT_THROW((void)s.gradient(1, host_stream), Error);  // outside a micro step
    EXPECT_THROW((void)s.reduce_gradients(), Error);
    s.begin_step();
    EXPECT_THROW(s.begin_micro_step(0, true), Error);
    EXPECT_THROW(s.begin_micro_step(3, true), Error);
    s.begin_micro_step(2, true);
    EXPECT_THROW(s.gradient_ready(1, host_stream), Error);  // not opened
    (void)s.gradient(1, host_stream);
    EXPECT_THROW((void)s.reduce_gradients(), Error);  // still open
    s.gradient_ready(1, host_stream);
    EXPECT_THROW((void)s.gradient(1, host_stream), Error);  // handed in already
    (void)s.acquire(1, host_stream);
    (void)s.reduce_gradients();
    EXPECT_THROW(s.optimizer_step(adamw_parameters(1, 1.0), alternating_decay(layout)), Error);  // held
    s.release(1, host_stream);
    EXPECT_THROW(s.optimizer_step(adamw_parameters(1, 1.0), {}), Error);
    EXPECT_NO_THROW(s.optimizer_step(adamw_parameters(1, 1.0), alternating_decay(layout)));
  }
}

TEST(ZeroStoreCalls, RefusesToHoldMoreUnitsThanThePlanHasRoomFor) {
  const ModelLayout layout = fake_layout({});
  SpyCommunicator comm(0, 2);
  const StoreUnderTest store = make_store(layout, {.stage = 3}, comm);

  (void)store->acquire(1, host_stream);
  (void)store->acquire(2, host_stream);

  EXPECT_THROW((void)store->acquire(3, host_stream), Error);
  store->release(1, host_stream);
  EXPECT_NO_THROW((void)store->acquire(3, host_stream));
}

TEST(ZeroStoreCalls, GivesARoomThatWasFetchedInVainToWhoNeedsIt) {
  const ModelLayout layout = fake_layout({});
  SpyCommunicator comm(0, 2);
  const StoreUnderTest store = make_store(layout, {.stage = 3}, comm);

  store->prefetch(1, host_stream);
  store->prefetch(2, host_stream);
  store->prefetch(3, host_stream);  // no room: only a hint

  EXPECT_EQ(comm.count(CommOp::all_gather).calls, 2);
  EXPECT_NO_THROW((void)store->acquire(3, host_stream));
  EXPECT_EQ(comm.count(CommOp::all_gather).calls, 3);
}

TEST(ZeroStoreCalls, GathersAgainWhatWasFetchedBeforeTheWeightsChanged) {
  const ModelLayout layout = fake_layout({});
  SpyCommunicator comm(0, 2);
  const StoreUnderTest store = make_store(layout, {.stage = 3}, comm);
  store->prefetch(1, host_stream);

  store->weights_changed();
  (void)store->acquire(1, host_stream);

  EXPECT_EQ(comm.count(CommOp::all_gather).calls, 2);
}

TEST(ZeroStoreCalls, PoisonsReleasedWeightsWhenChecked) {
#ifdef DSTRAIN_CHECKED
  const ModelLayout layout = fake_layout({});
  for (const DType compute : {DType::f32, DType::bf16}) {
    SpyCommunicator comm(0, 2);
    const StoreUnderTest store = make_store(layout, {.stage = 3, .compute = compute}, comm);

    const ConstData weights = store->acquire(1, host_stream).parts[0];
    store->release(1, host_stream);

    for (std::int64_t i = 0; i < layout.units[1].parts[0].count; ++i) {
      ASSERT_TRUE(
          std::isnan(compute == DType::f32 ? weights.as<float>()[i] : static_cast<float>(weights.as<bfloat16>()[i])));
    }
  }
#else
  GTEST_SKIP() << "only in the checked preset";
#endif
}

TEST(ZeroStoreCalls, RefusesTrainingWithoutItsBuffers) {
  const ModelLayout layout = fake_layout({});
  LocalCommunicator comm;
  const StoreUnderTest weights = make_store(layout, {.train = false}, comm);
  const StoreUnderTest gradients = make_store(layout, {.optimizer = false}, comm);

  EXPECT_THROW(weights->begin_step(), Error);
  EXPECT_THROW((void)weights->reduce_gradients(), Error);
  gradients->begin_step();
  EXPECT_THROW(gradients->optimizer_step(adamw_parameters(1, 1.0), alternating_decay(layout)), Error);
}

TEST(ZeroStoreCalls, RefusesAPlanMadeForSomethingElse) {
  const ModelLayout layout = fake_layout({});
  LocalCommunicator comm;
  const StoreUnderTest one = make_store(layout, {.stage = 2}, comm);
  SpyCommunicator two(0, 2);

  EXPECT_THROW((void)make_zero_store(layout, {.stage = 2}, two, *one.arena, one.buffers, Device{}), Error);
  EXPECT_THROW((void)make_zero_store(layout, {.stage = 1}, comm, *one.arena, one.buffers, Device{}), Error);
}

}  // namespace
}  // namespace dstrain::test::store_calls_test
