#include <gtest/gtest.h>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

TEST_F(KeyspaceTest, FlushedDatabaseIsEmptyAtOnceAndPurgedLater) {
  for (int i = 0; i < 1000; ++i) Set(Name("k", i), "value", i % 2 == 0 ? now() + 1000'000 : 0);
  for (int i = 0; i < 20; ++i) Collect(Name("rows", i), 50 + i * 20);
  Set("other", "1", 0, 1);
  Commit();
  Set("k1", "written in the same turn");
  ASSERT_TRUE(keyspace->FlushDb(0).ok());
  EXPECT_EQ(keyspace->KeyCount(0), 0u);
  EXPECT_EQ(keyspace->ExpiryCount(0), 0u);
  EXPECT_EQ(Get("k2"), std::nullopt);
  Set("k2", "new");
  EXPECT_EQ(keyspace->KeyCount(0), 1u);
  Commit();
  Purge();
  RunBackground([&] { return keyspace->hot().object_count() <= 2; });
  EXPECT_EQ(Get("k2"), "new");
  EXPECT_EQ(Get("k1"), std::nullopt);
  EXPECT_EQ(Get("other", 1), "1");
  EXPECT_EQ(RowsOf(Family::kMetadata).size(), 2u);
  EXPECT_TRUE(RowsOf(Family::kFields).empty());
  Crash();
  EXPECT_EQ(keyspace->purge_backlog(), 0u);
  EXPECT_EQ(Get("k2"), "new");
  EXPECT_EQ(Get("k3"), std::nullopt);
}

TEST_F(KeyspaceTest, PurgeGoesOnAfterARestart) {
  for (int i = 0; i < 50; ++i) Collect(Name("rows", i), 100);
  for (int i = 0; i < 50; ++i) Collect(Name("rows", i), 200, 1);
  Commit();
  for (int i = 0; i < 50; ++i) Remove(Name("rows", i), 1);
  ASSERT_TRUE(keyspace->FlushAll().ok());
  Commit();
  Crash();
  EXPECT_GT(keyspace->purge_backlog(), 0u);
  Purge();
  EXPECT_TRUE(RowsOf(Family::kFields).empty());
  EXPECT_TRUE(RowsOf(Family::kMetadata).empty());
}

TEST_F(KeyspaceTest, SwappedDatabases) {
  Set("a", "0");
  Set("b", "0", now() + 1000'000);
  Set("a", "1", 0, 1);
  keyspace->SwapDb(0, 1);
  EXPECT_EQ(Get("a"), "1");
  EXPECT_EQ(Get("a", 1), "0");
  EXPECT_EQ(keyspace->KeyCount(0), 1u);
  EXPECT_EQ(keyspace->ExpiryCount(1), 1u);
  keyspace->SwapDb(0, 5);  // never written
  EXPECT_EQ(Get("a"), std::nullopt);
  EXPECT_EQ(Get("a", 5), "1");
  keyspace->SwapDb(2, 2);
  Commit();
  Crash();
  EXPECT_EQ(Get("a"), std::nullopt);
  EXPECT_EQ(Get("a", 5), "1");
  EXPECT_EQ(Get("a", 1), "0");
}

TEST_F(KeyspaceTest, FlushingManyTimes) {
  for (int i = 0; i < 300; ++i) {
    Set("k", std::to_string(i));
    if (i % 3 == 0) Commit();
    ASSERT_TRUE(keyspace->FlushAll().ok());
  }
  Commit();
  Purge();
  EXPECT_TRUE(RowsOf(Family::kMetadata).empty());
}

}  // namespace
}  // namespace thermocline
