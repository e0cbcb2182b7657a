// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/header.hpp"

#include <gtest/gtest.h>

#include <random>

#include "io/safetensors/reader.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

using test::fresh_folder;
using test::write_text;

std::string with_length(const std::string& json, std::uint64_t length) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes + json;
}

TEST(SafetensorsHeader, ReadsTensorsInTheOrderOfTheirOffsets) {
  const auto header = parse_safetensors_header(
      R"({"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},"__metadata__":{"format":"pt"},)"
      R"("a":{"data_offsets":[0,8],"dtype":"F32","shape":[2]},"scalar":{"dtype":"I64","shape":[],"data_offsets":[20,28]},)"
      R"("empty":{"dtype":"F16","shape":[0,7],"data_offsets":[28,28]}})",
      28, "file");

  ASSERT_EQ(header.tensors.size(), 4U);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[1].name, "b");
  EXPECT_EQ(header.tensors[1].dtype, DType::bf16);
  EXPECT_EQ(header.tensors[1].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(header.tensors[1].offset, 8);
  EXPECT_EQ(header.tensors[2].count(), 1);
  EXPECT_EQ(header.tensors[3].count(), 0);
  EXPECT_EQ(header.metadata.at("format"), "pt");
}

struct BadHeader {
  const char* json;
  const char* said;
};

class SafetensorsBadHeader : public testing::TestWithParam<BadHeader> {};

// The data has 8 bytes in each case.
TEST_P(SafetensorsBadHeader, IsRefusedWithItsReason) {
  EXPECT_ERROR((void)parse_safetensors_header(GetParam().json, 8, "x.safetensors"), GetParam().said);
  EXPECT_ERROR((void)parse_safetensors_header(GetParam().json, 8, "x.safetensors"), "x.safetensors");
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, SafetensorsBadHeader,
    testing::Values(
        BadHeader{"", "not JSON"}, BadHeader{"{", "not JSON"}, BadHeader{"[]", "a list"}, BadHeader{"7", "a number"},
        BadHeader{"null", "null"}, BadHeader{"\"x\"", "a string"}, BadHeader{"{} {}", "not JSON"},
        BadHeader{"{\"\xff\": 1}", "not JSON"}, BadHeader{"{}", "cover 0 bytes"},
        BadHeader{R"({"a":1})", "a number at \"a\""}, BadHeader{R"({"a":{}})", "lacks"},
        BadHeader{R"({"a":[]})", "a list"}, BadHeader{R"({"a":{"dtype":"F32","shape":[2]}})", "lacks"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", "unknown key"},
        BadHeader{R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "was there before"},
        BadHeader{
            R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
            "was there before"},
        BadHeader{R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})",
                  "\"F8_E4M3\", which is not supported"},
        BadHeader{R"({"a":{"dtype":"","shape":[8],"data_offsets":[0,8]}})", "not supported"},
        BadHeader{R"({"a":{"dtype":32,"shape":[8],"data_offsets":[0,8]}})", "a number"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "a negative number"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "a fraction"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]}})", "beyond 64 bits"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}})", "beyond 2^63"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", "no memory holds"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,8]}})", "no memory holds"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", "a list"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}})",
                  "too many"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,16]}})", "too many"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}})", "needs 8 bytes"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "needs 8 bytes"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "needs 8 bytes"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})", "beyond the file"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "cover 4 bytes"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "a hole"},
        BadHeader{
            R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
            "an overlap"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":[]})", "a list"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"format":1}})", "a number"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"x":{}}})", "an object"}));

TEST(SafetensorsFile, RefusesLengthsThatTheFileDoesNotHave) {
  const auto path = fresh_folder() / "x.safetensors";
  const auto refused = [&](const std::string& bytes, const char* said) {
    write_text(path, bytes);
    EXPECT_ERROR((void)SafetensorsFile::open(path), said);
  };

  refused("", "too short");
  refused("1234567", "too short");
  refused(with_length("{}", 1ULL << 60), "the format allows");
  refused(with_length("{}", ~0ULL), "the format allows");
  refused(with_length("{}", 100'000'001), "the format allows");
  refused(with_length("{}", 100'000'000), "the file has 10");
  refused(with_length("{}", 3), "the file has 10");
  refused(with_length("", 0), "not JSON");
  refused(with_length("{}", 1), "not JSON");
}

// A hundred thousand openings must not be the price of depth: the reader keeps no tree and does not recurse.
TEST(SafetensorsHeader, RefusesDeepNestingAtOnce) {
  EXPECT_ERROR((void)parse_safetensors_header("{\"a\":" + std::string(1'000'000, '['), 0, "x"), "a list");
  EXPECT_ERROR((void)parse_safetensors_header("{\"a\":{\"shape\":" + std::string(1'000'000, '['), 0, "x"), "a list");
}

// Damaged headers are refused or describe tensors that tile the data: never anything else.
TEST(SafetensorsHeader, RandomDamageNeverGivesTensorsThatDoNotTile) {
  const std::string sound =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,5],"data_offsets":[0,40]},)"
      R"("b.weight":{"dtype":"BF16","shape":[3],"data_offsets":[40,46]},"c":{"dtype":"U8","shape":[2],"data_offsets":[46,48]}})";
  std::mt19937 random(7);
  int accepted = 0;
  int refused = 0;

  for (int i = 0; i < 20'000; ++i) {
    auto json = sound;
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      const auto at = random() % json.size();
      switch (random() % 4) {
        case 0:
          json[at] = static_cast<char>(random() % 256);
          break;
        case 1:
          json.erase(at, 1 + random() % 8);
          break;
        case 2:
          json.insert(at, 1, "0123456789{}[],:\"-."[random() % 19]);
          break;
        default:
          json.resize(at + 1);
          break;
      }
      if (json.empty()) break;
    }
    try {
      const auto header = parse_safetensors_header(json, 48, "x");
      std::int64_t end = 0;
      for (const auto& tensor : header.tensors) {
        ASSERT_EQ(tensor.offset, end) << json;
        end += tensor.count() * static_cast<std::int64_t>(size_of(tensor.dtype));
      }
      ASSERT_EQ(end, 48) << json;
      ++accepted;
    } catch (const IoError&) {
      ++refused;
    }
  }

  EXPECT_GT(accepted, 0);  // a changed name is no damage
  EXPECT_GT(refused, 10'000);
}

TEST(SafetensorsHeader, IsWrittenAsTheLibraryWritesIt) {
  std::vector<SafetensorsEntry> tensors{
      {"z", DType::bf16, {2}, 0, 0}, {"b", DType::f32, {1, 2}, 0, 0}, {"a", DType::bf16, {}, 0, 0}};

  const auto bytes = safetensors_header(tensors, {{"format", "pt"}});

  const std::string json =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"BF16","shape":[],"data_offsets":[8,10]},"z":{"dtype":"BF16","shape":[2],"data_offsets":[10,14]}})";
  EXPECT_EQ(bytes.size() % 8, 0U);
  EXPECT_EQ(bytes.substr(8, json.size()), json);
  EXPECT_EQ(bytes.find_first_not_of(' ', 8 + json.size()), std::string::npos);
  EXPECT_EQ(
      static_cast<std::size_t>(static_cast<unsigned char>(bytes[0])) + 256U * static_cast<unsigned char>(bytes[1]),
      bytes.size() - 8);
}

TEST(SafetensorsHeader, RefusesToWriteNamesTwiceAndImpossibleShapes) {
  std::vector<SafetensorsEntry> twice{{"a", DType::f32, {1}, 0, 0}, {"a", DType::bf16, {1}, 0, 0}};
  std::vector<SafetensorsEntry> huge{{"a", DType::f32, {1LL << 31, 1LL << 31}, 0, 0}};
  std::vector<SafetensorsEntry> reserved{{"__metadata__", DType::f32, {1}, 0, 0}};

  EXPECT_ERROR((void)safetensors_header(twice, {}), "two tensors are called \"a\"");
  EXPECT_ERROR((void)safetensors_header(huge, {}), "no file holds");
  EXPECT_ERROR((void)safetensors_header(reserved, {}), "__metadata__");
}

}  // namespace
}  // namespace dstrain
