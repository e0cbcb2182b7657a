// SPDX-License-Identifier: Apache-2.0
/// The central property of ZeRO: every stage on P ranks is stage 0 on one rank.
#include <gtest/gtest.h>
#include <mpi.h>

#include <bit>

#include "comm/local_communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/memory_plan.hpp"
#include "unit/zero/fake_model.hpp"

namespace dstrain::test::stages_test {
namespace {

constexpr int steps = 3;
const Stream stream;

int world_size() {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

/// Masters, moments and the last gradient of every element, as one rank keeps them.
struct Reference {
  std::vector<std::vector<float>> master, exp_avg, exp_avg_sq, gradient;
  std::vector<double> norms;
};

Reference train_on_one_rank(const FakeShape& shape, ZeroOptions options, const GradientRule& rule, std::int64_t slots) {
  const ModelLayout layout = fake_layout(shape);
  LocalCommunicator comm;
  options.stage = 0;
  const StoreUnderTest store = make_store(layout, options, comm);
  fill_weights(*store.store);
  Reference r;
  r.norms = train(*store.store, layout, shape, rule, comm, steps, slots);
  for (const OwnedSlice& slice : store->owned()) {
    const auto copy = [&](const float* from) { return std::vector<float>(from, from + slice.count); };
    r.master.push_back(copy(slice.master));
    r.exp_avg.push_back(copy(slice.state("exp_avg")));
    r.exp_avg_sq.push_back(copy(slice.state("exp_avg_sq")));
    r.gradient.push_back(copy(slice.gradient));
  }
  return r;
}

void expect_same_bits(const float* got, const std::vector<float>& expected, const OwnedSlice& slice, const char* what) {
  for (std::int64_t i = 0; i < slice.count; ++i) {
    const float wanted = expected[static_cast<std::size_t>(slice.begin + i)];
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(wanted))
        << what << " of tensor " << slice.tensor << ", element " << slice.begin + i << ": " << got[i] << ", not "
        << wanted;
  }
}

/// What acquire() hands out is every rank's new slices, rounded; gaps are zeros.
void expect_weights(ZeroStore& store, const ModelLayout& layout, const Reference& reference) {
  for (int u = 0; u < layout.unit_count(); ++u) {
    const UnitWeights weights = store.acquire(u, stream);
    std::int64_t covered = 0;
    const auto value = [&](std::int64_t at) {
      const ConstData data = weights.parts[0];
      return data.dtype == DType::f32 ? data.as<float>()[at] : static_cast<float>(data.as<bfloat16>()[at]);
    };
    for (const std::int32_t index : layout.units[static_cast<std::size_t>(u)].tensors) {
      const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
      for (; covered < tensor.offset; ++covered)
        ASSERT_EQ(value(covered), 0.0F) << "gap at " << covered << " of unit " << u;
      for (std::int64_t i = 0; i < tensor.count; ++i, ++covered) {
        const float master = reference.master[static_cast<std::size_t>(index)][static_cast<std::size_t>(i)];
        const bool f32 = weights.parts[0].dtype == DType::f32;
        ASSERT_EQ(value(covered), f32 ? master : static_cast<float>(bfloat16(master)))
            << tensor.name << ", element " << i;
      }
    }
    for (; covered < layout.units[static_cast<std::size_t>(u)].parts[0].padded(); ++covered)
      ASSERT_EQ(value(covered), 0.0F);
    store.release(u, stream);
  }
}

void expect_equal_to_one_rank(const FakeShape& shape, const ZeroOptions& options, const GradientRule& rule,
                              std::int64_t slots, const Reference& reference, Communicator& comm) {
  SCOPED_TRACE(testing::Message() << "stage " << options.stage << ", " << slots << " slots, bucket "
                                  << options.reduce_bucket_size
                                  << (options.compute == DType::bf16 ? ", bf16" : ", f32"));
  const ModelLayout layout = fake_layout(shape);
  const StoreUnderTest store = make_store(layout, options, comm);
  fill_weights(*store.store);

  const std::vector<double> norms = train(*store.store, layout, shape, rule, comm, steps, slots);

  EXPECT_EQ(norms, reference.norms);
  for (const OwnedSlice& slice : store->owned()) {
    const auto t = static_cast<std::size_t>(slice.tensor);
    expect_same_bits(slice.master, reference.master[t], slice, "master");
    expect_same_bits(slice.state("exp_avg"), reference.exp_avg[t], slice, "exp_avg");
    expect_same_bits(slice.state("exp_avg_sq"), reference.exp_avg_sq[t], slice, "exp_avg_sq");
    expect_same_bits(slice.gradient, reference.gradient[t], slice, "gradient");
  }
  expect_weights(*store.store, layout, reference);
}

struct Case {
  const char* name;
  FakeShape shape;
};

class Stages : public testing::TestWithParam<Case> {
 protected:
  /// Every stage, both dtypes, slot counts that leave ranks empty and that do not, one unit per call, some, and all.
  static void compare_all(const FakeShape& shape, bool reproducible, const GradientRule& rule) {
    const auto comm = make_world_communicator();
    for (const DType compute : {DType::f32, DType::bf16}) {
      for (const std::int64_t slots : {1, 3, 8}) {
        ZeroOptions options{.compute = compute, .reproducible = reproducible};
        const Reference reference = train_on_one_rank(shape, options, rule, slots);
        for (options.stage = 0; options.stage <= 3; ++options.stage) {
          for (const std::int64_t bucket : {1, 4'000, 500'000'000}) {
            if (compute == DType::bf16 && bucket != 4'000) continue;  // gradients are f32 in both
            options.reduce_bucket_size = bucket;
            expect_equal_to_one_rank(shape, options, rule, slots, reference, *comm);
          }
        }
      }
    }
    comm->close();
  }
};

TEST_P(Stages, EqualOneRankWhereSumsAreExact) { compare_all(GetParam().shape, false, exact_gradient); }

TEST_P(Stages, EqualOneRankToTheLastBitWhenReproducible) { compare_all(GetParam().shape, true, rounding_gradient); }

INSTANTIATE_TEST_SUITE_P(
    Shapes, Stages,
    testing::Values(Case{"Tied", {}}, Case{"Untied", {.vocabulary = 101, .hidden = 16, .blocks = 2, .tied = false}},
                    // Units of one chunk: all ranks but the first own nothing of them.
                    Case{"SmallerThanTheWorld", {.vocabulary = 5, .hidden = 3, .blocks = 2}},
                    Case{"WithoutBlocks", {.vocabulary = 90, .hidden = 20, .blocks = 0, .tied = false}}),
    [](const auto& info) { return info.param.name; });

// The rule above would prove nothing if its sums did not depend on the order of slots.
TEST(RoundingGradient, GivesOtherBitsInAnotherOrder) {
  int differing = 0;
  for (std::int64_t i = 0; i < 1'000; ++i) {
    float forwards = 0.0F;
    float backwards = 0.0F;
    for (int k = 0; k < 8; ++k) {
      forwards += rounding_gradient(k, 0, 1, i, 0.1F);
      backwards += rounding_gradient(7 - k, 0, 1, i, 0.1F);
    }
    differing += forwards != backwards ? 1 : 0;
  }

  EXPECT_GT(differing, 300);
}

// Slices go by messages here, and sums run inside the pretended nodes first: exact ones cannot tell.
TEST(Nodes, DoNotShowInExactSums) {
  const FakeShape shape;
  for (const bool shared_windows : {false, true}) {
    MpiOptions mpi{.shared_windows = shared_windows, .pretend_node_of_rank = {}};
    for (int r = 0; r < world_size(); ++r) mpi.pretend_node_of_rank.push_back(r / 2);
    const auto comm = make_world_communicator(mpi);
    for (const bool reproducible : {false, true}) {
      ZeroOptions options{.reproducible = reproducible};
      const Reference reference = train_on_one_rank(shape, options, exact_gradient, 5);
      for (options.stage = 0; options.stage <= 3; ++options.stage) {
        expect_equal_to_one_rank(shape, options, exact_gradient, 5, reference, *comm);
      }
    }
    comm->close();
  }
}

}  // namespace
}  // namespace dstrain::test::stages_test
