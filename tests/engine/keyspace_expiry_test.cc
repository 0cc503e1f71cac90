#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

class ExpiryTest : public KeyspaceTest {
 protected:
  size_t IndexRows() { return RowsOf(Family::kScores).size(); }
  void Sweep(uint64_t keys_left) {
    RunBackground([&] { return keyspace->KeyCount(0) == keys_left && !keyspace->pending(); });
  }
};

TEST_F(ExpiryTest, KeysAreGoneOnceTheirTimeHasPassed) {
  keyspace->SetActiveExpiry(false);
  keyspace->Listen({.changes = true});
  Set("a", "1", now() + 100);
  clock.AdvanceMs(100);
  EXPECT_EQ(Get("a"), "1");
  clock.AdvanceMs(1);
  Commit();
  keyspace->TakeEvents();
  EXPECT_EQ(keyspace->KeyCount(0), 1u);
  EXPECT_EQ(Get("a"), std::nullopt);
  EXPECT_EQ(keyspace->KeyCount(0), 0u);
  EXPECT_EQ(keyspace->ExpiryCount(0), 0u);
  EXPECT_EQ(keyspace->stats().expired_keys, 1u);
  Commit();
  const std::vector<KeyEvent> events = keyspace->TakeEvents();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].key, "a");
  EXPECT_STREQ(events[0].name, "expired");
  EXPECT_EQ(events[0].event_class, EventClass::kExpired);
  EXPECT_TRUE(RowsOf(Family::kMetadata).empty());
}

TEST_F(ExpiryTest, SweepTakesKeysInRamAndOnDisk) {
  for (int i = 0; i < 3000; ++i) Set(Name("k", i), "v", now() + 10 + static_cast<uint64_t>(i % 7));
  Set("stays", "v", now() + 1000'000);
  Set("for ever", "v");
  Collect("rows", 500);
  SetExpiry("rows", now() + 5);
  GoCold();
  for (int i = 0; i < 3000; i += 2) Get(Name("k", i));
  clock.AdvanceMs(1000);
  Sweep(2);
  EXPECT_EQ(keyspace->ExpiryCount(0), 1u);
  EXPECT_EQ(keyspace->stats().expired_keys, 3001u);
  EXPECT_EQ(IndexRows(), 1u);
  Purge();
  EXPECT_TRUE(RowsOf(Family::kFields).empty());
  EXPECT_EQ(RowsOf(Family::kMetadata).size(), 2u);
  Reopen();
  EXPECT_EQ(keyspace->KeyCount(0), 2u);
}

TEST_F(ExpiryTest, NothingIsSweptWhenActiveExpiryIsOff) {
  Set("a", "1", now() + 10);
  Commit();
  keyspace->SetActiveExpiry(false);
  clock.AdvanceMs(1000);
  for (int i = 0; i < 5; ++i) {
    keyspace->TakeIn();
    keyspace->Tick();
    keyspace->Housekeeping();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(keyspace->KeyCount(0), 1u);
}

TEST_F(ExpiryTest, ExtendingWritesNoIndexRow) {
  Set("session", "1", now() + 1000);
  Commit();
  EXPECT_EQ(IndexRows(), 1u);
  for (int i = 0; i < 20; ++i) {
    clock.AdvanceMs(10);
    SetExpiry("session", now() + 1000);
    Commit();
  }
  EXPECT_EQ(IndexRows(), 1u);
  clock.AdvanceMs(900);  // past the row, not past the expiry
  RunBackground([&] {
    return RowsOf(Family::kScores).begin()->first.substr(8, 8) >
               std::string("\0\0\1\x8b\xcf\xe5\x6b\xea", 8) ||
           IndexRows() == 0 || keyspace->stats().commits > 25;
  });
  EXPECT_EQ(Get("session"), "1");
  EXPECT_EQ(IndexRows(), 1u);  // indexed again, at its true time
  clock.AdvanceMs(1000);
  Sweep(0);
  EXPECT_EQ(IndexRows(), 0u);
}

TEST_F(ExpiryTest, StaleIndexRowsAreDropped) {
  Set("persisted", "1", now() + 100);
  Set("deleted", "1", now() + 100);
  Set("overwritten", "1", now() + 100);
  Set("moved", "1", now() + 100);
  Set("shorter", "1", now() + 100);
  Commit();
  SetExpiry("persisted", 0);
  Remove("deleted");
  Set("overwritten", "2");
  Run([&](Txn& txn) { txn.Move(txn.Find("moved"), txn.ForWrite("target")); });
  SetExpiry("target", 0);
  SetExpiry("shorter", now() + 50);
  Commit();
  EXPECT_EQ(IndexRows(), 7u);
  clock.AdvanceMs(200);
  RunBackground([&] { return IndexRows() == 0; });
  EXPECT_EQ(keyspace->KeyCount(0), 3u);
  EXPECT_EQ(keyspace->stats().expired_keys, 1u);
  EXPECT_EQ(Get("persisted"), "1");
  EXPECT_EQ(Get("overwritten"), "2");
  EXPECT_EQ(Get("target"), "1");
}

TEST_F(ExpiryTest, ClockSetBack) {
  const uint64_t start = now();
  Set("a", "1", start + 1000);
  Set("b", "1", start + 90'000);
  Commit();
  clock.SetWallMs(start + 50'000);  // an hour off: `a` seems due
  keyspace->TakeIn();
  keyspace->Tick();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the scan has read its rows
  clock.SetWallMs(start);
  for (int i = 0; i < 20; ++i) {
    keyspace->TakeIn();
    keyspace->Housekeeping();
    Commit();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(Get("a"), "1");
  EXPECT_EQ(keyspace->KeyCount(0), 2u);
  clock.SetWallMs(start + 2000);
  Sweep(1);
  // A new key, due before what was swept already.
  clock.SetWallMs(start + 100'000);
  Sweep(0);
  clock.SetWallMs(start);
  Set("c", "1", start + 500);
  Commit();
  clock.SetWallMs(start + 600);
  Sweep(0);
  EXPECT_EQ(IndexRows(), 0u);
}

TEST_F(ExpiryTest, KeysOfDroppedDatabases) {
  for (int i = 0; i < 100; ++i) Set(Name("k", i), "1", now() + 10);
  Set("moved away", "1", now() + 10, 1);
  Commit();
  ASSERT_TRUE(keyspace->FlushDb(0).ok());
  keyspace->SwapDb(1, 2);
  Set("k5", "new", now() + 1000'000);
  Commit();
  clock.AdvanceMs(1000);
  RunBackground([&] { return IndexRows() == 1; });
  EXPECT_EQ(keyspace->stats().expired_keys, 1u);
  EXPECT_EQ(keyspace->KeyCount(2), 0u);
  EXPECT_EQ(Get("k5"), "new");
}

}  // namespace
}  // namespace thermocline
