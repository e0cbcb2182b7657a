// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/drain.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "io/files/digest.hpp"
#include "io/files/file.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t piece_bytes = 256 << 10;

/// A state whose owner overwrites it, and the file that it goes to.
class Drain : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    path_ = test::fresh_folder() / "shard";
    state_.resize(pieces_count * piece_bytes);
    for (std::size_t i = 0; i < state_.size(); ++i) state_[i] = static_cast<char>(i * 2654435761U >> 13);
    expected_ = state_;
    (void)create_to_write(path_);
  }

  /// Every piece in its place, but in a file where they do not follow each other.
  std::vector<DrainPiece> pieces() const {
    std::vector<DrainPiece> list;
    for (std::int64_t i = 0; i < pieces_count; ++i)
      list.push_back({state_.data() + i * piece_bytes, piece_bytes, 100 + (pieces_count - 1 - i) * piece_bytes});
    return list;
  }

  static constexpr std::int64_t pieces_count = 96;
  std::filesystem::path path_;
  std::vector<char> state_;
  std::vector<char> expected_;
};

// The parameter: how many pieces the copies hold.
TEST_P(Drain, WritesWhatTheStateWasAlthoughItsOwnerGoesOn) {
  std::vector<char> copies(static_cast<std::size_t>(GetParam()) * piece_bytes);

  ShardDrain drain(path_, pieces(), View(std::span<char>(copies).data(), std::ssize(copies), DType::u8), 60.0);
  drain.secure();
  std::fill(state_.begin(), state_.end(), '!');
  drain.wait();

  EXPECT_EQ(drain.state(), DrainState::done);
  ASSERT_EQ(drain.digests().size(), static_cast<std::size_t>(pieces_count));
  EXPECT_LE(drain.copied_bytes(), std::ssize(copies));
  const auto written = read_file(path_, 1 << 30);
  for (std::int64_t i = 0; i < pieces_count; ++i) {
    const auto* piece = expected_.data() + i * piece_bytes;
    EXPECT_EQ(std::memcmp(written.data() + 100 + (pieces_count - 1 - i) * piece_bytes, piece, piece_bytes), 0) << i;
    EXPECT_EQ(drain.digests()[static_cast<std::size_t>(i)], digest_of(piece, piece_bytes)) << i;
  }
}

// An owner that waits takes part in the hashing: every digest once, by whoever comes to it.
TEST_F(Drain, AWaitingOwnerMakesTheSameDigests) {
  for (int turn = 0; turn < 8; ++turn) {
    ShardDrain drain(path_, pieces(), View(), 60.0);
    drain.wait();

    for (std::int64_t i = 0; i < pieces_count; ++i)
      ASSERT_EQ(drain.digests()[static_cast<std::size_t>(i)],
                digest_of(expected_.data() + i * piece_bytes, piece_bytes))
          << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Copies, Drain, testing::Values(0, 1, 7, 96));

TEST_F(Drain, AFullDiskIsAnErrorThatSecureDoesNotWaitFor) {
  ShardDrain drain("/dev/full", pieces(), View(), 60.0);

  drain.secure();  // nothing fits into no copies: it returns because the drain gave up

  EXPECT_ERROR(drain.wait(), "No space left on device (/dev/full)");
  EXPECT_EQ(drain.state(), DrainState::failed);
}

TEST_F(Drain, AVanishedFileIsAnError) {
  std::filesystem::remove(path_);

  ShardDrain drain(path_, pieces(), View(), 60.0);

  EXPECT_ERROR(drain.wait(), "No such file");
}

TEST_F(Drain, StopsWhenItsOwnerLeaves) {
  { const ShardDrain drain(path_, pieces(), View(), 60.0); }

  EXPECT_LE(std::filesystem::file_size(path_), 100U + state_.size());
}

}  // namespace
}  // namespace dstrain
