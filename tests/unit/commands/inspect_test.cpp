// SPDX-License-Identifier: Apache-2.0
/// `dstrain inspect` on checkpoints whose every value is known: verify, pack, diff, and their exit codes.
#include <gtest/gtest.h>
#include <hdf5.h>

#include <bit>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "commands/commands.hpp"
#include "core/error.hpp"
#include "io/checkpoint/diff.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/checkpoint/pack.hpp"
#include "io/checkpoint/read.hpp"
#include "io/checkpoint/view.hpp"
#include "unit/io/checkpoint_test_support.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain::inspect_test {
namespace {

namespace fs = std::filesystem;
using commands::Words;
using test::save;
using test::test_tensors;

std::pair<ExitCode, std::string> inspect(const Words& words) {
  testing::internal::CaptureStdout();
  ExitCode code = ExitCode::failed;
  try {
    code = commands::inspect(words);
  } catch (...) {
    (void)testing::internal::GetCapturedStdout();
    throw;
  }
  return {code, testing::internal::GetCapturedStdout()};
}

/// A second checkpoint like save()'s whose content `change` has had in hand.
template <typename Change>
fs::path save_changed(const fs::path& output_dir, const Change& change, std::int64_t step = 7) {
  LocalCommunicator comm;
  auto data = test::make_test_content(0, 1);
  change(data);
  return write_checkpoint(comm, output_dir, step, data.content, {.save_total_limit = {}, .piece_count = 33});
}

std::vector<float> packed_values(const fs::path& file, const std::string& name, std::size_t count) {
  const hdf5::Gate gate;
  const auto opened = hdf5::open_file(file);
  std::vector<float> values(count, -1.0F);
  const hdf5::Dataset dataset(H5Dopen2(opened.get(), name.c_str(), H5P_DEFAULT));
  EXPECT_TRUE(dataset) << name;
  if (count > 0) {
    EXPECT_GE(H5Dread(dataset.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0) << name;
  }
  return values;
}

TEST(InspectPack, WritesEveryTensorUnderItsNameInOnePlainFile) {
  const auto output_dir = test::fresh_folder();
  const auto folder = save(output_dir, 7);
  const auto file = output_dir / "packed.h5";

  const auto [code, text] = inspect({folder.string(), "--pack", file.string(), "--json"});

  ASSERT_EQ(code, ExitCode::good);
  auto reader = CheckpointReader::open(folder);
  std::int64_t tensors = 0;
  fs::remove_all(folder);  // a plain file needs no shards
  for (const auto kind : all_checkpoint_kinds()) {
    for (std::size_t t = 0; t < test_tensors.size(); ++t) {
      const auto index = static_cast<std::int32_t>(t);
      if (!reader.has(kind, index)) continue;
      ++tensors;
      const auto count = static_cast<std::size_t>(count_of(kind, test_tensors[t]));
      const std::string group = kind == CheckpointKind::parameter ? "" : std::string(name_of(kind)) + "/";
      const auto values = packed_values(file, group + test_tensors[t].name, count);
      for (std::size_t i = 0; i < count; ++i) {
        const float expected = test::test_value(kind, index, static_cast<std::int64_t>(i));
        // HDF5 has no bfloat16: its bits stand there as whole numbers, the upper half of those of fp32.
        const bool bits = storage_of(kind) == DType::bf16;
        ASSERT_EQ(values[i], bits ? static_cast<float>(std::bit_cast<std::uint32_t>(expected) >> 16) : expected)
            << group << t << " " << i;
      }
    }
  }
  EXPECT_EQ(nlohmann::json::parse(text)["tensors"], tensors);
  const hdf5::Gate gate;
  const auto opened = hdf5::open_file(file);
  const hdf5::Dataset dataset(H5Dopen2(opened.get(), test_tensors[2].name.c_str(), H5P_DEFAULT));
  const hdf5::PropertyList list(H5Dget_create_plist(dataset.get()));
  EXPECT_EQ(H5Pget_layout(list.get()), H5D_CONTIGUOUS);
  const hdf5::Space space(H5Dget_space(dataset.get()));
  EXPECT_EQ(H5Sget_simple_extent_ndims(space.get()), 3);
  EXPECT_GT(H5Aexists(opened.get(), "step"), 0);
  EXPECT_GT(H5Aexists(opened.get(), "trainer_state"), 0);
}

TEST(InspectPack, LeavesNothingBehindWhereTheCheckpointIsDamaged) {
  const auto output_dir = test::fresh_folder();
  const auto folder = save(output_dir, 7);
  const auto manifest = read_manifest(folder);
  test::flip_bit(folder / manifest.shards[0].file, manifest.shards[0].datasets[0].offset + 40);

  EXPECT_THROW(inspect({folder.string(), "--pack", (output_dir / "packed.h5").string()}), IoError);

  EXPECT_FALSE(fs::exists(output_dir / "packed.h5"));
  EXPECT_FALSE(fs::exists(output_dir / "packed.h5.part"));
}

TEST(InspectPack, NeverReplacesAFile) {
  const auto output_dir = test::fresh_folder();
  const auto folder = save(output_dir, 7);
  std::ofstream(output_dir / "packed.h5") << "mine";

  EXPECT_THROW(inspect({folder.string(), "--pack", (output_dir / "packed.h5").string()}), ConfigError);

  EXPECT_EQ(fs::file_size(output_dir / "packed.h5"), 4U);
}

TEST(InspectDiff, FindsNoDifferenceInTheSameValuesCutOtherwise) {
  const auto a = save(test::fresh_folder() / "a", 7);
  const auto b = save_changed(a.parent_path().parent_path() / "b", [](auto&) {});

  const auto [code, text] = inspect({"--diff", a.string(), b.string(), "--json"});

  EXPECT_EQ(code, ExitCode::good) << text;
  EXPECT_TRUE(nlohmann::json::parse(text)["same"]);
}

TEST(InspectDiff, MeasuresWhatDiffersAndNamesWhatIsMissing) {
  const auto folder = test::fresh_folder();
  const auto a = save(folder / "a", 7);
  const auto b = save_changed(folder / "b", [](test::TestContent& data) {
    auto& values = data.buffers[0];  // the embedding: element i is i
    values[100] = 150.0F;
    values[200] = std::numeric_limits<float>::quiet_NaN();
    auto& moments = data.content[CheckpointKind::exp_avg];
    std::erase_if(moments, [](const LocalSlice& slice) { return slice.tensor == 3; });
    data.content.metadata["config"][5] = 'x';
  });

  const auto difference = compare_checkpoints(a, b);

  ASSERT_EQ(difference.tensors.size(), 2U);
  const auto& values = difference.tensors[0];
  EXPECT_EQ(values.tensor, "model.embed_tokens.weight");
  EXPECT_EQ(values.differing, 2);
  EXPECT_EQ(values.not_finite, 1);
  EXPECT_EQ(values.max_absolute, 50.0);
  EXPECT_DOUBLE_EQ(values.max_relative, 50.0 / 150.0);
  EXPECT_EQ(difference.tensors[1].tensor, "lm_head.weight");
  EXPECT_EQ(difference.tensors[1].problem, "only in the first");
  ASSERT_EQ(difference.metadata.size(), 1U);
  EXPECT_EQ(difference.metadata[0].problem, "differs from byte 5 on (100000 and 100000 bytes)");
  EXPECT_EQ(inspect({"--diff", a.string(), b.string()}).first, ExitCode::failed);
  EXPECT_EQ(compare_checkpoints(b, a).tensors[1].problem, "only in the second");
}

TEST(InspectDiff, TensorsOnlyForgivesAnotherStep) {
  const auto folder = test::fresh_folder();
  const auto a = save(folder / "a", 7);
  const auto b = save_changed(
      folder / "b", [](auto&) {}, 8);

  EXPECT_EQ(inspect({"--diff", a.string(), b.string()}).first, ExitCode::failed);
  EXPECT_EQ(inspect({"--diff", a.string(), b.string(), "--tensors-only"}).first, ExitCode::good);
}

TEST(InspectVerify, ListsDamageAsJson) {
  const auto folder = save(test::fresh_folder(), 7);
  EXPECT_EQ(inspect({folder.string(), "--verify"}).first, ExitCode::good);
  const auto manifest = read_manifest(folder);
  test::flip_bit(folder / manifest.shards[0].file, manifest.shards[0].datasets[0].offset + 40);

  const auto [code, text] = inspect({folder.string(), "--verify", "--json"});

  EXPECT_EQ(code, ExitCode::failed);
  const auto json = nlohmann::json::parse(text);
  EXPECT_FALSE(json["sound"]);
  EXPECT_EQ(json["damages"][0]["file"], "shard-00001-of-00001.h5");
  EXPECT_EQ(json["damages"][0]["tensor"], "model.embed_tokens.weight");
}

TEST(InspectVerify, ADamagedManifestIsDamageAndAnotherFolderIsNot) {
  const auto folder = save(test::fresh_folder(), 7);
  test::flip_bit(folder / manifest_name, 100);

  EXPECT_EQ(inspect({folder.string(), "--verify"}).first, ExitCode::failed);
  EXPECT_THROW(inspect({folder.parent_path().string(), "--verify"}), IoError);
}

// A view that was written wrong but consistently: its own digest agrees, its values are those of another place.
TEST(InspectVerify, LooksThroughTheView) {
  const auto folder = save(test::fresh_folder(), 7);
  auto manifest = read_manifest(folder);
  auto wrong = manifest;
  auto& slabs = wrong.shards[0].datasets[0].slabs;
  ASSERT_GT(slabs[0].count, slabs[2].count);
  std::swap(slabs[0].at, slabs[2].at);
  write_view(folder, wrong, {});

  EXPECT_NO_THROW([&] {
    auto sound = manifest;
    const auto other = folder.parent_path() / "other";
    fs::create_directories(other);
    fs::copy_file(folder / sound.shards[0].file, other / sound.shards[0].file);
    write_view(other, sound, {});
    check_view(other, sound);
  }());
  EXPECT_THROW(check_view(folder, manifest), IoError);
}

TEST(InspectWords, AreChecked) {
  const auto folder = save(test::fresh_folder(), 7).string();
  EXPECT_THROW(inspect({}), ConfigError);
  EXPECT_THROW(inspect({"--diff", folder}), ConfigError);
  EXPECT_THROW(inspect({folder, "--verify", "--diff", folder}), ConfigError);
  EXPECT_THROW(inspect({folder, "--pack"}), ConfigError);
  EXPECT_THROW(inspect({folder, "--tensors-only"}), ConfigError);
  EXPECT_THROW(inspect({folder, "--verfy"}), ConfigError);
  EXPECT_EQ(inspect({"--help"}).first, ExitCode::good);
}

}  // namespace
}  // namespace dstrain::inspect_test
