// SPDX-License-Identifier: Apache-2.0
#include "model/layout.hpp"

#include <gtest/gtest.h>

#include <set>

#include "core/error.hpp"
#include "model/model_spec.hpp"

namespace dstrain::layout_test {
namespace {

const TensorLayout& tensor(const ModelLayout& layout, const std::string& name) {
  return layout.tensors.at(static_cast<std::size_t>(layout.find(name)));
}

TEST(Layout, FusedGroupsAreAdjacentAndTheRestIsAligned) {
  ModelLayout layout;
  append_tensor(layout, 0, "a", {3, 7});
  append_tensor(layout, 0, "b", {5, 7}, true);
  append_tensor(layout, 0, "c", {2});

  EXPECT_EQ(tensor(layout, "a").offset, 0);
  EXPECT_EQ(tensor(layout, "b").offset, 21);
  EXPECT_EQ(tensor(layout, "c").offset, 256);
  EXPECT_EQ(layout.units[0].parts[0].count, 258);
  EXPECT_EQ(layout.parameters, 21 + 35 + 2);
}

TEST(Layout, FrozenTensorsHaveTheirOwnBuffer) {
  ModelLayout layout;
  append_tensor(layout, 0, "base", {100, 10}, false, PartKind::frozen);
  append_tensor(layout, 0, "adapter", {8, 10});
  finish_layout(layout);

  EXPECT_EQ(tensor(layout, "adapter").offset, 0);
  EXPECT_EQ(layout.units[0].parts[static_cast<int>(PartKind::frozen)].count, 1000);
  EXPECT_EQ(layout.units[0].parts[static_cast<int>(PartKind::trainable)].count, 80);
}

TEST(Layout, TheGridHasAtMostAThousandChunksAndCoversTheBuffer) {
  for (const std::int64_t count : {1, 255, 256, 257, 262144, 262145, 1000003, 500000000}) {
    ModelLayout layout;
    append_tensor(layout, 0, "w", {count});
    finish_layout(layout);
    const PartLayout& part = layout.units[0].parts[0];

    EXPECT_GE(part.chunk, 256);
    EXPECT_EQ(part.chunk % 256, 0);
    EXPECT_LE(part.chunks, 1024);
    EXPECT_GE(part.padded(), count);
    EXPECT_LT(part.padded() - count, part.chunk);
  }
}

TEST(Layout, AnEmptyPartHasNoChunks) {
  ModelLayout layout;
  append_tensor(layout, 0, "w", {4});
  finish_layout(layout);

  EXPECT_EQ(layout.units[0].parts[static_cast<int>(PartKind::frozen)].padded(), 0);
}

TEST(Layout, AnEmptyTensorIsRefused) {
  ModelLayout layout;

  EXPECT_THROW(append_tensor(layout, 0, "w", {4, 0}), Error);
  EXPECT_THROW(append_tensor(layout, -1, "w", {4}), Error);
}

TEST(Layout, UnitsOfAModelAreNamedAndTensorsDoNotOverlap) {
  for (const char* name : {"nano", "15m", "0.5b"}) {
    const ModelLayout layout = make_layout(preset_spec(name));
    EXPECT_EQ(layout.units.front().name, "embedding");
    EXPECT_EQ(layout.units[1].name, "block 0");
    EXPECT_EQ(layout.units.back().name, "head");
    std::int64_t total = 0;
    std::set<std::string> names;
    for (const UnitLayout& unit : layout.units) {
      std::int64_t end = 0;
      for (const std::int32_t index : unit.tensors) {
        const TensorLayout& t = layout.tensors[static_cast<std::size_t>(index)];
        EXPECT_EQ(t.index, index);
        EXPECT_GE(t.offset, end) << t.name;
        end = t.offset + t.count;
        total += t.count;
        names.insert(t.name);
      }
      EXPECT_EQ(unit.parts[0].count, end);
    }
    EXPECT_EQ(total, layout.parameters);
    EXPECT_EQ(names.size(), layout.tensors.size());
  }
}

TEST(Layout, QueryKeyValueAndGateUpCanBeOneProduct) {
  const ModelLayout layout = make_layout(preset_spec("0.5b"));
  const std::string p = "model.layers.3.";
  const auto follows = [&](const std::string& first, const std::string& second) {
    return tensor(layout, p + second).offset == tensor(layout, p + first).offset + tensor(layout, p + first).count;
  };

  EXPECT_TRUE(follows("self_attn.q_proj.weight", "self_attn.k_proj.weight"));
  EXPECT_TRUE(follows("self_attn.k_proj.weight", "self_attn.v_proj.weight"));
  EXPECT_TRUE(follows("self_attn.q_proj.bias", "self_attn.k_proj.bias"));
  EXPECT_TRUE(follows("self_attn.k_proj.bias", "self_attn.v_proj.bias"));
  EXPECT_TRUE(follows("mlp.gate_proj.weight", "mlp.up_proj.weight"));
}

}  // namespace
}  // namespace dstrain::layout_test
