// SPDX-License-Identifier: Apache-2.0
/// How attentions become calls of cuDNN: arithmetic, on any machine.
#include "kernels/cuda/attention_cudnn_calls.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace dstrain::cudnn {
namespace {

/// 32 heads of 128 on 8, q k v in one row.
AttentionShape llama(std::int64_t T) {
  AttentionShape s{};
  s.T = T;
  s.max_seqlen = static_cast<std::int32_t>(T);
  s.heads = 32;
  s.kv_heads = 8;
  s.head_dim = 128;
  s.q_stride = s.kv_stride = (32 + 2 * 8) * 128;
  s.out_stride = 32 * 128;
  s.scale = 0.1F;
  s.kernels = AttentionKernels::cudnn;
  return s;
}

TEST(CudnnChoice, TakesWhatCudnnComputesAsWeDo) {
  const float slopes[] = {1.0F};
  const std::int32_t lens[] = {3};
  struct Case {
    const char* name;
    void (*change)(AttentionShape&, const float*, const std::int32_t*);
    bool taken;
  };
  const Case cases[] = {
      {"plain", [](AttentionShape&, const float*, const std::int32_t*) {}, true},
      {"window", [](AttentionShape& s, const float*, const std::int32_t*) { s.window = 1024; }, true},
      {"heads of 80", [](AttentionShape& s, const float*, const std::int32_t*) { s.head_dim = 80; }, true},
      {"heads of 20", [](AttentionShape& s, const float*, const std::int32_t*) { s.head_dim = 20; }, false},
      {"heads of 512", [](AttentionShape& s, const float*, const std::int32_t*) { s.head_dim = 512; }, false},
      {"softcap", [](AttentionShape& s, const float*, const std::int32_t*) { s.softcap = 50.0F; }, false},
      {"alibi", [](AttentionShape& s, const float* f, const std::int32_t*) { s.alibi_slopes = f; }, false},
      {"dropout", [](AttentionShape& s, const float*, const std::int32_t*) { s.dropout.probability = 0.1F; }, false},
      {"padding", [](AttentionShape& s, const float*, const std::int32_t* l) { s.key_lens = l; }, false},
      {"odd rows", [](AttentionShape& s, const float*, const std::int32_t*) { s.q_stride += 4; }, false},
      {"odd outputs", [](AttentionShape& s, const float*, const std::int32_t*) { s.out_stride += 1; }, false},
      {"grouped heads", [](AttentionShape& s, const float*, const std::int32_t*) { s.q_group_stride = 6 * 128; },
       false},
      {"grouped single heads",
       [](AttentionShape& s, const float*, const std::int32_t*) {
         s.kv_heads = 32;
         s.q_group_stride = s.kv_head_stride = 3 * 128;
       },
       true},
      {"places beyond 32 bits", [](AttentionShape& s, const float*, const std::int32_t*) { s.T = 1 << 20; }, false},
  };
  for (const Case& c : cases) {
    AttentionShape s = llama(4096);
    c.change(s, slopes, lens);
    EXPECT_EQ(why_not(s).empty(), c.taken) << c.name << ": " << why_not(s);
    EXPECT_EQ(pieces_of(s).total() > 0, c.taken) << c.name;
  }
}

TEST(CudnnChoice, TakesSegmentsThatSeeThemselvesAlone) {
  const std::int32_t cu_q[] = {0, 3, 7};
  const std::int32_t same[] = {0, 3, 7};
  const std::int32_t longer[] = {0, 5, 9};
  AttentionShape s = llama(64);
  s.segments = 2;
  s.cu_q = cu_q;
  s.cu_k = same;
  EXPECT_TRUE(why_not_segments(s).empty());
  s.cu_k = longer;
  EXPECT_FALSE(why_not_segments(s).empty());
}

TEST(CudnnChoice, PlansNothingForOwnKernels) {
  AttentionShape s = llama(4096);
  s.kernels = AttentionKernels::own;
  EXPECT_EQ(pieces_of(s).total(), 0);
  EXPECT_EQ(trial_bytes(s), 0);
}

// What cuDNN 9.19 answered for Hopper (tests of attention_cudnn_graph_test ask it again).
TEST(CudnnWorkspace, HasTheSizesThatCudnnAskedFor) {
  Call c{.backward = true, .batch = 1, .rows = 4096, .heads = 32, .kv_heads = 32, .head_dim = 128};
  EXPECT_NEAR(static_cast<double>(workspace_bytes(c)) / (1 << 20), 1024.5, 0.1);
  c.kv_heads = 8;
  EXPECT_NEAR(static_cast<double>(workspace_bytes(c)) / (1 << 20), 1088.5, 0.1);
  c.deterministic = false;
  EXPECT_NEAR(static_cast<double>(workspace_bytes(c)) / (1 << 20), 128.5, 0.1);
  c.backward = false;
  EXPECT_EQ(workspace_bytes(c), 0);
}

TEST(CudnnWorkspace, StaysBelowItsBoundByTakingHeadsInTurns) {
  for (const std::int64_t T : {64, 1024, 4096, 8192}) {
    for (const Call& call : calls_for(llama(T), DType::bf16, true)) {
      EXPECT_LE(workspace_bytes(call), call.kv_heads == 1 ? most_bytes : wanted_bytes) << T << ' ' << call.rows;
      EXPECT_EQ(call.heads, 4 * call.kv_heads);
      EXPECT_EQ(8 % call.kv_heads, 0);
    }
  }
  const auto call = call_of(llama(4096), DType::bf16, true, 1, 4096);
  ASSERT_TRUE(call.has_value());
  EXPECT_EQ(call->heads, 8);
  EXPECT_FALSE(call_of(llama(32768), DType::bf16, true, 1, 32768).has_value()) << "8 GiB for a key head";
  AttentionShape any = llama(32768);
  any.kernels = AttentionKernels::cudnn_any_order;
  EXPECT_TRUE(call_of(any, DType::bf16, true, 1, 32768).has_value());
}

// Whatever segments a micro-batch has: every one is in one batch that holds it, and every batch's graph was announced,
// with a workspace inside the planned one.
TEST(CudnnBatches, HoldEverySegmentOnceInGraphsThatWereMade) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const std::int64_t T = 64 << (random() % 8);
    std::vector<std::int32_t> cu = {0};
    const auto longest = static_cast<std::uint32_t>(std::max<std::int64_t>(1, T >> (random() % 8)));
    while (cu.back() < T && cu.size() < 400)
      cu.push_back(static_cast<std::int32_t>(std::min<std::int64_t>(T, cu.back() + random() % (longest + 1))));
    AttentionShape s = llama(T);
    s.segments = static_cast<std::int64_t>(cu.size()) - 1;
    s.cu_q = s.cu_k = cu.data();
    const auto made = calls_for(llama(T), DType::bf16, true);
    std::vector<int> seen(static_cast<std::size_t>(s.segments), 0);
    Batches batches;

    batches.sort(s);

    for (const Batch& batch : batches.list()) {
      for (std::int64_t i = 0; i < batch.count; ++i) {
        const std::int64_t segment = batches.segment(batch.first + i);
        ++seen[static_cast<std::size_t>(segment)];
        ASSERT_LE(cu[static_cast<std::size_t>(segment) + 1] - cu[static_cast<std::size_t>(segment)], batch.rows);
        ASSERT_TRUE(i == 0 || batches.segment(batch.first + i - 1) < segment) << "places must rise";
      }
      const auto call = call_of(s, DType::bf16, true, batch.count, batch.rows);
      ASSERT_TRUE(call.has_value());
      ASSERT_NE(std::find(made.begin(), made.end(), *call), made.end())
          << T << ": " << batch.count << " of " << batch.rows;
      ASSERT_LE(workspace_bytes(*call), pieces_of(llama(T)).plans);
    }
    for (std::int64_t i = 0; i < s.segments; ++i) {
      const bool empty = cu[static_cast<std::size_t>(i) + 1] == cu[static_cast<std::size_t>(i)];
      ASSERT_EQ(seen[static_cast<std::size_t>(i)], empty ? 0 : 1);
    }
  }
}

TEST(CudnnBatches, AreFewEnoughToBeCompiledAtStart) {
  EXPECT_LE(calls_for(llama(4096), DType::bf16, true).size(), 8U);
  EXPECT_LE(calls_for(llama(32768), DType::bf16, false).size(), 14U);
}

}  // namespace
}  // namespace dstrain::cudnn
