#include <gtest/gtest.h>

#include <string>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

class EvictionTest : public KeyspaceTest, public testing::WithParamInterface<EvictionPolicy> {};

TEST_P(EvictionTest, MemoryStaysUnderTheLimitAndNothingIsLost) {
  keyspace->SetEviction({.policy = GetParam()});
  constexpr uint64_t kLimit = 300 << 10;
  keyspace->SetHotBytesMax(kLimit);
  const auto value = [](int i) { return Name("value", i) + std::string(500, 'x'); };
  for (int i = 0; i < 3000; ++i) {
    Set(Name("k", i), value(i), i % 3 == 0 ? now() + 100'000'000 : 0);
    if (i % 10 != 9) continue;
    Commit();
    while (keyspace->Housekeeping()) {
    }
    ASSERT_LE(keyspace->hot().used_bytes(), kLimit);
  }
  EXPECT_GT(keyspace->stats().demoted_objects, 1000u);
  EXPECT_GT(keyspace->hot().object_count(), 100u);  // no more leaves than must
  EXPECT_EQ(keyspace->KeyCount(0), 3000u);
  EXPECT_EQ(keyspace->ExpiryCount(0), 1000u);
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(Get(Name("k", i)), value(i));
}

INSTANTIATE_TEST_SUITE_P(Policies, EvictionTest,
                         testing::Values(EvictionPolicy::kNoEviction, EvictionPolicy::kAllKeysLru,
                                         EvictionPolicy::kAllKeysLfu, EvictionPolicy::kAllKeysRandom,
                                         EvictionPolicy::kVolatileLru, EvictionPolicy::kVolatileLfu,
                                         EvictionPolicy::kVolatileRandom, EvictionPolicy::kVolatileTtl));

class EvictionOrderTest : public KeyspaceTest {
 protected:
  static constexpr int kKeys = 2000;
  /// Evicts about half of all keys and returns how many of those with `i % 2 == 0` stayed, and of the others.
  std::pair<int, int> EvictHalf(EvictionPolicy policy) {
    Commit();
    keyspace->SetHotBytesMax(keyspace->hot().used_bytes() - kKeys / 2 * object_bytes_);
    keyspace->SetEviction({.policy = policy, .samples = 10});
    while (keyspace->Housekeeping()) {
    }
    std::pair<int, int> stayed;
    for (int i = 0; i < kKeys; ++i) {
      const int physical = 0;
      if (keyspace->hot().Find(physical, Name("k", i)) == nullptr) continue;
      (i % 2 == 0 ? stayed.first : stayed.second)++;
    }
    return stayed;
  }
  void Fill(uint64_t even_expiry, uint64_t odd_expiry) {
    const size_t before = keyspace->hot().used_bytes();
    for (int i = 0; i < kKeys; ++i)
      Set(Name("k", i), std::string(200, 'x'), i % 2 == 0 ? even_expiry : odd_expiry);
    object_bytes_ = (keyspace->hot().used_bytes() - before) / kKeys;
  }
  size_t object_bytes_ = 0;
};

TEST_F(EvictionOrderTest, LruKeepsWhatWasUsedLast) {
  Fill(0, 0);
  clock.AdvanceMs(60'000);
  for (int i = 0; i < kKeys; i += 2) Get(Name("k", i));
  const auto [even, odd] = EvictHalf(EvictionPolicy::kAllKeysLru);
  EXPECT_GT(even, kKeys / 2 * 8 / 10);
  EXPECT_LT(odd, kKeys / 2 / 5);
}

TEST_F(EvictionOrderTest, LfuKeepsWhatIsUsedOften) {
  keyspace->SetEviction({.policy = EvictionPolicy::kAllKeysLfu});
  Fill(0, 0);
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < kKeys; i += 2) Get(Name("k", i));
  }
  for (int i = 1; i < kKeys; i += 2) Get(Name("k", i));  // used last, but seldom
  const auto [even, odd] = EvictHalf(EvictionPolicy::kAllKeysLfu);
  EXPECT_GT(even, kKeys / 2 * 8 / 10);
  EXPECT_LT(odd, kKeys / 2 / 5);
}

TEST_F(EvictionOrderTest, TtlKeepsWhatLivesLongest) {
  Fill(now() + 9000'000, now() + 1000'000);
  const auto [even, odd] = EvictHalf(EvictionPolicy::kVolatileTtl);
  EXPECT_GT(even, kKeys / 2 * 8 / 10);
  EXPECT_LT(odd, kKeys / 2 / 5);
}

TEST_F(EvictionOrderTest, VolatilePoliciesTakeKeysWithAnExpiryFirst) {
  Fill(0, now() + 1000'000);
  const auto [even, odd] = EvictHalf(EvictionPolicy::kVolatileRandom);
  EXPECT_GT(even, kKeys / 2 * 8 / 10);
  EXPECT_LT(odd, kKeys / 2 / 5);
}

TEST_F(EvictionOrderTest, AmongKeysWithoutExpiryVolatilePoliciesTakeTheOldest) {
  Fill(0, 0);
  clock.AdvanceMs(60'000);
  for (int i = 0; i < kKeys; i += 2) Get(Name("k", i));
  const auto [even, odd] = EvictHalf(EvictionPolicy::kVolatileTtl);
  EXPECT_GT(even, kKeys / 2 * 8 / 10);
  EXPECT_LT(odd, kKeys / 2 / 5);
}

TEST_F(EvictionOrderTest, BetweenLruAndLfuEveryObjectStartsOver) {
  Fill(0, 0);
  Commit();
  const auto all = [&](auto&& holds) {
    for (int i = 0; i < kKeys; ++i) {
      if (!holds(keyspace->hot().Find(0, Name("k", i)))) return false;
    }
    return true;
  };
  clock.AdvanceMs(3600'000);
  keyspace->TakeIn();
  keyspace->SetEviction({.policy = EvictionPolicy::kAllKeysLfu});
  EXPECT_TRUE(keyspace->Housekeeping());  // not all at once
  while (keyspace->Housekeeping()) {
  }
  EXPECT_TRUE(all([&](const Object* object) { return keyspace->eviction().Frequency(object) == 5; }));
  keyspace->SetEviction({.policy = EvictionPolicy::kVolatileTtl});
  while (keyspace->Housekeeping()) {
  }
  EXPECT_TRUE(all([&](const Object* object) { return keyspace->eviction().IdleMs(object) == 0; }));
}

TEST_F(EvictionOrderTest, LruAfterTheClockWasSetBack) {
  Fill(0, 0);
  clock.SetWallMs(now() - 3600'000);
  keyspace->TakeIn();
  const Object* object = keyspace->hot().Find(0, "k0");
  EXPECT_EQ(keyspace->eviction().IdleMs(object), 0u);
}

}  // namespace
}  // namespace thermocline
