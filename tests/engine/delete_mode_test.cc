// maxmemory-action delete: keys go as in Redis.

#include <gtest/gtest.h>

#include <string>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

class DeleteTest : public KeyspaceTest {
 protected:
  static constexpr uint64_t kLimit = 300 << 10;
  static std::string Value(int i) { return Name("value", i) + std::string(300, 'x'); }

  void SetLimit(EvictionPolicy policy, uint64_t bytes) {
    keyspace->SetEviction({.policy = policy, .action = EvictionAction::kDelete});
    keyspace->SetHotBytesMax(bytes);
  }
  void HousekeepUntilDone() {
    while (keyspace->Housekeeping()) {
    }
  }
  /// Everything that exists is in RAM, and nothing else is on disk.
  void ExpectResidentIsAllThereIs() {
    Commit();
    EXPECT_EQ(keyspace->hot().live_count(0), keyspace->KeyCount(0));
    EXPECT_EQ(RowsOf(Family::kMetadata).size(), keyspace->KeyCount(0));
    EXPECT_EQ(keyspace->stats().demoted_objects, 0u);
  }
};

class DeleteByPolicyTest : public DeleteTest, public testing::WithParamInterface<EvictionPolicy> {};

TEST_P(DeleteByPolicyTest, MemoryStaysUnderTheLimit) {
  SetLimit(GetParam(), kLimit);
  uint64_t refused = 0;
  for (int i = 0; i < 3000; ++i) {
    if (keyspace->MakeRoom()) {
      ASSERT_FALSE(keyspace->over_limit());
      Set(Name("k", i), Value(i), i % 3 == 0 ? now() + 100'000'000 + 1000 * i : 0);
    } else {
      ++refused;
      ASSERT_EQ(Get("k0").value_or(Value(0)), Value(0));  // reading goes on
    }
    if (i % 10 != 9) continue;
    Commit();
    HousekeepUntilDone();
    ASSERT_EQ(keyspace->MakeRoom(), !keyspace->over_limit());
  }
  const bool none = GetParam() == EvictionPolicy::kNoEviction;
  const bool some = keyspace->eviction().only_volatile();
  EXPECT_EQ(keyspace->stats().evicted_keys + refused + keyspace->KeyCount(0), 3000u);
  EXPECT_EQ(keyspace->stats().evicted_keys > 0, !none);
  EXPECT_EQ(refused > 0, none || some);
  EXPECT_EQ(keyspace->ExpiryCount(0) > 0, !some);
  EXPECT_GT(keyspace->hot().used_bytes(), kLimit * 9 / 10);  // no more leaves than must
  ExpectResidentIsAllThereIs();
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(Get(Name("k", i)).value_or(Value(i)), Value(i));
}

INSTANTIATE_TEST_SUITE_P(Policies, DeleteByPolicyTest,
                         testing::Values(EvictionPolicy::kNoEviction, EvictionPolicy::kAllKeysLru,
                                         EvictionPolicy::kAllKeysLfu, EvictionPolicy::kAllKeysRandom,
                                         EvictionPolicy::kVolatileLru, EvictionPolicy::kVolatileLfu,
                                         EvictionPolicy::kVolatileRandom, EvictionPolicy::kVolatileTtl));

TEST_F(DeleteTest, WithinOneTurn) {
  SetLimit(EvictionPolicy::kAllKeysLru, kLimit);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(keyspace->MakeRoom());
    ASSERT_FALSE(keyspace->over_limit());
    Set(Name("k", i), Value(i));
  }
  EXPECT_GT(keyspace->stats().evicted_keys, 4000u);
  EXPECT_GT(keyspace->KeyCount(0), 500u);
  ExpectResidentIsAllThereIs();
}

TEST_F(DeleteTest, IsTold) {
  Set("k", "v");
  Commit();
  SetLimit(EvictionPolicy::kAllKeysRandom, 1);
  keyspace->TakeEvents();
  keyspace->Listen({.changes = true});
  EXPECT_FALSE(keyspace->MakeRoom());  // not even an empty table fits
  const std::vector<KeyEvent> events = keyspace->TakeEvents();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].key, "k");
  EXPECT_STREQ(events[0].name, "evicted");
  EXPECT_EQ(events[0].event_class, EventClass::kEvicted);
  EXPECT_EQ(keyspace->KeyCount(0), 0u);
}

TEST_F(DeleteTest, AfterTheLimitWasLowered) {
  for (int i = 0; i < 3000; ++i) Set(Name("k", i), Value(i));
  Commit();
  SetLimit(EvictionPolicy::kAllKeysLfu, kLimit);
  HousekeepUntilDone();
  EXPECT_FALSE(keyspace->over_limit());
  EXPECT_GT(keyspace->stats().evicted_keys, 1000u);
  ExpectResidentIsAllThereIs();
}

TEST_F(DeleteTest, FindsFewCandidatesAmongManyKeys) {
  for (int i = 0; i < 20'000; ++i) Set(Name("k", i), "v");
  for (int i = 0; i < 3; ++i) Set(Name("t", i), "v", now() + 1000'000);
  Commit();
  SetLimit(EvictionPolicy::kVolatileLru, 1);
  // A step looks at a part of the table only.
  for (int i = 0; i < 100 && keyspace->ExpiryCount(0) > 0; ++i) EXPECT_FALSE(keyspace->MakeRoom());
  EXPECT_EQ(keyspace->ExpiryCount(0), 0u);
  EXPECT_EQ(keyspace->KeyCount(0), 20'000u);
  EXPECT_FALSE(keyspace->MakeRoom());
  ExpectResidentIsAllThereIs();
}

TEST_F(DeleteTest, LargeCollectionsLeaveNoRows) {
  for (int i = 0; i < 20; ++i) Collect(Name("h", i), 500);
  Commit();
  SetLimit(EvictionPolicy::kAllKeysLru, keyspace->hot().used_bytes() / 2);
  EXPECT_TRUE(keyspace->MakeRoom());
  EXPECT_GT(keyspace->stats().evicted_keys, 5u);
  Purge();
  EXPECT_EQ(RowsOf(Family::kFields).size(), keyspace->KeyCount(0) * 500);
}

TEST_F(DeleteTest, WhatWasFlushedMakesRoom) {
  for (int i = 0; i < 3000; ++i) Set(Name("k", i), Value(i));
  Commit();
  SetLimit(EvictionPolicy::kNoEviction, kLimit);
  EXPECT_FALSE(keyspace->MakeRoom());
  ASSERT_TRUE(Run([](Txn& txn) { return txn.FlushDb(0); }).ok());
  Commit();
  EXPECT_TRUE(keyspace->MakeRoom());
  EXPECT_FALSE(keyspace->over_limit());
}

// The database was opened again: its keys are on disk. They stay there until they are used.
TEST_F(DeleteTest, ColdKeysAreServedAndLetGoWhenNothingMayBeDeleted) {
  for (int i = 0; i < 3000; ++i) Set(Name("k", i), Value(i));
  Commit();
  Reopen();
  for (const EvictionPolicy policy : {EvictionPolicy::kNoEviction, EvictionPolicy::kVolatileLru}) {
    SetLimit(policy, kLimit);
    for (int i = 0; i < 3000; ++i) {
      ASSERT_EQ(Get(Name("k", i)), Value(i));
      ASSERT_TRUE(keyspace->MakeRoom());
      ASSERT_FALSE(keyspace->over_limit());
    }
  }
  EXPECT_EQ(keyspace->KeyCount(0), 3000u);
  EXPECT_EQ(keyspace->stats().evicted_keys, 0u);
}

TEST_F(DeleteTest, ColdKeysAreDeletedOnceTheyAreInRam) {
  for (int i = 0; i < 3000; ++i) Set(Name("k", i), Value(i));
  Commit();
  Reopen();
  SetLimit(EvictionPolicy::kAllKeysLru, kLimit);
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(Get(Name("k", i)), Value(i));
    ASSERT_TRUE(keyspace->MakeRoom());
  }
  EXPECT_EQ(keyspace->KeyCount(0) + keyspace->stats().evicted_keys, 3000u);
  ExpectResidentIsAllThereIs();
}

}  // namespace
}  // namespace thermocline
