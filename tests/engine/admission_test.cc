// Who may stay in the hot tier: what is used once does not displace what is used again and again.

#include <gtest/gtest.h>

#include <string>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

class AdmissionTest : public KeyspaceTest {
 protected:
  static constexpr int kHotKeys = 500;
  static constexpr uint64_t kLimit = 300 << 10;
  static std::string Value(int i) { return Name("value", i) + std::string(200, 'x'); }

  void Settle() {
    Commit();
    while (keyspace->Housekeeping()) {
    }
    ASSERT_FALSE(keyspace->over_limit());
  }
  /// Cold keys on disk, and a hot set of about half of what fits, used again and again among some others.
  void Prepare(EvictionPolicy policy) {
    for (int i = 0; i < 5000; ++i) Set(Name("k", i), Value(i));
    for (int i = 0; i < kHotKeys; ++i) Set(Name("hot", i), Value(i));
    Commit();
    Reopen();
    keyspace->SetEviction({.policy = policy});
    keyspace->SetHotBytesMax(kLimit);
    for (int round = 0; round < 3; ++round) UseHotKeys();
    for (int i = 0; i < 1500; ++i) Read(i);  // memory is full
    for (int round = 0; round < 3; ++round) UseHotKeys();
    ASSERT_GE(HotKeys(), kHotKeys * 95 / 100);
  }
  void UseHotKeys() {
    for (int i = 0; i < kHotKeys; ++i) {
      ASSERT_EQ(Get(Name("hot", i)), Value(i));
      if (i % 10 == 0) Settle();
    }
    clock.AdvanceMs(1000);
  }
  void Read(int i) {
    ASSERT_EQ(Get(Name("k", i)), Value(i));
    Settle();
    clock.AdvanceMs(10);
  }
  bool Resident(const std::string& key) const { return keyspace->hot().Find(0, key) != nullptr; }
  int HotKeys() const {
    int resident = 0;
    for (int i = 0; i < kHotKeys; ++i) resident += Resident(Name("hot", i));
    return resident;
  }
};

class AdmissionByPolicyTest : public AdmissionTest, public testing::WithParamInterface<EvictionPolicy> {};

TEST_P(AdmissionByPolicyTest, AScanDoesNotWashOutTheHotSet) {
  Prepare(GetParam());
  for (int i = 1500; i < 5000; ++i) Read(i);
  EXPECT_GE(HotKeys(), kHotKeys * 95 / 100);
}

TEST_P(AdmissionByPolicyTest, NorDoNewKeys) {
  Prepare(GetParam());
  for (int i = 0; i < 5000; ++i) {
    Set(Name("new", i), Value(i));
    Settle();
    clock.AdvanceMs(10);
  }
  EXPECT_GE(HotKeys(), kHotKeys * 95 / 100);
  for (int i = 0; i < 5000; i += 10) ASSERT_EQ(Get(Name("new", i)), Value(i));
}

TEST_P(AdmissionByPolicyTest, NorDoLargeCollections) {
  constexpr int kHashes = 100;
  for (int i = 0; i < kHashes; ++i) Collect(Name("h", i), 500);
  Prepare(GetParam());
  for (int i = 0; i < kHashes; ++i) {
    // In steps: what a waiting object takes grows while it waits.
    Run([&](Txn& txn) {
      Txn::Cursor cursor = txn.SeekForward(txn.Find(Name("h", i)), RowSpace::kFields, "");
      for (int row = 0; row < 400; ++row) cursor.Next();
    });
    Settle();
    clock.AdvanceMs(10);
  }
  EXPECT_GE(HotKeys(), kHotKeys * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(Policies, AdmissionByPolicyTest,
                         testing::Values(EvictionPolicy::kAllKeysLru, EvictionPolicy::kAllKeysLfu,
                                         EvictionPolicy::kAllKeysRandom, EvictionPolicy::kVolatileTtl));

TEST_F(AdmissionTest, WhatIsUsedAgainStays) {
  Prepare(EvictionPolicy::kAllKeysLru);
  for (int i = 2000; i < 2100; ++i) Read(i);
  for (int i = 2000; i < 2100; i += 2) Read(i);
  for (int i = 3000; i < 3600; ++i) Read(i);
  int again = 0, once = 0;
  for (int i = 2000; i < 2100; i += 2) again += Resident(Name("k", i));
  for (int i = 2001; i < 2100; i += 2) once += Resident(Name("k", i));
  EXPECT_GE(again, 48);
  EXPECT_LE(once, 2);
}

TEST_F(AdmissionTest, WhatComesBackSoonStays) {
  Prepare(EvictionPolicy::kAllKeysLru);
  for (int i = 2000; i < 2100; ++i) Read(i);
  for (int i = 3000; i < 3600; ++i) Read(i);
  ASSERT_FALSE(Resident("k2000"));
  for (int i = 2000; i < 2100; ++i) Read(i);
  for (int i = 3600; i < 4200; ++i) Read(i);
  int resident = 0;
  for (int i = 2000; i < 2100; ++i) resident += Resident(Name("k", i));
  EXPECT_GE(resident, 50);  // some ghosts are overwritten
}

// However often a command has to run until its rows are there, and whoever waits with it.
TEST_F(AdmissionTest, OneCommandIsOneUse) {
  Collect("h", 500);
  Commit();
  Reopen();
  keyspace->SetHotBytesMax(kLimit);
  for (const int row : {1, 400}) {
    waits = 0;
    Run([&](Txn& txn) { txn.Get(txn.Find("h"), RowSpace::kFields, RowName(row)); });
    EXPECT_GE(waits, 1);
    EXPECT_EQ(keyspace->hot().Find(0, "h")->admission, row == 1 ? Object::kUsedOnce : Object::kUsedAgain);
  }
}

TEST_F(AdmissionTest, NoEvictionKeepsWhatIsThere) {
  for (int i = 0; i < 3000; ++i) Set(Name("k", i), Value(i));
  Commit();
  Reopen();
  keyspace->SetEviction({.policy = EvictionPolicy::kNoEviction});
  keyspace->SetHotBytesMax(kLimit);
  for (int i = 0; i < 1500; ++i) Read(i);
  std::vector<int> there;
  for (int i = 0; i < 1500; ++i) {
    if (Resident(Name("k", i))) there.push_back(i);
  }
  EXPECT_GT(there.size(), 500u);
  for (int round = 0; round < 2; ++round) {
    for (int i = 1500; i < 3000; ++i) Read(i);
    for (int i = 0; i < 1000; ++i) {
      Set(Name("new", i), Value(i));
      Settle();
    }
  }
  size_t stayed = 0;
  for (const int i : there) stayed += Resident(Name("k", i));
  EXPECT_GE(stayed, there.size() - 20);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(Get(Name("new", i)), Value(i));
}

TEST_F(AdmissionTest, TheQueueIsBoundedWhenKeysAreDeletedAsTheyCome) {
  keyspace->SetHotBytesMax(kLimit);
  for (int i = 0; i < 20'000; ++i) {
    Set("k", Value(i));
    Commit();
    Run([](Txn& txn) { txn.Remove(txn.Find("k")); });
    Commit();
  }
  EXPECT_FALSE(keyspace->over_limit());
  EXPECT_LT(keyspace->admission().bytes(), kLimit);
}

}  // namespace
}  // namespace thermocline
