// SPDX-License-Identifier: Apache-2.0
#include "comm/flight_recorder.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "comm/watchdog.hpp"

namespace dstrain {
namespace {

TEST(FlightRecorder, KeepsTheLastCallsInOrder) {
  FlightRecorder recorder;
  for (int i = 0; i < 300; ++i) recorder.end(recorder.begin(CommOp::all_gather, "unit", i));

  const auto entries = recorder.entries();

  ASSERT_EQ(entries.size(), FlightRecorder::capacity);
  EXPECT_EQ(entries.front().sequence, 300 - FlightRecorder::capacity + 1);
  EXPECT_EQ(entries.back().sequence, 300U);
  EXPECT_EQ(entries.back().bytes, 299);
  FlightEntry open;
  EXPECT_FALSE(recorder.oldest_open(open));
}

TEST(FlightRecorder, CountsTransfersApart) {
  FlightRecorder recorder;
  recorder.end(recorder.begin(CommOp::send, "a", 1));
  recorder.end(recorder.begin(CommOp::recv, "b", 1));
  recorder.end(recorder.begin(CommOp::barrier, "c", 0));

  const auto entries = recorder.entries();

  EXPECT_EQ(describe(entries[1]), "recv #2, b");
  EXPECT_EQ(describe(entries[2]), "barrier #1, c");
}

TEST(FlightRecorder, KnowsTheOtherEndOfAMessageAndTheNewestCall) {
  FlightRecorder recorder;
  FlightEntry entry;
  EXPECT_FALSE(recorder.newest(entry));
  recorder.end(recorder.begin(CommOp::recv, "batch", 1, 3));

  ASSERT_TRUE(recorder.newest(entry));
  EXPECT_FALSE(entry.open());
  EXPECT_EQ(describe(entry), "recv #1, batch, from rank 3");
  recorder.begin(CommOp::send, "reply", 1, 2);
  ASSERT_TRUE(recorder.newest(entry));
  EXPECT_EQ(describe(entry), "send #2, reply, to rank 2");
}

TEST(FlightRecorder, FindsTheCallThatIsOpenLongest) {
  FlightRecorder recorder;
  recorder.end(recorder.begin(CommOp::barrier, "done", 0));
  const auto ticket = recorder.begin(CommOp::reduce_scatter, "layer 3", 64);
  recorder.begin(CommOp::send, "later", 1);
  FlightEntry open;

  ASSERT_TRUE(recorder.oldest_open(open));

  EXPECT_EQ(describe(open), "reduce_scatter #2, layer 3");
  recorder.end(ticket);
  ASSERT_TRUE(recorder.oldest_open(open));
  EXPECT_EQ(describe(open), "send #1, later");
}

TEST(FlightRecorder, ClosesACallThatThrows) {
  FlightRecorder recorder;
  try {
    const FlightRecorder::Call call(recorder, CommOp::broadcast, "x", 1);
    throw 1;
  } catch (int) {
  }
  FlightEntry open;
  EXPECT_FALSE(recorder.oldest_open(open));
}

// Readers see whole entries only: sequence and bytes are written as equal numbers.
TEST(FlightRecorder, IsReadWhileItIsWritten) {
  FlightRecorder recorder;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (std::int64_t i = 1; !stop.load(); ++i) recorder.end(recorder.begin(CommOp::all_reduce, "w", i));
  });
  for (int round = 0; round < 2000; ++round) {
    for (const auto& entry : recorder.entries()) ASSERT_EQ(entry.bytes, static_cast<std::int64_t>(entry.sequence));
  }
  stop = true;
  writer.join();
}

TEST(Watchdog, NamesTheCallThatTakesTooLong) {
  FlightRecorder recorder;
  std::promise<std::string> said;
  auto message = said.get_future();
  const Watchdog watchdog(recorder, 0.05, [&](const std::string& where) { said.set_value(where); });

  recorder.begin(CommOp::reduce_scatter, "layer 12 backward", 8);

  ASSERT_EQ(message.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  const std::string text = message.get();
  EXPECT_EQ(text.find("waits 0."), 0U) << text;
  EXPECT_NE(text.find("in reduce_scatter #1, layer 12 backward"), std::string::npos) << text;
}

TEST(Watchdog, IsSilentWhenCallsEnd) {
  FlightRecorder recorder;
  std::atomic<int> alarms{0};
  {
    const Watchdog watchdog(recorder, 0.1, [&](const std::string&) { ++alarms; });
    for (int i = 0; i < 20; ++i) {
      const FlightRecorder::Call call(recorder, CommOp::barrier, "short", 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  EXPECT_EQ(alarms, 0);
}

TEST(Watchdog, StopsAtOnce) {
  FlightRecorder recorder;
  const auto start = std::chrono::steady_clock::now();
  {
    const Watchdog watchdog(recorder, 1800, [](const std::string&) {});
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(900));
}

}  // namespace
}  // namespace dstrain
