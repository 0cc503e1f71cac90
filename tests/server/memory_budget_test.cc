#include "server/memory_budget.h"

#include <gtest/gtest.h>

namespace thermocline {
namespace {

constexpr uint64_t kMb = 1 << 20;

TEST(MemoryBudget, NothingIsCutWhileAllIsWithinThePlan) {
  MemoryBudget budget;
  EXPECT_EQ(budget.HotBytesMax(256 * kMb, 400 * kMb, 400 * kMb), 256 * kMb);
  EXPECT_EQ(budget.cut(), 0u);
}

TEST(MemoryBudget, TheHotTierMakesRoomForTheRest) {
  MemoryBudget budget;
  // The rest needs 200 MB instead of 144, the hot tier takes what it may.
  uint64_t hot = 256 * kMb;
  for (int i = 0; i < 100; ++i) hot = budget.HotBytesMax(256 * kMb, 400 * kMb, hot + 200 * kMb);
  EXPECT_NEAR(static_cast<double>(hot + 200 * kMb), 400.0 * kMb, 4.0 * kMb);
  // And gets it back.
  for (int i = 0; i < 100; ++i) hot = budget.HotBytesMax(256 * kMb, 400 * kMb, hot + 50 * kMb);
  EXPECT_EQ(hot, 256 * kMb);
}

TEST(MemoryBudget, AQuarterStays) {
  MemoryBudget budget;
  uint64_t hot = 0;
  for (int i = 0; i < 100; ++i) hot = budget.HotBytesMax(256 * kMb, 400 * kMb, 4000 * kMb);
  EXPECT_EQ(hot, 64 * kMb);
  EXPECT_EQ(budget.HotBytesMax(0, 400 * kMb, 4000 * kMb), 0u);
}

}  // namespace
}  // namespace thermocline
