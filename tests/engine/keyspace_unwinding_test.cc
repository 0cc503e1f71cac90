#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

using Ran = Keyspace::Ran;

TEST_F(KeyspaceTest, UnwindingTakesEverythingBack) {
  const uint64_t later = now() + 1000'000;
  options.store.block_cache_bytes = 1;  // from GoCold on
  for (const char* key : {"cold", "b", "c", "d", "e", "f", "g"}) Set(key, "old");
  Collect("rows", 1000);
  Collect("rows2", 1000);
  GoCold();
  keyspace->Listen({.changes = true});
  for (const char* key : {"b", "c", "d", "e", "f", "g"}) EXPECT_EQ(Get(key), "old");
  Run([&](Txn& txn) { EXPECT_NE(txn.Find("rows"), nullptr); });
  // An earlier command of the turn writes some of the objects too.
  Run([&](Txn& txn) {
    Set(txn, "c", "earlier");
    Remove(txn, "f");
    Set(txn, "new", "earlier", later);
    txn.SetExpiry(txn.Find("g"), later);
    txn.Put(txn.Find("rows2"), RowSpace::kFields, RowName(5), "earlier");
  });
  const uint64_t keys = keyspace->KeyCount(0), expires = keyspace->ExpiryCount(0);
  EXPECT_EQ(keys, 9u);
  EXPECT_EQ(expires, 2u);

  Command command;
  EXPECT_EQ(RunOnce(command,
                    [&](Txn& txn) {
                      Set(txn, "a", "1", later);
                      Set(txn, "b", "2");
                      Set(txn, "c", "3", later);
                      Remove(txn, "d");
                      txn.SetExpiry(txn.Find("e"), later);
                      Set(txn, "f", "4");
                      Remove(txn, "new");
                      txn.Move(txn.Find("g"), txn.ForWrite("h"));
                      txn.Remove(txn.Find("rows"));
                      Object* rows2 = txn.Find("rows2");
                      txn.Put(rows2, RowSpace::kFields, RowName(5), "late");
                      txn.Erase(rows2, RowSpace::kFields, RowName(6));
                      (void)txn.Find("cold");
                      ADD_FAILURE() << "not reached";
                    }),
            Ran::kWaiting);
  EXPECT_EQ(keyspace->KeyCount(0), keys);
  EXPECT_EQ(keyspace->ExpiryCount(0), expires);
  ASSERT_TRUE(Await([&] { return !command.suspended(); }));
  keyspace->Forget(command);

  const auto check = [&] {
    EXPECT_EQ(Get("a"), std::nullopt);
    EXPECT_EQ(Get("b"), "old");
    EXPECT_EQ(Get("c"), "earlier");
    EXPECT_EQ(Get("d"), "old");
    EXPECT_EQ(Get("f"), std::nullopt);
    EXPECT_EQ(Get("new"), "earlier");
    EXPECT_EQ(Get("h"), std::nullopt);
    EXPECT_EQ(Get("cold"), "old");
    Run([&](Txn& txn) {
      EXPECT_EQ(txn.Find("e")->expire_at_ms, 0u);
      EXPECT_EQ(txn.Find("g")->expire_at_ms, later);
      EXPECT_EQ(txn.Find("new")->expire_at_ms, later);
      ASSERT_NE(txn.Find("rows"), nullptr);
      EXPECT_EQ(txn.body(txn.Find("rows")).count, 1000u);
      EXPECT_EQ(txn.Get(txn.Find("rows"), RowSpace::kFields, RowName(999)), "0123456789");
      EXPECT_EQ(txn.Get(txn.Find("rows2"), RowSpace::kFields, RowName(5)), "earlier");
      EXPECT_EQ(txn.Get(txn.Find("rows2"), RowSpace::kFields, RowName(6)), "0123456789");
    });
    EXPECT_EQ(keyspace->KeyCount(0), keys);
    EXPECT_EQ(keyspace->ExpiryCount(0), expires);
  };
  check();
  Commit();
  for (const KeyEvent& event : keyspace->TakeEvents()) EXPECT_THAT(event.key, testing::AnyOf("c", "new"));
  check();
  Purge();
  check();
  Crash();
  check();
}

TEST_F(KeyspaceTest, LateFaultsEndWithoutAnyCache) {
  options.store.block_cache_bytes = 1;
  Collect("x", 500);
  Collect("y", 500);
  GoCold();
  // Each read comes after a write to the same object.
  Run([&](Txn& txn) {
    for (int i = 0; i < 500; i += 60) {
      for (const char* key : {"x", "y"}) {
        Object* object = txn.Find(key);
        EXPECT_EQ(txn.Get(object, RowSpace::kFields, RowName(i)), "0123456789");
        txn.Put(object, RowSpace::kFields, RowName(i), "changed");
      }
    }
    size_t rows = 0;
    for (Txn::Cursor c = txn.SeekForward(txn.Find("x"), RowSpace::kFields, {}); c.valid(); c.Next()) ++rows;
    for (Txn::Cursor c = txn.SeekBackward(txn.Find("y"), RowSpace::kFields, {}); c.valid(); c.Previous())
      ++rows;
    EXPECT_EQ(rows, 1000u);
  });
  GoCold();
  Run([&](Txn& txn) { EXPECT_EQ(txn.Get(txn.Find("x"), RowSpace::kFields, RowName(480)), "changed"); });
}

TEST_F(KeyspaceTest, LateFaultsOfMovedRowsEndWithoutAnyCache) {
  options.store.block_cache_bytes = 1;
  Collect("x", 500);
  Collect("y", 500);
  GoCold();
  Command command;
  Ran ran = Ran::kWaiting;
  for (int runs = 0; ran == Ran::kWaiting && runs < 200; ++runs) {
    ran = RunOnce(command, [&](Txn& txn) {
      txn.Move(txn.Find("x"), txn.ForWrite("between"));
      txn.Move(txn.Find("y"), txn.ForWrite("x"));  // whose rows are not those that x has had
      txn.Select(1);
      Object* end = txn.ForWrite("end");
      txn.Select(0);
      txn.Move(txn.Find("between"), end);
      EXPECT_EQ(txn.Get(end, RowSpace::kFields, RowName(7)), "0123456789");
      size_t rows = 0;
      for (Txn::Cursor c = txn.SeekBackward(txn.Find("x"), RowSpace::kFields, {}); c.valid(); c.Previous())
        ++rows;
      EXPECT_EQ(rows, 500u);
    });
    if (ran == Ran::kWaiting) AwaitReady({&command});
  }
  EXPECT_EQ(ran, Ran::kDone);
  keyspace->Forget(command);
}

}  // namespace
}  // namespace thermocline
