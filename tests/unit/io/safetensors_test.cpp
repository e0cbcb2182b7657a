// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/files/file.hpp"
#include "io/safetensors/model.hpp"
#include "io/safetensors/reader.hpp"
#include "io/safetensors/writer.hpp"
#include "support/process.hpp"
#include "support/shared_data.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

using test::fresh_folder;
using test::read_text;
using test::write_text;

/// Values that f32, bf16 and f16 all hold exactly.
std::vector<float> small_numbers(std::int64_t count, float start) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = start + 0.5F * static_cast<float>(i % 64);
  return values;
}

const std::vector<TensorInfo> three_tensors{{"model.b", {3, 5}}, {"model.a", {40'000}}, {"lm_head", {2, 2, 2}}};

template <typename Writer>
void write_all(Writer& writer, const std::vector<TensorInfo>& tensors, std::int64_t piece) {
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto values = small_numbers(tensors[t].count(), static_cast<float>(t));
    for (std::int64_t begin = 0; begin < tensors[t].count(); begin += piece) {
      const auto n = std::min(piece, tensors[t].count() - begin);
      writer.write(static_cast<std::int32_t>(t), begin, n, values.data() + begin);
    }
  }
}

class SafetensorsRoundTrip : public testing::TestWithParam<DType> {};

TEST_P(SafetensorsRoundTrip, GivesBackWhatWasWrittenByPieces) {
  const auto path = fresh_folder() / "w.safetensors";
  SafetensorsWriter writer(path, three_tensors, GetParam());
  write_all(writer, three_tensors, 7'777);
  writer.commit();

  const auto file = SafetensorsFile::open(path);

  EXPECT_EQ(file.metadata().at("format"), "pt");
  for (std::size_t t = 0; t < three_tensors.size(); ++t) {
    const auto index = file.find(three_tensors[t].name);
    ASSERT_GE(index, 0);
    EXPECT_EQ(file.tensors()[static_cast<std::size_t>(index)].shape, three_tensors[t].shape);
    EXPECT_EQ(file.tensors()[static_cast<std::size_t>(index)].dtype, GetParam());
    const auto expected = small_numbers(three_tensors[t].count(), static_cast<float>(t));
    std::vector<float> values(expected.size());
    file.read_f32(index, 0, three_tensors[t].count(), values.data());
    EXPECT_EQ(values, expected);
    float one = -1;
    file.read_f32(index, three_tensors[t].count() - 2, 1, &one);
    EXPECT_EQ(one, expected[expected.size() - 2]);
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, SafetensorsRoundTrip,
                         testing::Values(DType::f32, DType::bf16, DType::f16, DType::f64));

TEST(SafetensorsFile, RefusesRangesOutsideTheTensorAndWeightsThatAreNumbersOfAnotherKind) {
  const auto path = fresh_folder() / "w.safetensors";
  const std::string json = R"({"ids":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(json.size());
  write_text(path, bytes + json + std::string("\1\0\0\0\2\0\0\0", 8));
  const auto file = SafetensorsFile::open(path);
  std::array<std::int32_t, 2> raw{};
  float value = 0;

  file.read_raw(0, 0, 2, raw.data());

  EXPECT_EQ(raw, (std::array<std::int32_t, 2>{1, 2}));
  EXPECT_ERROR(file.read_f32(0, 0, 1, &value), "holds i32");
  EXPECT_ERROR(file.read_raw(0, 1, 2, raw.data()), "has 2 elements");
  EXPECT_ERROR(file.read_raw(0, -1, 1, raw.data()), "has 2 elements");
  EXPECT_ERROR(file.read_raw(0, std::numeric_limits<std::int64_t>::max(), 2, raw.data()), "has 2 elements");
  EXPECT_ERROR(file.read_raw(1, 0, 1, raw.data()), "no tensor 1");
}

TEST(SafetensorsWriter, LeavesNothingWithoutCommitAndRefusesAnIncompleteOne) {
  const auto folder = fresh_folder();
  const std::array<float, 15> values{};
  {
    SafetensorsWriter writer(folder / "w.safetensors", {{"a", {3, 5}}}, DType::f32);
    writer.write(0, 0, 5, values.data());
    EXPECT_ERROR(writer.write(0, 6, 5, values.data()), "do not follow the 5 of 15");
    EXPECT_ERROR(writer.write(0, 5, 11, values.data()), "do not follow");
    EXPECT_ERROR(writer.commit(), "has 5 of 15 elements");
  }

  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST(SafetensorsModel, SplitsGreedilyWritesAnIndexAndRemovesAnOlderExport) {
  const auto folder = fresh_folder();
  const std::vector<TensorInfo> tensors{{"a", {10}}, {"b", {10}}, {"big", {100}}, {"c", {5}}, {"d", {5}}};
  for (const auto* stale : {"model.safetensors", "model-00001-of-00009.safetensors"}) write_text(folder / stale, "old");
  write_text(folder / "keep.safetensors", "not ours");
  SafetensorsModelWriter writer(folder, tensors, DType::f32, 80);
  write_all(writer, tensors, 3);
  writer.commit();

  const auto index = nlohmann::json::parse(read_text(folder / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 520);
  EXPECT_EQ(index["weight_map"]["a"], "model-00001-of-00003.safetensors");
  EXPECT_EQ(index["weight_map"]["b"], "model-00001-of-00003.safetensors");
  EXPECT_EQ(index["weight_map"]["big"], "model-00002-of-00003.safetensors");
  EXPECT_EQ(index["weight_map"]["d"], "model-00003-of-00003.safetensors");
  EXPECT_FALSE(std::filesystem::exists(folder / "model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(folder / "model-00001-of-00009.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(folder / "keep.safetensors"));

  const auto model = SafetensorsModel::open(folder);
  ASSERT_EQ(model.tensors().size(), tensors.size());
  EXPECT_EQ(model.bytes(), 520);
  const auto found = match_tensors(model, tensors);
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    std::vector<float> values(static_cast<std::size_t>(tensors[t].count()));
    model.read(found[t], 0, tensors[t].count(), values.data());
    EXPECT_EQ(values, small_numbers(tensors[t].count(), static_cast<float>(t))) << tensors[t].name;
  }
}

TEST(SafetensorsModel, OneFileHasNoIndexAndAnOlderIndexGoes) {
  const auto folder = fresh_folder();
  write_text(folder / "model.safetensors.index.json", "{}");
  SafetensorsModelWriter writer(folder, three_tensors, DType::bf16);
  write_all(writer, three_tensors, 1'000);
  writer.commit();

  EXPECT_FALSE(std::filesystem::exists(folder / "model.safetensors.index.json"));
  EXPECT_EQ(SafetensorsModel::open(folder).tensors().size(), 3U);
}

TEST(SafetensorsModel, NamesWhatIsWrongWithAFolder) {
  const auto folder = fresh_folder();
  EXPECT_ERROR((void)SafetensorsModel::open(folder), "holds no model.safetensors");

  const auto index = folder / "model.safetensors.index.json";
  for (const auto* bad : {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})", R"({"weight_map":{"a":1}})",
                          R"({"weight_map":{"a":"../x"}})", R"({"weight_map":{"a":"/etc/passwd"}})"}) {
    write_text(index, bad);
    EXPECT_ERROR((void)SafetensorsModel::open(folder), "index.json");
  }

  write_text(index, R"({"weight_map":{"a":"one.safetensors"}})");
  EXPECT_ERROR((void)SafetensorsModel::open(folder), "one.safetensors");

  SafetensorsWriter writer(folder / "one.safetensors", {{"b", {0}}}, DType::f32);
  writer.commit();
  EXPECT_ERROR((void)SafetensorsModel::open(folder), "lacks tensor \"a\"");
}

// The file was written by the safetensors library: the same tensors through our writer are the same bytes.
TEST(SafetensorsWriter, WritesTheBytesOfTheLibrary) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto original = *shared / "data" / "stories260K" / "model.safetensors";
  const auto model = SafetensorsModel::open(original.parent_path());
  const auto folder = fresh_folder();
  SafetensorsModelWriter writer(folder, model.tensors(), model.dtype(0));
  std::vector<float> scratch(1'000);

  copy_weights(model, model.tensors(), writer, scratch);

  EXPECT_EQ(read_text(folder / "model.safetensors"), read_text(original));
}

// Read by another program's eyes: values and metadata as the safetensors package sees them.
TEST(SafetensorsWriter, IsReadByThePythonPackage) {
  const auto python = test::python_with("safetensors.numpy");
  if (python.empty()) GTEST_SKIP() << "skipped: no python3 with safetensors (DSTRAIN_PYTHON may name one)";
  const auto path = fresh_folder() / "w.safetensors";
  SafetensorsWriter writer(path, three_tensors, DType::f16);
  write_all(writer, three_tensors, 7'777);
  writer.commit();
  write_text(path.parent_path() / "check.py", R"(
import sys, numpy, safetensors
with safetensors.safe_open(sys.argv[1], "numpy") as f:
    assert f.metadata() == {"format": "pt"}, f.metadata()
    for start, (name, shape) in enumerate([("model.b", (3, 5)), ("model.a", (40000,)), ("lm_head", (2, 2, 2))]):
        t = f.get_tensor(name)
        assert t.dtype == numpy.float16 and t.shape == shape, (t.dtype, t.shape)
        assert (t.ravel() == start + 0.5 * (numpy.arange(t.size) % 64)).all(), name
    assert len(f.keys()) == 3
)");

  EXPECT_EQ(std::system(
                fmt::format("{} '{}' '{}'", python, (path.parent_path() / "check.py").string(), path.string()).c_str()),
            0);
}

}  // namespace
}  // namespace dstrain
