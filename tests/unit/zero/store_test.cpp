// SPDX-License-Identifier: Apache-2.0
/// The store's promises that need one rank only: flags, versions, decay.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "comm/local_communicator.hpp"
#include "core/error.hpp"
#include "unit/zero/fake_model.hpp"
#include "unit/zero/spy_communicator.hpp"

namespace dstrain::test::store_test {
namespace {

TEST(ZeroStore, AsksForWritingFirstAndForAddingLater) {
  const ModelLayout layout = fake_layout({});
  LocalCommunicator comm;
  const StoreUnderTest store = make_store(layout, {.stage = 1}, comm);

  for (int step = 0; step < 2; ++step) {
    store->begin_step();
    store->begin_micro_step(1, false);
    EXPECT_FALSE(store->gradient(0, host_stream).accumulate);
    EXPECT_TRUE(store->gradient(0, host_stream).accumulate);  // a tied matrix
    store->gradient_ready(0, host_stream);
    store->begin_micro_step(1, true);
    EXPECT_TRUE(store->gradient(0, host_stream).accumulate);
    store->gradient_ready(0, host_stream);
    (void)store->reduce_gradients();
  }
}

TEST(ZeroStore, NeverSumsSlotsInsideAKernelWhenReproducible) {
  const ModelLayout layout = fake_layout({});
  LocalCommunicator comm;
  for (int stage = 0; stage <= 3; ++stage) {
    const StoreUnderTest store = make_store(layout, {.stage = stage, .reproducible = true}, comm);
    store->begin_step();
    for (int m = 0; m < 3; ++m) {
      store->begin_micro_step(1, m == 2);
      EXPECT_FALSE(store->gradient(1, host_stream).accumulate);
      store->gradient_ready(1, host_stream);
    }
  }
}

// Such a rank's row still holds the step before: adding to it would bring that back.
TEST(ZeroStore, AsksARankForWritingUntilItHadASlot) {
  const ModelLayout layout = fake_layout({});
  SpyCommunicator comm(1, 2);
  const StoreUnderTest store = make_store(layout, {.stage = 1}, comm);

  store->begin_step();
  store->begin_micro_step(1, false);  // rank 0 only
  (void)store->gradient(1, host_stream);
  store->gradient_ready(1, host_stream);
  store->begin_micro_step(2, true);

  EXPECT_FALSE(store->gradient(1, host_stream).accumulate);
}

TEST(ZeroStore, SumsTheMicroStepsOfAStepAndForgetsThemAtTheNext) {
  const FakeShape shape;
  const ModelLayout layout = fake_layout(shape);
  LocalCommunicator comm;
  for (const bool reproducible : {false, true}) {
    for (int stage = 0; stage <= 3; ++stage) {
      const StoreUnderTest store = make_store(layout, {.stage = stage, .reproducible = reproducible}, comm);
      fill_weights(*store.store);
      for (int step = 0; step < 2; ++step) {
        store->begin_step();
        for (int m = 0; m < 3; ++m) {
          store->begin_micro_step(1, m == 2);
          run_micro_step(*store.store, layout, shape.tied, exact_gradient, 10 * step + m);
        }
        const double norm = store->reduce_gradients();

        double squares = 0.0;
        for (const OwnedSlice& slice : store->owned()) {
          const bool first_unit = layout.tensors[static_cast<std::size_t>(slice.tensor)].unit == 0;
          for (std::int64_t i = 0; i < slice.count; ++i) {
            float expected = 0.0F;
            for (int m = 0; m < 3; ++m) {
              for (int site = 0; site <= (first_unit ? 1 : 0); ++site) {
                expected += exact_gradient(10 * step + m, site, slice.tensor, slice.begin + i, 0.0F);
              }
            }
            ASSERT_EQ(slice.gradient[i], expected);
            squares += static_cast<double>(expected) * expected;
          }
        }
        EXPECT_EQ(norm, std::sqrt(squares));  // whole numbers: exact in f64
      }
    }
  }
}

// The sums of the step before must not stand in for those that nobody made.
TEST(ZeroStore, CountsAUnitWithoutGradientAsZero) {
  const ModelLayout layout = fake_layout({});
  LocalCommunicator comm;
  for (const bool reproducible : {false, true}) {
    const StoreUnderTest store = make_store(layout, {.reproducible = reproducible}, comm);
    for (const int unit : {1, 2}) {
      store->begin_step();
      store->begin_micro_step(1, true);
      const UnitGradient gradient = store->gradient(unit, host_stream);
      for (const std::int32_t t : layout.units[static_cast<std::size_t>(unit)].tensors) {
        const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(t)];
        std::fill_n(gradient.of(tensor), tensor.count, 2.0F);
      }
      store->gradient_ready(unit, host_stream);
      (void)store->reduce_gradients();

      for (const OwnedSlice& slice : store->owned()) {
        const float expected = layout.tensors[static_cast<std::size_t>(slice.tensor)].unit == unit ? 2.0F : 0.0F;
        for (std::int64_t i = 0; i < slice.count; ++i) ASSERT_EQ(slice.gradient[i], expected);
      }
    }
  }
}

TEST(ZeroStore, DecaysTheChosenTensorsOnly) {
  const FakeShape shape;
  const ModelLayout layout = fake_layout(shape);
  LocalCommunicator comm;
  const StoreUnderTest store = make_store(layout, {.stage = 2}, comm);
  fill_weights(*store.store);
  store->begin_step();
  store->begin_micro_step(1, true);
  run_micro_step(
      *store.store, layout, shape.tied, [](auto...) { return 0.0F; }, 0);
  const double norm = store->reduce_gradients();
  const StepParameters p = adamw_parameters(1, norm);

  store->optimizer_step(p, alternating_decay(layout));

  EXPECT_EQ(norm, 0.0);
  for (const OwnedSlice& slice : store->owned()) {
    for (std::int64_t i = 0; i < slice.count; ++i) {
      const float before = initial_weight(slice.tensor, slice.begin + i);
      if (slice.tensor % 2 == 0) {
        ASSERT_NEAR(slice.master[i], before * (1.0 - p.lr * 0.1), 1e-7);
        ASSERT_TRUE(before == 0.0F || slice.master[i] != before);
      } else {
        ASSERT_EQ(slice.master[i], before);
      }
    }
  }
}

// The first AdamW step without decay moves every weight by the rate, whatever the size of its gradient.
TEST(ZeroStore, TakesTheLearningRateOfEachTensor) {
  const FakeShape shape;
  const ModelLayout layout = fake_layout(shape);
  LocalCommunicator comm;
  const StoreUnderTest store = make_store(layout, {.stage = 1}, comm);
  fill_weights(*store.store);
  store->begin_step();
  store->begin_micro_step(1, true);
  run_micro_step(
      *store.store, layout, shape.tied, [](auto...) { return 3.0F; }, 0);
  (void)store->reduce_gradients();
  const StepParameters p = adamw_parameters(1, 1.0);
  std::vector<TensorRates> rates(layout.tensors.size());
  for (std::size_t t = 0; t < rates.size(); ++t) rates[t].lr_factor = static_cast<double>(t % 3);

  store->optimizer_step(p, rates);

  for (const OwnedSlice& slice : store->owned()) {
    for (std::int64_t i = 0; i < slice.count; ++i) {
      const float before = initial_weight(slice.tensor, slice.begin + i);
      ASSERT_NEAR(before - slice.master[i], p.lr * (slice.tensor % 3), 1e-6);
    }
  }
}

TEST(ZeroStore, LeavesFrozenWeightsAlone) {
  const FakeShape shape{.frozen = true};
  const ModelLayout layout = fake_layout(shape);
  LocalCommunicator comm;
  const StoreUnderTest store = make_store(layout, {.compute = DType::bf16}, comm);
  fill_weights(*store.store);

  (void)train(*store.store, layout, shape, exact_gradient, comm, 2, 2);

  for (const OwnedSlice& slice : store->owned()) {
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(slice.tensor)];
    if (tensor.part != PartKind::frozen) continue;
    const UnitWeights weights = store->acquire(tensor.unit, host_stream);
    for (std::int64_t i = 0; i < slice.count; ++i) {
      ASSERT_EQ(slice.master, nullptr) << "frozen weights are kept in their own dtype alone";
      ASSERT_EQ(weights.of(tensor).as<bfloat16>()[i].bits, bfloat16(initial_weight(slice.tensor, i)).bits);
    }
    store->release(tensor.unit, host_stream);
  }
}

TEST(ZeroStore, CountsAVersionUpWhenWeightsChange) {
  const FakeShape shape;
  const ModelLayout layout = fake_layout(shape);
  LocalCommunicator comm;
  const StoreUnderTest store = make_store(layout, {}, comm);
  const auto version = [&] {
    const std::uint64_t v = store->acquire(1, host_stream).version;
    store->release(1, host_stream);
    return v;
  };
  const std::uint64_t at_start = version();

  store->weights_changed();
  const std::uint64_t after_load = version();
  (void)train(*store.store, layout, shape, exact_gradient, comm, 1, 1);

  EXPECT_NE(after_load, at_start);
  EXPECT_NE(version(), after_load);
  EXPECT_EQ(version(), version());
}

TEST(ZeroStore, GivesNoPointersToWhatAUnitHasNot) {
  const ModelLayout layout = fake_layout({});
  LocalCommunicator comm;
  const StoreUnderTest store = make_store(layout, {.train = false}, comm);

  const UnitWeights weights = store->acquire(1, host_stream);

  EXPECT_NE(weights.parts[0].data, nullptr);
  EXPECT_EQ(weights.parts[1].data, nullptr);
}

}  // namespace
}  // namespace dstrain::test::store_test
