// SPDX-License-Identifier: Apache-2.0
#include "io/files/file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "io/files/digest.hpp"
#include "io/files/jsonl.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

using test::fresh_folder;
using test::read_text;
using test::write_text;

TEST(Files, ReadFileGivesAllBytesUpToTheBound) {
  const auto path = fresh_folder() / "file";
  const std::string bytes(200'000, 'x');
  write_text(path, bytes);

  EXPECT_EQ(read_file(path, 200'000), bytes);
  EXPECT_ERROR((void)read_file(path, 199'999), "larger than 199999 bytes");
}

TEST(Files, ReadFileNamesWhatIsMissing) { EXPECT_ERROR((void)read_file(fresh_folder() / "absent", 10), "absent"); }

TEST(Files, OpenToReadRefusesFoldersAndPipes) {
  const auto folder = fresh_folder();
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);

  EXPECT_ERROR((void)open_to_read(folder), "not a regular file");
  EXPECT_ERROR((void)open_to_read(folder / "pipe"), "not a regular file");
}

TEST(Files, ReadAtRefusesToReadPastTheEnd) {
  const auto path = fresh_folder() / "file";
  write_text(path, "12345678");
  const auto file = open_to_read(path);
  char bytes[8] = {};

  read_at(file, 4, bytes, 4, path);

  EXPECT_EQ(std::string(bytes, 4), "5678");
  EXPECT_ERROR(read_at(file, 4, bytes, 5, path), "ends 1 bytes too early");
}

TEST(Files, AtomicWriteReplacesAndLeavesNothingElse) {
  const auto folder = fresh_folder();
  write_text(folder / "file", "old and longer");

  write_file_atomically(folder / "file", "new");

  EXPECT_EQ(read_text(folder / "file"), "new");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST(Files, FailedAtomicWriteKeepsTheOldFileAndFailsTheRun) {
  const auto folder = fresh_folder();
  std::filesystem::create_directory(folder / "taken");  // a folder cannot be replaced by a file

  try {
    write_file_atomically(folder / "taken", "new");
    FAIL() << "nothing was thrown";
  } catch (const IoError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::failed);
  }

  EXPECT_FALSE(std::filesystem::exists(folder / "taken.tmp"));
  EXPECT_TRUE(std::filesystem::is_directory(folder / "taken"));
}

TEST(Files, OnlyNamesThatStayInTheFolderArePlain) {
  for (const auto* name : {"a", "model.safetensors", "..a"}) EXPECT_TRUE(is_plain_file_name(name)) << name;
  for (const auto* name : {"", ".", "..", "a/b", "/etc/passwd", "../x"}) EXPECT_FALSE(is_plain_file_name(name)) << name;
  EXPECT_FALSE(is_plain_file_name(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_plain_file_name(std::string(256, 'a')));
}

TEST(Files, FreeDiskBytesIsPositiveHere) { EXPECT_GT(free_disk_bytes(fresh_folder()), 0); }

// The digest of nothing is in xxHash's own test table; the text form is its canonical representation, which xxhsum
// prints.
TEST(Digest, IsWrittenAsXxhsumWritesIt) {
  const std::string text = "dstrain\n";
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(text.data(), text.size()));
  std::string expected;
  for (const auto byte : canonical.digest) expected += fmt::format("{:02x}", byte);

  EXPECT_EQ(digest_of(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(digest_of(text), expected);
}

TEST(Digest, OfPiecesIsThatOfTheWhole) {
  const std::string text(100'000, 'q');
  Digest digest;
  digest.add(text.data(), 1);
  digest.add(text.data() + 1, 70'000);
  digest.add(text.data() + 70'001, 29'999);
  const auto path = fresh_folder() / "file";
  write_text(path, text);

  EXPECT_EQ(digest.hex(), digest_of(text));
  EXPECT_EQ(digest_of_file(path), digest_of(text));
  EXPECT_TRUE(is_digest(digest.hex()));
  EXPECT_FALSE(is_digest("00"));
}

TEST(JsonlFile, AppendsLinesAndKeepsThemOnReopening) {
  const auto path = fresh_folder() / "log.jsonl";
  JsonlFile(path, JsonlFile::Mode::truncate).append(R"({"a": 1})");
  JsonlFile(path, JsonlFile::Mode::append).append(R"({"a": 2})");

  EXPECT_EQ(read_text(path), "{\"a\": 1}\n{\"a\": 2}\n");

  JsonlFile(path, JsonlFile::Mode::truncate).append("{}");
  EXPECT_EQ(read_text(path), "{}\n");
}

TEST(JsonlFile, CutsOffTheLineThatAKilledWriterLeft) {
  const auto path = fresh_folder() / "log.jsonl";
  const std::string torn = "{\"long\": \"" + std::string(10'000, 'x');
  write_text(path, "{}\n" + torn);

  JsonlFile file(path, JsonlFile::Mode::append);
  file.append("[]");

  EXPECT_EQ(read_text(path), "{}\n[]\n");
  EXPECT_ERROR(file.append("{\n}"), "newline");
}

}  // namespace
}  // namespace dstrain
