#include "server/latency_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "engine/test_seed.h"

namespace thermocline {
namespace {

using Steps = std::vector<LatencyHistogram::Step>;

LatencyHistogram Of(const std::vector<uint64_t>& durations) {
  LatencyHistogram histogram;
  for (const uint64_t us : durations) histogram.Record(us);
  return histogram;
}

TEST(LatencyHistogram, NothingRecorded) {
  EXPECT_EQ(Of({}).calls(), 0u);
  EXPECT_EQ(Of({}).Cumulative(), Steps{});
  EXPECT_EQ(Of({}).PercentileUs(50), 0);
}

/// What Redis 7.0.15 printed for commands of these durations.
TEST(LatencyHistogram, PercentilesAreRedisNumbers) {
  struct Case {
    uint64_t us;
    double low, high;
  };
  const Case cases[] = {{0, 0.001, 0.001},       {1, 1.000, 1.003},
                        {2, 2.000, 2.007},       {5, 4.992, 5.023},
                        {7, 6.976, 7.007},       {16, 16.000, 16.063},
                        {76, 75.776, 76.287},    {128, 128.000, 128.511},
                        {708, 704.512, 708.607}, {5'000'000, 998.244352e3, 1002438.655}};
  for (const Case& c : cases) {
    EXPECT_DOUBLE_EQ(Of({c.us}).PercentileUs(0), c.low) << c.us;
    EXPECT_DOUBLE_EQ(Of({c.us}).PercentileUs(50), c.high) << c.us;
    EXPECT_DOUBLE_EQ(Of({c.us}).PercentileUs(100), c.high) << c.us;
  }
}

TEST(LatencyHistogram, StepsAreRedisSteps) {
  // One call at each end: Redis's labels, and the longest that still belongs to each.
  const std::vector<uint64_t> labels = {1,    2,    4,    8,    16,    33,    66,    132,    264,    528,
                                        1056, 2113, 4227, 8454, 16908, 33816, 67633, 135266, 270532, 541065};
  Steps expected;
  for (size_t i = 0; i < labels.size(); ++i) expected.push_back({labels[i], i + 1});
  EXPECT_EQ(Of(labels).Cumulative(), expected);
  for (size_t i = 0; i + 1 < labels.size(); ++i) {
    EXPECT_EQ(Of({labels[i] + 1}).Cumulative(), (Steps{{labels[i + 1], 1}})) << labels[i];
  }
  EXPECT_EQ(Of({541066}).Cumulative(), (Steps{{1073741, 1}}));
  EXPECT_EQ(Of({1'000'000, UINT64_MAX}).Cumulative(), (Steps{{1073741, 2}}));
  EXPECT_EQ(Of({0, 1, 1, 2}).Cumulative(), (Steps{{1, 3}, {2, 4}}));
}

TEST(LatencyHistogram, PercentilesAreWithinOnePercent) {
  std::mt19937_64 random(TestSeed(20));
  std::vector<uint64_t> durations;
  for (int i = 0; i < 20000; ++i) durations.push_back(random() % (uint64_t{1} << (1 + random() % 19)));
  const LatencyHistogram histogram = Of(durations);
  std::sort(durations.begin(), durations.end());
  for (const double percentile : {0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    const auto rank = static_cast<size_t>(percentile / 100 * static_cast<double>(durations.size()) + 0.5);
    const auto exact = static_cast<double>(durations[std::max<size_t>(1, rank) - 1]);
    EXPECT_NEAR(histogram.PercentileUs(percentile), exact, 0.01 + exact * 0.01) << percentile;
  }
  uint64_t calls = 0, us = 0;
  for (const LatencyHistogram::Step& step : histogram.Cumulative()) {
    EXPECT_GT(step.us, us);
    EXPECT_GT(step.calls, calls);
    us = step.us;
    calls = step.calls;
    EXPECT_EQ(static_cast<uint64_t>(std::upper_bound(durations.begin(), durations.end(), step.us) -
                                    durations.begin()),
              step.calls);
  }
  EXPECT_EQ(calls, durations.size());
}

TEST(LatencyHistogram, NamesOfPercentiles) {
  EXPECT_EQ(PercentileName(50), "50");
  EXPECT_EQ(PercentileName(99.9), "99.9");
  EXPECT_EQ(PercentileName(12.3456789), "12.345679");
  EXPECT_EQ(PercentileName(0.0000001), "0");
  EXPECT_EQ(PercentileName(100), "100");
}

}  // namespace
}  // namespace thermocline
