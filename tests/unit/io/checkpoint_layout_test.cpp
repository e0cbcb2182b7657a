// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <random>

#include "io/checkpoint/content.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/files/digest.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

TEST(CheckedCount, FindsProductsThatDoNotFit) {
  constexpr auto max = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(checked_count(std::vector<std::int64_t>{}), 1);
  EXPECT_EQ(checked_count(std::vector<std::int64_t>{3, 0, 5}), 0);
  EXPECT_EQ(checked_count(std::vector<std::int64_t>{max, 1}), max);
  EXPECT_EQ(checked_count(std::vector<std::int64_t>{max, 2}), std::nullopt);
  EXPECT_EQ(checked_count(std::vector<std::int64_t>{max, 2, 0}), std::nullopt);
  EXPECT_EQ(checked_count(std::vector<std::int64_t>{-1}), std::nullopt);
}

/// The flat indices that boxes cover, in their order.
std::vector<std::int64_t> covered(const std::vector<std::int64_t>& shape, const std::vector<TensorBox>& boxes) {
  std::vector<std::int64_t> flat;
  for (const auto& box : boxes) {
    std::int64_t count = 1;
    for (const auto extent : box.extent) count *= extent;
    for (std::int64_t i = 0; i < count; ++i) {
      std::int64_t rest = i;
      std::int64_t index = 0;
      std::int64_t stride = 1;
      for (std::size_t d = shape.size(); d-- > 0;) {
        index += (box.start[d] + rest % box.extent[d]) * stride;
        rest /= box.extent[d];
        stride *= shape[d];
      }
      flat.push_back(index);
    }
  }
  return flat;
}

TEST(BlocksOfRange, CoverEveryRangeInFlatOrder) {
  for (const auto& shape :
       std::vector<std::vector<std::int64_t>>{{7}, {4, 5}, {1, 6}, {6, 1}, {3, 2, 4}, {2, 3, 1, 2}}) {
    const auto total = *checked_count(shape);
    for (std::int64_t begin = 0; begin <= total; ++begin) {
      for (std::int64_t count = 0; begin + count <= total; ++count) {
        const auto boxes = boxes_of_range(shape, begin, count);
        std::vector<std::int64_t> expected(static_cast<std::size_t>(count));
        std::iota(expected.begin(), expected.end(), begin);
        ASSERT_EQ(covered(shape, boxes), expected) << shape_text(shape) << " " << begin << " " << count;
        ASSERT_LE(boxes.size(), 2 * shape.size() - 1);
      }
    }
  }
}

TEST(CheckpointNames, RefuseWhatHdf5WouldTakeForSomethingElse) {
  for (const auto* name : {"", ".", "..", "a/b", "/a", "exp_avg", "exp_avg_sq"}) {
    EXPECT_ERROR(check_tensor_list(std::vector<TensorInfo>{{name, {1}}}), "cannot be called");
  }
  EXPECT_ERROR(check_tensor_list(std::vector<TensorInfo>{{"a", {1}}, {"a", {2}}}), "two tensors");
  EXPECT_ERROR(check_tensor_list(std::vector<TensorInfo>{{"a", {1LL << 40, 1LL << 40}}}), "impossible shape");
  EXPECT_NO_THROW(check_tensor_list(std::vector<TensorInfo>{{"exp_avg.weight", {2}}, {"h.0.ln", {0}}}));
}

Manifest small_manifest() {
  const std::string digest(digest_letters, 'a');
  Manifest manifest{12, 4, 1000, digest, {{"a\"b", {3, 3}}, {"c", {2}}}, {}};
  for (int s = 0; s < 2; ++s) {
    Shard shard{shard_name(static_cast<std::size_t>(s), 2), 4096, digest, {}};
    shard.datasets[0] = s == 0 ? ShardDataset{512, 5, {{0, 0, 5, 0, digest + digest}}}
                               : ShardDataset{512, 6, {{1, 0, 2, 0, digest}, {0, 5, 4, 2, digest}}};
    if (s == 1) shard.datasets[2] = {2048, 2, {{1, 0, 2, 0, digest}}};
    manifest.shards.push_back(shard);
  }
  return manifest;
}

TEST(Manifest, ComesBackAsItWasWritten) {
  const auto text = manifest_text(small_manifest());

  const auto manifest = parse_manifest(text, "x");

  EXPECT_EQ(manifest_text(manifest), text);
  EXPECT_EQ(manifest.tensors[0].name, "a\"b");
  EXPECT_EQ(manifest.shards[1].datasets[0].slabs[1].at, 2);
  EXPECT_EQ(places_of(manifest, CheckpointKind::exp_avg_sq, "x")[1].size(), 1U);
}

TEST(Manifest, ListsTheBytesOutsideTheDatasets) {
  const auto manifest = small_manifest();
  using Range = std::array<std::int64_t, 2>;

  EXPECT_EQ(frame_ranges(manifest.shards[0]), (std::vector<Range>{{0, 512}, {532, 4096}}));
  EXPECT_EQ(frame_ranges(manifest.shards[1]), (std::vector<Range>{{0, 512}, {536, 2048}, {2056, 4096}}));
}

class ManifestWith : public testing::Test {
 protected:
  static std::string refused(const std::function<void(Manifest&)>& change) {
    auto manifest = small_manifest();
    change(manifest);
    return test::error_of([&] { (void)parse_manifest(manifest_text(manifest), "x/manifest.json"); });
  }
};

TEST_F(ManifestWith, WrongNumbersIsRefused) {
  const auto expect = [](const std::string& said, const char* part) {
    EXPECT_NE(said.find(part), std::string::npos) << said;
    EXPECT_NE(said.find("x/manifest.json"), std::string::npos) << said;
  };
  constexpr auto huge = (1LL << 62) - 1;
  expect(refused([](Manifest& m) { m.shards[0].file = "../x"; }), "another folder");
  expect(refused([](Manifest& m) { m.shards[0].bytes = 520; }), "lies outside");
  expect(refused([](Manifest& m) { m.shards[1].datasets[2].offset = 520; }), "overlap");
  expect(refused([](Manifest& m) { m.shards[0].datasets[0].slabs[0].tensor = 2; }), "unknown tensor");
  expect(refused([](Manifest& m) { m.shards[0].datasets[0].slabs[0].tensor = -1; }), "no size");
  expect(refused([](Manifest& m) { m.shards[0].datasets[0].slabs[0].begin = huge; }), "lies outside");
  expect(refused([](Manifest& m) { m.shards[0].datasets[0].slabs[0].count = 0; }), "lies outside");
  expect(refused([](Manifest& m) { m.shards[0].datasets[0].slabs[0].digests.pop_back(); }), "lacks digests");
  expect(refused([](Manifest& m) { m.shards[0].datasets[0].slabs[0].digests[40] = 'G'; }), "malformed digest");
  expect(refused([](Manifest& m) { m.shards[1].datasets[0].slabs[1].at = 1; }), "leave a hole or overlap");
  expect(refused([](Manifest& m) { m.shards[1].datasets[0].count = 7; }), "do not fill");
  expect(refused([](Manifest& m) { m.shards[1].datasets[0].slabs[1].begin = 4; }), "in two shards");
  expect(refused([](Manifest& m) { m.shards.pop_back(); }), "is in no shard");
  expect(refused([](Manifest& m) { m.tensors[0].shape = {huge, huge}; }), "impossible shape");
  expect(refused([](Manifest& m) { m.tensors[0].shape = {5, 2}; }), "is in no shard");
  expect(refused([](Manifest& m) { m.tensors[1].name = "a\"b"; }), "two tensors");
  expect(refused([](Manifest& m) { m.piece_count = 0; }), "piece_count");
  expect(refused([](Manifest& m) { m.view_digest = "no"; }), "no digest");
}

TEST(Manifest, OfAnotherFormatOrNoneIsRefused) {
  auto text = manifest_text(small_manifest());
  EXPECT_ERROR((void)parse_manifest("", "x"), "not JSON");
  EXPECT_ERROR((void)parse_manifest("[]", "x"), "\"format\" is missing");
  EXPECT_ERROR((void)parse_manifest(text.substr(0, text.size() / 2), "x"), "not JSON");
  text.replace(text.find("\"format\": 2"), 11, "\"format\": 3");
  EXPECT_ERROR((void)parse_manifest(text, "x"), "format 3, this program reads format 2");
}

// Whatever happens to the text: an IoError or a manifest that hangs together, nothing else.
TEST(Manifest, RandomDamageIsRefusedOrHarmless) {
  const auto sound = manifest_text(small_manifest());
  std::mt19937 random(3);
  int refused = 0;

  for (int i = 0; i < 5'000; ++i) {
    auto text = sound;
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      text[random() % text.size()] = "0123456789-{}[],:\"ae. "[random() % 22];
    }
    try {
      (void)manifest_text(parse_manifest(text, "x"));
    } catch (const IoError&) {
      ++refused;
    }
  }

  EXPECT_GT(refused, 1'000);
}

}  // namespace
}  // namespace dstrain
