// SPDX-License-Identifier: Apache-2.0
#include "cluster/placement_formats.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain::placement_formats_test {
namespace {

const Placement placement = {{"a", {0, 2}}, {"me@b", {1}}};

TEST(PlacementFormats, SpeakEachLaunchersWords) {
  EXPECT_EQ(format_placement(placement, LauncherFormat::openmpi),
            "# mpirun -np 3 --hostfile THIS --map-by slot --bind-to none\na slots=2\nme@b slots=1\n");
  EXPECT_EQ(format_placement(placement, LauncherFormat::rankfile),
            "rank 0=a slot=0\nrank 1=a slot=1\nrank 2=me@b slot=0\n");
  EXPECT_EQ(format_placement(placement, LauncherFormat::slurm), "a\na\nb\n");
  EXPECT_EQ(format_placement(placement, LauncherFormat::hydra), "a:2\nb:1\n");
  const auto json = format_placement(placement, LauncherFormat::json);
  EXPECT_NE(json.find("\"device_list\": \"a:0,2@b:1\""), std::string::npos) << json;
  EXPECT_NE(json.find("\"first_rank\": 2"), std::string::npos) << json;
}

TEST(PlacementFormats, EveryRankFindsItsDevice) {
  const auto list = device_list(placement);
  EXPECT_EQ(device_of(list, "a", 0), 0);
  EXPECT_EQ(device_of(list, "a", 1), 2);
  EXPECT_EQ(device_of(list, "b", 0), 1);
  EXPECT_EQ(device_of(list, "a", 2), -1);
  EXPECT_EQ(device_of(list, "c", 0), -1);
  EXPECT_EQ(device_of(list, "a", -1), -1);
  EXPECT_EQ(device_of("a:x", "a", 0), -1);
  EXPECT_EQ(device_of("", "a", 0), -1);
}

TEST(PlacementFormats, AnUnknownFormatIsNamed) {
  EXPECT_EQ(parse_launcher_format("hydra"), LauncherFormat::hydra);
  EXPECT_THROW(parse_launcher_format("pdsh"), ConfigError);
}

}  // namespace
}  // namespace dstrain::placement_formats_test
