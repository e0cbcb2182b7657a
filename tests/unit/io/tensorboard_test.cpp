// SPDX-License-Identifier: Apache-2.0
/// TensorBoard event files: the checksum's published values, and the bytes that TensorBoard's own writer gives
/// (tests/oracle/make_tensorboard.py).
#include <gtest/gtest.h>

#include <filesystem>

#include "io/files/file.hpp"
#include "io/tensorboard/crc32c.hpp"
#include "io/tensorboard/event_file.hpp"

namespace dstrain {
namespace {

TEST(Crc32c, HasThePublishedValues) {
  EXPECT_EQ(crc32c(""), 0x00000000U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
}

TEST(EventFile, RecordsAreThoseOfTensorBoardsWriter) {
  const auto expected =
      read_file(std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests/oracle/tensorboard.events", 1 << 20);

  const auto records = tf_record(version_event(1700000000.25)) +
                       tf_record(scalar_event("train/loss", 2.5F, 1, 1700000001.5)) +
                       tf_record(scalar_event("eval/accuracy", 0.0F, 300, 1700000002.0)) +
                       tf_record(scalar_event("train/learning_rate", -1.25e-7F, 1LL << 40, 1700000003.0)) +
                       tf_record(text_event("args/text_summary", std::string(200, 'x') + "\n\xC3\xA9", 1700000004.0));

  EXPECT_EQ(records, expected);
}

TEST(EventFile, AppendsWholeRecordsToAFileThatTensorBoardFinds) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / "tensorboard" / "runs";
  std::filesystem::remove_all(folder);

  EventFile events(folder, 1700000000.25);
  events.add_scalar("train/loss", 2.5, 1, 1700000001.5);
  events.add_text("args", "lr: 1", 1700000002.0);

  EXPECT_EQ(events.path().filename().string().rfind("events.out.tfevents.1700000000.", 0), 0U);
  EXPECT_EQ(read_file(events.path(), 1 << 20), tf_record(version_event(1700000000.25)) +
                                                   tf_record(scalar_event("train/loss", 2.5F, 1, 1700000001.5)) +
                                                   tf_record(text_event("args/text_summary", "lr: 1", 1700000002.0)));
}

}  // namespace
}  // namespace dstrain
