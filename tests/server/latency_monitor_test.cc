#include "server/latency_monitor.h"

#include <gtest/gtest.h>

#include <vector>

namespace thermocline {
namespace {

using Samples = std::vector<LatencyMonitor::Sample>;

TEST(LatencyMonitor, NamesFindTheirEvents) {
  for (size_t i = 0; i < kLatencyEvents; ++i) {
    const auto event = static_cast<LatencyEvent>(i);
    EXPECT_EQ(FindLatencyEvent(LatencyEventName(event)), event);
  }
  EXPECT_FALSE(FindLatencyEvent("COMMAND").has_value());
  EXPECT_FALSE(FindLatencyEvent("").has_value());
}

TEST(LatencyMonitor, OneSampleASecondTheSlowest) {
  LatencyMonitor::Series series;
  EXPECT_TRUE(series.empty());
  series.Add(20, 100);
  series.Add(50, 100);
  series.Add(30, 100);
  EXPECT_EQ(series.samples(), (Samples{{100, 50}}));
  series.Add(10, 101);
  EXPECT_EQ(series.samples(), (Samples{{100, 50}, {101, 10}}));
  EXPECT_EQ(series.latest(), (LatencyMonitor::Sample{101, 10}));
  EXPECT_EQ(series.max_ms(), 50u);
}

TEST(LatencyMonitor, TheOldestSampleLeaves) {
  LatencyMonitor::Series series;
  constexpr size_t kMax = LatencyMonitor::Series::kSamplesMax;
  for (size_t i = 0; i < 2 * kMax + 7; ++i) {
    series.Add(i == 3 ? 999 : i, 1000 + i);
    EXPECT_EQ(series.latest().time_s, 1000 + i);
    const Samples samples = series.samples();
    ASSERT_EQ(samples.size(), std::min(i + 1, kMax));
    EXPECT_EQ(samples.back().time_s, 1000 + i);
    EXPECT_EQ(samples.front().time_s, 1000 + i + 1 - samples.size());
  }
  EXPECT_EQ(series.max_ms(), 999u);
  series.Add(5000, 1000 + 2 * kMax + 6);  // the second of the last one
  EXPECT_EQ(series.latest().ms, 5000u);
  EXPECT_EQ(series.samples().size(), kMax);
}

TEST(LatencyMonitor, ResetIsPerEvent) {
  LatencyMonitor monitor;
  monitor.Add(LatencyEvent::kCommit, 7, 1);
  monitor.Add(LatencyEvent::kFsync, 8, 1);
  monitor.Reset(LatencyEvent::kCommit);
  EXPECT_TRUE(monitor.series(LatencyEvent::kCommit).empty());
  EXPECT_EQ(monitor.series(LatencyEvent::kCommit).max_ms(), 0u);
  EXPECT_EQ(monitor.series(LatencyEvent::kFsync).max_ms(), 8u);
}

TEST(LatencyGraph, IsRedisPicture) {
  LatencyMonitor::Series series;
  series.Add(20, 100);
  series.Add(3, 101);
  EXPECT_EQ(LatencyGraph(LatencyEvent::kCommand, series, 101),
            "command - high 20 ms, low 3 ms (all time high 20 ms)\n" + std::string(80, '-') +
                "\n"
                "# \n"
                "| \n"
                "| \n"
                "|_\n"
                "  \n"
                "10\n"
                "ss\n");
}

TEST(LatencyGraph, LongSeriesAreBroken) {
  LatencyMonitor::Series series;
  for (uint64_t i = 0; i < 100; ++i) series.Add(5, 100 + i);
  const std::string graph = LatencyGraph(LatencyEvent::kSweep, series, 100 + 3600 * 50);
  EXPECT_NE(graph.find("\n" + std::string(80, '_') + "\n" + std::string(80, ' ') + "\n"), std::string::npos);
  EXPECT_NE(graph.find("\n" + std::string(20, '_') + "\n" + std::string(20, ' ') + "\n"), std::string::npos);
  EXPECT_NE(graph.find("\n" + std::string(80, '2') + "\n" + std::string(80, 'd') + "\n"), std::string::npos);
}

TEST(LatencyReport, SaysWhatIsOnAndWhatWasSlow) {
  LatencyMonitor monitor;
  EXPECT_NE(LatencyReport(monitor, {}, 10).find("is off"), std::string::npos);
  EXPECT_NE(LatencyReport(monitor, {.threshold_ms = 5}, 10).find("Nothing has taken 5 ms"),
            std::string::npos);
  for (size_t i = 0; i < kLatencyEvents; ++i) monitor.Add(static_cast<LatencyEvent>(i), 10 + i, 10);
  monitor.Add(LatencyEvent::kCommand, 20, 14);
  const std::string report = LatencyReport(monitor, {.threshold_ms = 5}, 20);
  EXPECT_TRUE(
      report.starts_with("1. command: 2 slow seconds (average 15 ms, mean deviation 5 ms, one in 5.00 "
                         "s), the slowest ever 20 ms.\n"))
      << report;
  for (size_t i = 0; i < kLatencyEvents; ++i) {
    const std::string heading =
        std::to_string(i + 1) + ". " + std::string(LatencyEventName(static_cast<LatencyEvent>(i))) + ": ";
    EXPECT_NE(report.find(heading), std::string::npos) << heading;
  }
}

}  // namespace
}  // namespace thermocline
