// SPDX-License-Identifier: Apache-2.0
/// Files of torch.save: good ones made by torch, bad ones by torch and by hand, and every file cut and bent everywhere.
#include <algorithm>
#include <array>
#include <vector>

#include "io/torch/model.hpp"
#include "io/torch/pickle.hpp"
#include "io/weights/open.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain::test {
namespace {

using namespace std::string_literals;

std::filesystem::path made_by_torch(const std::string& name) {
  return std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests" / "oracle" / "torch-files" / name;
}

/// Element i of tests/oracle/make_torch_files.py's tensors.
float value(std::int64_t i) { return static_cast<float>(i) / 4 - 2; }

std::vector<float> read_all(const TorchFile& file, const std::string& name) {
  const std::int32_t index = file.find(name);
  EXPECT_GE(index, 0) << name;
  std::vector<float> values(static_cast<std::size_t>(file.tensors()[static_cast<std::size_t>(index)].count));
  file.read_f32(index, 0, static_cast<std::int64_t>(values.size()), values.data());
  return values;
}

void expect_values(const std::vector<float>& actual, std::size_t count, std::int64_t first = 0) {
  ASSERT_EQ(actual.size(), count);
  for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(actual[i], value(first + static_cast<std::int64_t>(i))) << i;
}

TEST(TorchFile, ReadsEveryTypeOfWeightsAndViewsOfOneArray) {
  const auto file = TorchFile::open(made_by_torch("good.bin"));

  expect_values(read_all(file, "f32"), 15);
  expect_values(read_all(file, "f16"), 7);
  expect_values(read_all(file, "bf16"), 12);
  expect_values(read_all(file, "f64"), 4);
  expect_values(read_all(file, "whole"), 24);
  expect_values(read_all(file, "part"), 8, 8);
  expect_values(read_all(file, "scalar"), 1);
  EXPECT_EQ(file.tensors()[static_cast<std::size_t>(file.find("bf16"))].shape, (std::vector<std::int64_t>{2, 2, 3}));
  EXPECT_EQ(file.find("absent"), -1);
  float x = 0;
  file.read_f32(file.find("part"), 5, 1, &x);
  EXPECT_EQ(x, value(13));
  EXPECT_ERROR(file.read_f32(file.find("part"), 5, 4, &x), "asked for 4 from 5");
  EXPECT_ERROR(file.read_f32(file.find("i64"), 0, 1, &x), "holds i64");
}

TEST(TorchFile, ReadsParametersAndNewerPickles) {
  expect_values(read_all(TorchFile::open(made_by_torch("plain_dict.bin")), "w"), 6);
  expect_values(read_all(TorchFile::open(made_by_torch("protocol4.bin")), "w"), 6);
  expect_values(read_all(TorchFile::open(made_by_torch("zip64.bin")), "w"), 6);
}

TEST(TorchFile, RefusesByNameWhatIsNoStateDict) {
  EXPECT_ERROR((void)TorchFile::open(made_by_torch("malicious.bin")), "system\", which no state dict needs");
  EXPECT_ERROR((void)TorchFile::open(made_by_torch("transposed.bin")),
               "\"w\" of shape [5, 3] does not lie in one piece");
  EXPECT_ERROR((void)TorchFile::open(made_by_torch("checkpoint.bin")), "entry \"epoch\" is no tensor");
  EXPECT_ERROR((void)TorchFile::open(made_by_torch("older.bin")), "older form");
  EXPECT_ERROR((void)TorchFile::open(made_by_torch("absent.bin")), "absent.bin");
}

TEST(TorchModel, ReadsAFolderOfSeveralFiles) {
  const auto model = open_weights(made_by_torch(""));
  std::vector<std::string> names;
  for (const TensorInfo& tensor : model->tensors()) names.push_back(tensor.name);
  std::vector<float> b(4), c(2);

  model->read(1, 0, 4, b.data());
  model->read(2, 3, 2, c.data());

  EXPECT_EQ(names, (std::vector<std::string>{"a", "b", "c"}));
  expect_values(b, 4);
  expect_values(c, 2, 3);
}

// Two files, bf16 and f16, no prefix, the tied head a second time: the numbers are those of the safetensors file,
// rounded.
TEST(TorchModel, ReadsTheSameModelAsItsSafetensors) {
  const auto expected = open_weights(made_by_torch("") / ".." / "tiny-families" / "bloom", "transformer.");
  const auto model = open_weights(made_by_torch("bloom"), "transformer.");
  const auto& tensors = model->tensors();
  ASSERT_EQ(tensors.size(), expected->tensors().size() + 1);
  for (std::size_t t = 0; t < expected->tensors().size(); ++t) {
    const TensorInfo& tensor = expected->tensors()[t];
    const auto at = std::find_if(tensors.begin(), tensors.end(), [&](const auto& x) { return x.name == tensor.name; });
    ASSERT_NE(at, tensors.end()) << tensor.name;
    EXPECT_EQ(at->shape, tensor.shape);
    std::vector<float> theirs(static_cast<std::size_t>(tensor.count())), ours(theirs.size());
    expected->read(static_cast<std::int32_t>(t), 0, tensor.count(), theirs.data());

    model->read(static_cast<std::int32_t>(at - tensors.begin()), 0, tensor.count(), ours.data());

    for (std::size_t i = 0; i < ours.size(); ++i) {
      const bool bf16 = ours[i] == static_cast<float>(bfloat16(theirs[i]));
      EXPECT_TRUE(bf16 || ours[i] == static_cast<float>(float16(theirs[i]))) << tensor.name << " " << i;
    }
  }
}

TEST(TorchModel, NamesWhatIsWrongWithAFolder) {
  const auto folder = fresh_folder();
  const std::string second = "pytorch_model-00002-of-00002.bin";
  std::filesystem::copy(made_by_torch("pytorch_model.bin.index.json"), folder / "pytorch_model.bin.index.json");
  std::filesystem::copy(made_by_torch("pytorch_model-00001-of-00002.bin"), folder / "pytorch_model-00001-of-00002.bin");

  EXPECT_TRUE(holds_weights(folder));
  EXPECT_ERROR((void)open_weights(folder), second);

  std::filesystem::copy(made_by_torch("pytorch_model-00001-of-00002.bin"), folder / second);
  EXPECT_ERROR((void)open_weights(folder), "lacks tensor \"b\"");
}

TEST(OpenWeights, PutsThePrefixOfTheBaseModelInFrontWhereItIsMissing) {
  const auto folder = made_by_torch("");

  EXPECT_EQ(open_weights(folder, "transformer.")->tensors()[0].name, "transformer.a");
  EXPECT_EQ(open_weights(folder, "a")->tensors()[0].name, "a") << "a file that has the prefix";
  EXPECT_TRUE(is_computed_buffer("h.3.attn.bias"));
  EXPECT_FALSE(is_computed_buffer("h.3.attn.c_attn.bias"));
}

/// A pickle of protocol 2 made of opcodes.
std::string refusal(const std::string& opcodes) {
  return error_of([&] { (void)read_state_dict("\x80\x02"s + opcodes, "here"); });
}

TEST(Pickle, RefusesWhateverStateDictsDoNotNeed) {
  EXPECT_NE(refusal("cos\nsystem\n.").find("\"os system\""), std::string::npos);
  EXPECT_NE(refusal("c__builtin__\neval\n.").find("\"__builtin__ eval\""), std::string::npos);
  EXPECT_NE(refusal("\x8c\x05posix\x8c\x06system\x93."s).find("\"posix system\""), std::string::npos);
  EXPECT_NE(refusal("i__main__\nX\n.").find("opcode 0x69"), std::string::npos) << "INST";
  EXPECT_NE(refusal("\x81."s).find("opcode 0x81"), std::string::npos) << "NEWOBJ";
  EXPECT_NE(refusal("K\x01.").find("no dictionary"), std::string::npos);
  EXPECT_NE(refusal("").find("ends in the middle"), std::string::npos);
  EXPECT_NE(refusal("X\xff\xff\xff\x7f"s + "abc").find("ends in the middle"), std::string::npos);
  EXPECT_NE(refusal("h\x07.").find("recalls value 7"), std::string::npos);
  EXPECT_NE(refusal("t.").find("ends a group"), std::string::npos);
  EXPECT_NE(refusal("}(K\x01u.").find("fills something else"), std::string::npos) << "a key without a value";
  EXPECT_NE(refusal("}K\x01K\x02s.").find("key that is no name"), std::string::npos);
  EXPECT_NE(refusal("ccollections\nOrderedDict\nK\x01\x85R."s).find("other arguments"), std::string::npos);
  EXPECT_NE(refusal("K\x01Q.").find("no storage"), std::string::npos);
  EXPECT_NE(refusal("\x8a\x09"s + "123456789.").find("beyond 64 bits"), std::string::npos);
  EXPECT_NE(error_of([] { (void)read_state_dict("\x80\x01}."s, "here"); }).find("protocol 1"), std::string::npos);
  EXPECT_TRUE(read_state_dict("\x80\x02}."s, "here").empty());
}

TEST(Pickle, BoundsWhatASmallFileMayAskFor) {
  // One value recalled and appended to itself again and again.
  std::string opcodes = "]q";
  opcodes += '\0';
  for (int i = 0; i < 5'000'000; ++i) opcodes += "Na";
  EXPECT_NE(refusal(opcodes + ".").find("more than 4000000 values"), std::string::npos);
  EXPECT_NE(refusal(std::string(5'000'000, '(') + ".").find("too many groups"), std::string::npos);
}

/// Opens the file and reads every tensor: works, or throws an Error that names the file.
void try_to_read(const std::filesystem::path& path) {
  try {
    const auto file = TorchFile::open(path);
    for (std::size_t i = 0; i < file.tensors().size(); ++i) {
      const auto& tensor = file.tensors()[i];
      ASSERT_LE(tensor.count, 4096) << "more elements than the file has bytes";
      std::vector<float> values(static_cast<std::size_t>(tensor.count));
      try {
        file.read_f32(static_cast<std::int32_t>(i), 0, tensor.count, values.data());
      } catch (const IoError&) {
      }
    }
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.where()).find("bent.bin"), std::string::npos) << error.what();
  }
}

TEST(TorchFile, SurvivesEveryCutAndEveryBentByte) {
  const auto folder = fresh_folder();
  const auto path = folder / "bent.bin";
  const std::string good = read_text(made_by_torch("good.bin"));
  for (std::size_t length = 0; length < good.size(); length += 7) {
    write_text(path, good.substr(0, length));
    EXPECT_ERROR((void)TorchFile::open(path), "bent.bin");
  }
  constexpr std::array<unsigned char, 4> bytes{0x00, 0x01, 0x7f, 0xff};  // in turns; the fuzzer tries the rest
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bent = good;
    bent[at] = static_cast<char>(bytes[at % bytes.size()]);
    write_text(path, bent);
    try_to_read(path);
  }
}

TEST(TorchFile, RefusesCompressedAndEncryptedMembers) {
  const auto path = fresh_folder() / "packed.bin";
  const std::string good = read_text(made_by_torch("plain_dict.bin"));
  const auto entry = good.find("PK\x01\x02");
  ASSERT_NE(entry, std::string::npos);
  std::string packed = good, encrypted = good;
  packed[entry + 10] = 8;
  encrypted[entry + 8] = static_cast<char>(encrypted[entry + 8] | 1);

  write_text(path, packed);
  EXPECT_ERROR((void)TorchFile::open(path), "compressed member");
  write_text(path, encrypted);
  EXPECT_ERROR((void)TorchFile::open(path), "encrypted member");
}

}  // namespace
}  // namespace dstrain::test
