// SPDX-License-Identifier: Apache-2.0
/// on_all_ranks and the string helpers on one rank; tests/distributed/comm has the same with several.
#include <gtest/gtest.h>

#include <stdexcept>

#include "comm/agreed_error.hpp"
#include "comm/local_communicator.hpp"

namespace dstrain {
namespace {

TEST(OnAllRanks, KeepsWordsAndCodeOfTheError) {
  LocalCommunicator comm;
  try {
    on_all_ranks(comm, "planning", [] { throw RefusedError("does not fit", "rank 0", "use more ranks"); });
    FAIL();
  } catch (const AgreedError& error) {
    EXPECT_STREQ(error.what(), "does not fit");
    EXPECT_EQ(error.where(), "rank 0");
    EXPECT_EQ(error.hint(), "use more ranks");
    EXPECT_EQ(error.exit_code(), ExitCode::refused);
  }
}

TEST(OnAllRanks, TakesForeignExceptions) {
  LocalCommunicator comm;
  EXPECT_THROW(on_all_ranks(comm, "x", [] { throw std::runtime_error("library"); }), AgreedError);
  EXPECT_THROW(on_all_ranks(comm, "x", [] { throw std::bad_alloc(); }), AgreedError);
  EXPECT_THROW(on_all_ranks(comm, "x", [] { throw 3; }), AgreedError);  // NOLINT: that is the case
}

TEST(Strings, ComeBackOnOneRank) {
  LocalCommunicator comm;
  EXPECT_EQ(broadcast_string(comm, std::string("a\0b", 3)), std::string("a\0b", 3));
  EXPECT_EQ(all_gather_strings(comm, "own"), std::vector<std::string>{"own"});
  EXPECT_EQ(all_gather_strings(comm, ""), std::vector<std::string>{""});
}

}  // namespace
}  // namespace dstrain
