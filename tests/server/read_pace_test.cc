#include "server/read_pace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace thermocline {
namespace {

class ReadPaceTest : public testing::Test {
 protected:
  struct Share {
    double delayed = 0;  ///< of the time, beyond what the wakes take
    double hot = 1;      ///< of 1,000 commands per window
    uint64_t reads_per_second = 20'000;
    uint64_t wakes = 100;
  };

  /// So many windows that are all alike; never more reads than were let through.
  uint32_t Windows(int count, const Share& share) {
    for (int i = 0; i < count; ++i) {
      counts_.us += ReadPace::kWindowUs;
      counts_.run_delay.slices += share.wakes;
      counts_.run_delay.waited_ns +=
          share.wakes * 10'000 + static_cast<uint64_t>(share.delayed * ReadPace::kWindowUs * 1000);
      counts_.commands += 1000;
      counts_.hot_commands += static_cast<uint64_t>(share.hot * 1000);
      const uint64_t reads = pace_.limit() > 0 ? std::min<uint64_t>(pace_.limit(), share.reads_per_second)
                                               : share.reads_per_second;
      counts_.reads += reads * ReadPace::kWindowUs / 1'000'000;
      pace_.Look(counts_);
    }
    return pace_.limit();
  }

  ReadPace pace_;
  ReadPace::Counts counts_;
};

TEST_F(ReadPaceTest, CoresToSpareMeanNoLimit) { EXPECT_EQ(Windows(200, {.delayed = 0.01}), 0u); }

TEST_F(ReadPaceTest, WakingUpIsNoDelay) { EXPECT_EQ(Windows(200, {.wakes = 900}), 0u); }

TEST_F(ReadPaceTest, OtherProgramsHaveTheCores) {
  EXPECT_EQ(Windows(200, {.delayed = 0.5, .wakes = 5}), 0u) << "a millisecond each time";
}

TEST_F(ReadPaceTest, NobodyIsHot) {
  EXPECT_EQ(Windows(200, {.delayed = 0.5, .hot = 0.05}), 0u) << "all clients need the disk";
}

TEST_F(ReadPaceTest, FallsToTheFloorAndNoFurther) {
  const uint32_t soon = Windows(10, {.delayed = 0.2});
  EXPECT_GT(soon, ReadPace::kFloor);
  EXPECT_LT(soon, 20'000u);
  EXPECT_EQ(Windows(100, {.delayed = 0.2}), ReadPace::kFloor);
}

TEST_F(ReadPaceTest, RisesUntilItLimitsNothing) {
  Windows(100, {.delayed = 0.2});
  const uint32_t soon = Windows(50, {});
  EXPECT_GT(soon, ReadPace::kFloor);
  EXPECT_LT(soon, 20'000u);
  EXPECT_EQ(Windows(1000, {}), 0u);
}

TEST_F(ReadPaceTest, FindsTheRateThatKeepsTheDelaySmall) {
  // Each read takes 10 us of the keyspace thread's time: 4,000 of them are the share that it may lose.
  Windows(100, {.delayed = 0.2});
  uint64_t sum = 0;
  for (int i = 0; i < 1000; ++i) {
    sum += Windows(1, {.delayed = pace_.limit() > 0 ? pace_.limit() * 10e-6 : 0.2});
  }
  EXPECT_NEAR(static_cast<double>(sum) / 1000, 4000, 400);
}

TEST_F(ReadPaceTest, GoesWhenTheHotClientsGo) {
  ASSERT_GT(Windows(100, {.delayed = 0.2}), 0u);
  EXPECT_EQ(Windows(20, {.delayed = 0.2, .hot = 0}), 0u);
}

TEST_F(ReadPaceTest, CountsThatWereSetBack) {
  Windows(100, {.delayed = 0.2});
  counts_.commands = counts_.reads = 0;
  EXPECT_EQ(Windows(20, {.delayed = 0.2}), ReadPace::kFloor);
}

TEST(RunDelayTest, GrowsWhileThreadsShareACore) {
  RunDelay delay;
  const std::optional<RunDelay::Reading> before = delay.Read();
  if (!before) GTEST_SKIP() << "this system does not count it";
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (unsigned i = 0; i < 2 * std::thread::hardware_concurrency(); ++i) {
    others.emplace_back([&stop] {
      while (!stop) {
      }
    });
  }
  std::optional<RunDelay::Reading> now = before;
  for (uint64_t work = 0; now && now->waited_ns - before->waited_ns < 1'000'000 && work < 1'000'000; ++work) {
    now = delay.Read();
  }
  stop = true;
  for (std::thread& other : others) other.join();
  ASSERT_TRUE(now.has_value());
  EXPECT_GE(now->waited_ns - before->waited_ns, 1'000'000u);
  EXPECT_GT(now->slices, before->slices);
}

}  // namespace
}  // namespace thermocline
