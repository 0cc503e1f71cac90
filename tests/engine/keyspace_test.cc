#include "engine/keyspace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>

#include "engine/keyspace_fixture.h"
#include "engine/snapshot.h"
#include "engine/test_seed.h"

namespace thermocline {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;
using Ran = Keyspace::Ran;

/// Commands of a few lines each.
class KeyspaceTest : public KeyspaceFixture {
 protected:
  static void Set(Txn& txn, std::string_view key, std::string_view value, uint64_t expire_at_ms = 0) {
    Object* object = txn.ForWrite(key);
    txn.SetString(object, value, Encoding::kAuto);
    if (expire_at_ms != 0) txn.SetExpiry(object, expire_at_ms);
    txn.Changed(object, EventClass::kString, "set");
  }
  static std::optional<std::string> Get(Txn& txn, std::string_view key) {
    Object* object = txn.Find(key);
    if (object == nullptr) return std::nullopt;
    return std::string(object->inline_value());
  }
  static bool Remove(Txn& txn, std::string_view key) {
    Object* object = txn.Find(key);
    if (object != nullptr) txn.Remove(object);
    return object != nullptr;
  }
  /// A collection of `rows` rows of 20 bytes.
  static void Collect(Txn& txn, std::string_view key, int rows) {
    Object* object = txn.ForWrite(key);
    txn.MakeRows(object, ObjectType::kHash);
    format::CollectionBody body;
    body.count = static_cast<uint64_t>(rows);
    txn.SetBody(object, body);
    for (int i = 0; i < rows; ++i) txn.Put(object, RowSpace::kFields, RowName(i), "0123456789");
  }
  static std::string RowName(int i) {
    std::string name = std::to_string(i);
    return std::string(10 - name.size(), '0') + name;
  }

  void Set(std::string_view key, std::string_view value, uint64_t expire_at_ms = 0, int db = 0) {
    Run([&](Txn& txn) { Set(txn, key, value, expire_at_ms); }, db);
  }
  std::optional<std::string> Get(std::string_view key, int db = 0) {
    return Run([&](Txn& txn) { return Get(txn, key); }, db);
  }
  bool Remove(std::string_view key, int db = 0) {
    return Run([&](Txn& txn) { return Remove(txn, key); }, db);
  }
  void Collect(std::string_view key, int rows, int db = 0) {
    Run([&](Txn& txn) { Collect(txn, key, rows); }, db);
  }
  void SetExpiry(std::string_view key, uint64_t expire_at_ms, int db = 0) {
    Run([&](Txn& txn) { txn.SetExpiry(txn.Find(key), expire_at_ms); }, db);
  }
  /// Commits, empties the caches too.
  void GoCold() {
    Commit();
    Reopen();
  }
  uint64_t now() const { return clock.WallMs(); }
};

std::string Name(const char* prefix, int i) { return prefix + std::to_string(i); }

// ---- Faults
// ------------------------------------------------------------------------------------------------

TEST_F(KeyspaceTest, ColdKeyIsWaitedForAndThenFound) {
  Set("a", "1");
  GoCold();
  Command command;
  int runs = 0;
  const auto body = [&](Txn& txn) {
    ++runs;
    EXPECT_EQ(Get(txn, "a"), "1");
  };
  EXPECT_EQ(RunOnce(command, body), Ran::kWaiting);
  EXPECT_TRUE(command.suspended());
  EXPECT_EQ(keyspace->loads_under_way(), 1u);
  AwaitReady({&command});
  EXPECT_FALSE(command.suspended());
  EXPECT_EQ(RunOnce(command, body), Ran::kDone);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(keyspace->stats().faults, 1u);
  EXPECT_EQ(keyspace->stats().commands_rerun, 1u);
  EXPECT_EQ(keyspace->stats().keyspace_hits, 1u);
}

TEST_F(KeyspaceTest, ColdKeyThatDoesNotExist) {
  for (int i = 0; i < 100; ++i) Set(Name("k", i), "1");
  GoCold();
  EXPECT_EQ(Get("k55x"), std::nullopt);
  EXPECT_EQ(keyspace->stats().keyspace_misses, 1u);
  EXPECT_EQ(keyspace->hot().object_count(), 0u);
}

TEST_F(KeyspaceTest, WaitersOfOneKeyShareOneRead) {
  Set("a", "1");
  GoCold();
  Command first, second;
  const auto body = [&](Txn& txn) { EXPECT_EQ(Get(txn, "a"), "1"); };
  EXPECT_EQ(RunOnce(first, body), Ran::kWaiting);
  EXPECT_EQ(keyspace->Run(second, 0, body), Ran::kWaiting);
  EXPECT_EQ(keyspace->stats().faults, 1u);
  AwaitReady({&first, &second});
  EXPECT_EQ(RunOnce(second, body), Ran::kDone);
  EXPECT_EQ(RunOnce(first, body), Ran::kDone);
}

TEST_F(KeyspaceTest, LoadedKeysStayUntilTheirCommandHasRun) {
  for (int i = 0; i < 10; ++i) Set(Name("k", i), "value");
  GoCold();
  keyspace->SetHotBytesMax(1);
  Command command;
  const auto body = [&](Txn& txn) { EXPECT_EQ(Get(txn, "k3"), "value"); };
  EXPECT_EQ(RunOnce(command, body), Ran::kWaiting);
  AwaitReady({&command});
  keyspace->Housekeeping();
  EXPECT_EQ(keyspace->hot().object_count(), 1u);
  EXPECT_EQ(RunOnce(command, body), Ran::kDone);
  keyspace->Housekeeping();
  EXPECT_EQ(keyspace->hot().object_count(), 0u);
}

TEST_F(KeyspaceTest, ForgottenWaiterLetsGo) {
  Set("a", "1");
  GoCold();
  {
    Command command;
    EXPECT_EQ(RunOnce(command, [&](Txn& txn) { (void)txn.Find("a"); }), Ran::kWaiting);
    ASSERT_TRUE(Await([&] { return !command.suspended(); }));
    keyspace->Forget(command);
  }
  std::vector<Waiter*> ready;
  keyspace->TakeReady(&ready);
  EXPECT_TRUE(ready.empty());
  EvictAll();  // nothing is pinned
}

TEST_F(KeyspaceTest, PrefetchWaitsOnceForAll) {
  std::vector<std::string> names;
  for (int i = 0; i < 50; ++i) names.push_back(Name("key", i));
  for (const std::string& name : names) Set(name, name);
  GoCold();
  const std::vector<std::string_view> keys(names.begin(), names.end());
  Run([&](Txn& txn) {
    txn.Prefetch(keys);
    for (const std::string& name : names) EXPECT_EQ(Get(txn, name), name);
  });
  EXPECT_EQ(waits, 1);
  EXPECT_EQ(keyspace->stats().faults, 50u);
}

TEST_F(KeyspaceTest, PrefetchRowsWaitsOnceForAll) {
  Collect("c", 2000);
  GoCold();
  Run([&](Txn& txn) {
    Object* object = txn.Find("c");
    std::vector<std::string> names;
    for (int i = 0; i < 2000; i += 100) names.push_back(RowName(i));
    const std::vector<std::string_view> keys(names.begin(), names.end());
    txn.PrefetchRows(object, RowSpace::kFields, keys);
    for (const std::string_view key : keys) EXPECT_TRUE(txn.Get(object, RowSpace::kFields, key).has_value());
  });
  EXPECT_EQ(waits, 2);  // the head, the rows
}

TEST_F(KeyspaceTest, MoveOfAnObjectWhoseRowsAreBeingRead) {
  Collect("c", 2000);
  GoCold();
  Run([&](Txn& txn) { ASSERT_NE(txn.Find("c"), nullptr); });
  Command reader;
  bool found = false;
  const auto read = [&](Txn& txn) {
    for (const char* key : {"c", "d"}) {
      if (Object* object = txn.Find(key))
        found = txn.Get(object, RowSpace::kFields, RowName(1000)).has_value();
    }
  };
  ASSERT_EQ(RunOnce(reader, read), Ran::kWaiting);
  Command mover;
  ASSERT_EQ(keyspace->Run(mover, 0, [&](Txn& txn) { txn.Move(txn.Find("c"), txn.ForWrite("d")); }),
            Ran::kDone);
  Commit();
  AwaitReady({&reader});
  while (RunOnce(reader, read) != Ran::kDone) AwaitReady({&reader});
  EXPECT_TRUE(found);
  Run([&](Txn& txn) {  // the same row is asked for again, were it not there: no trace of the first read is
                       // left
    Object* object = txn.Find("d");
    for (int i = 0; i < 2000; i += 50)
      EXPECT_TRUE(txn.Get(object, RowSpace::kFields, RowName(i)).has_value());
  });
  Commit();
  EvictAll();
}

// ---- Unwinding
// ---------------------------------------------------------------------------------------------

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

// ---- Counts
// ------------------------------------------------------------------------------------------------

/// Random commands in three databases against a model, in RAM and not; keys expire meanwhile.
TEST_F(KeyspaceTest, CountsAreExact) {
  struct Value {
    std::string text;
    uint64_t expire_at_ms = 0;
  };
  constexpr int kDbs = 3;
  const uint64_t seed = TestSeed(7);
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t n) { return random() % n; };
  std::map<std::string, Value> model[kDbs];
  const auto expire = [&] {
    for (auto& db : model) {
      std::erase_if(
          db, [&](const auto& e) { return e.second.expire_at_ms != 0 && now() > e.second.expire_at_ms; });
    }
  };
  const auto due = [&] { return now() + (below(3) == 0 ? 1 + below(500) : 100'000 + below(1000)); };
  const auto check = [&] {
    // Expired keys count until they are met or swept.
    RunBackground([&] {
      expire();
      for (int db = 0; db < kDbs; ++db) {
        if (keyspace->KeyCount(db) != model[db].size()) return false;
      }
      return true;
    });
    for (int db = 0; db < kDbs; ++db) {
      ASSERT_EQ(keyspace->KeyCount(db), model[db].size());
      uint64_t expires = 0;
      for (const auto& [key, value] : model[db]) expires += value.expire_at_ms != 0;
      ASSERT_EQ(keyspace->ExpiryCount(db), expires);
      for (int i = 0; i < 30; ++i) {
        const auto found = model[db].find(Name("k", i));
        ASSERT_EQ(Get(Name("k", i), db),
                  found == model[db].end() ? std::nullopt : std::optional(found->second.text));
      }
      ASSERT_TRUE(keyspace->AllResident(db));
    }
  };
  for (int step = 0; step < 4000; ++step) {
    expire();
    const int db = static_cast<int>(below(kDbs)), other_db = static_cast<int>(below(kDbs));
    const std::string key = Name("k", static_cast<int>(below(30))),
                      other = Name("k", static_cast<int>(below(30)));
    const auto found = model[db].find(key);
    const bool exists = found != model[db].end();
    const uint64_t at = due();
    switch (below(12)) {
      case 0:
      case 1:
      case 2: {
        const std::string text = std::to_string(step);
        const uint64_t expiry = below(2) == 0 ? at : 0;
        Set(key, text, expiry, db);
        model[db][key] = {text, expiry};
        break;
      }
      case 3:
        ASSERT_EQ(Remove(key, db), exists);
        if (exists) model[db].erase(found);
        break;
      case 4:
      case 5:
        if (!exists) break;
        SetExpiry(key, at, db);
        found->second.expire_at_ms = at;
        break;
      case 6:
        if (!exists) break;
        SetExpiry(key, 0, db);
        found->second.expire_at_ms = 0;
        break;
      case 7:
      case 8:  // RENAME, MOVE
        if (!exists || (db == other_db && key == other)) break;
        Run(
            [&](Txn& txn) {
              Object* from = txn.Find(key);
              txn.Select(other_db);
              txn.Move(from, txn.ForWrite(other));
            },
            db);
        model[other_db][other] = model[db][key];
        model[db].erase(key);
        break;
      case 9:
        if (below(20) == 0) {
          ASSERT_TRUE(keyspace->FlushDb(db).ok());
          model[db].clear();
        } else if (below(5) == 0) {
          keyspace->SwapDb(db, other_db);
          if (db != other_db) std::swap(model[db], model[other_db]);
        }
        break;
      case 10: clock.AdvanceMs(below(200)); break;
      default: ASSERT_EQ(Get(key, db), exists ? std::optional(found->second.text) : std::nullopt);
    }
    if (below(6) == 0) {
      Commit();
      if (below(10) == 0) keyspace->Tick();
      keyspace->Housekeeping();
      if (below(40) == 0) EvictAll();
      if (below(150) == 0) {
        Commit();
        Crash();
      }
    }
    if (step % 500 == 499) {
      ASSERT_NO_FATAL_FAILURE(check());
    }
  }
  Commit();
  Crash();
  ASSERT_NO_FATAL_FAILURE(check());
  Purge();
  size_t keys = 0;
  for (const auto& db : model) keys += db.size();
  EXPECT_EQ(RowsOf(Family::kMetadata).size(), keys);
}

TEST_F(KeyspaceTest, AllResidentOnlyWhileEverythingIsInRam) {
  EXPECT_TRUE(keyspace->AllResident(0));
  for (int i = 0; i < 10; ++i) Set(Name("k", i), "v");
  EXPECT_TRUE(keyspace->AllResident(0));
  EvictAll();
  EXPECT_FALSE(keyspace->AllResident(0));
  EXPECT_EQ(keyspace->RandomResidentKey(0), std::nullopt);
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(keyspace->AllResident(0));
    Get(Name("k", i));
  }
  EXPECT_TRUE(keyspace->AllResident(0));
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(keyspace->RandomResidentKey(0).value());
  EXPECT_EQ(seen.size(), 10u);
  // What is not there needs no look at the disk.
  const uint64_t reads = keyspace->stats().cached_reads;
  EXPECT_EQ(Get("none"), std::nullopt);
  EXPECT_EQ(keyspace->stats().cached_reads, reads);
}

// ---- Expiry
// ------------------------------------------------------------------------------------------------

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

// ---- Events
// ------------------------------------------------------------------------------------------------

TEST_F(KeyspaceTest, EventsOnlyForThoseWhoListen) {
  Set("a", "1");
  Commit();
  EXPECT_TRUE(keyspace->TakeEvents().empty());
  keyspace->Listen({.changes = true});
  Set("b", "1", 0, 3);
  Commit();
  const std::vector<KeyEvent> events = keyspace->TakeEvents();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].db, 3);
  EXPECT_EQ(events[0].key, "b");
  EXPECT_STREQ(events[0].name, "set");
  EXPECT_TRUE(keyspace->TakeEvents().empty());
}

// ---- Databases
// ---------------------------------------------------------------------------------------------

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

// ---- Eviction
// ----------------------------------------------------------------------------------------------

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

TEST_F(EvictionOrderTest, LruAfterTheClockWasSetBack) {
  Fill(0, 0);
  clock.SetWallMs(now() - 3600'000);
  keyspace->TakeIn();
  const Object* object = keyspace->hot().Find(0, "k0");
  EXPECT_EQ(keyspace->eviction().IdleMs(object), 0u);
}

// ---- Snapshots
// ---------------------------------------------------------------------------------------------

class SnapshotTest : public KeyspaceTest {
 protected:
  /// Runs `job` as a command does: again after a wait.
  void Offload(std::function<void(const SnapshotView&)> job, int db = 0) {
    Command command;
    keyspace->TakeIn();
    ASSERT_TRUE(keyspace->Offload(command, db, std::move(job)));
    EXPECT_TRUE(command.suspended());
    AwaitReady({&command});
  }
  std::vector<std::string> Keys(std::string prefix, std::string from = {}, int db = 0) {
    std::vector<std::string> keys;
    Offload(
        [&](const SnapshotView& view) {
          EXPECT_TRUE(view.ForEachKey(prefix, from,
                                      [&](const SnapshotView::Key& key, bool expired) {
                                        if (!expired) keys.emplace_back(key.key);
                                        return true;
                                      })
                          .ok());
        },
        db);
    return keys;
  }
};

TEST_F(SnapshotTest, KeysWithAPrefixInOrder) {
  for (const char* key : {"user:2", "user:1", "user", "used", "user;", "v", "\xff\xff", "\xff"})
    Set(key, "1");
  Set("user:3", "1", now() + 10);
  Set("user:other db", "1", 0, 1);
  EXPECT_THAT(Keys("user:"), ElementsAre("user:1", "user:2", "user:3"));  // and commits what is pending
  EXPECT_FALSE(keyspace->pending());
  clock.AdvanceMs(20);
  EXPECT_THAT(Keys("user:"), ElementsAre("user:1", "user:2"));
  EXPECT_THAT(Keys("user:", "user:1a"), ElementsAre("user:2"));
  EXPECT_THAT(Keys("\xff"), ElementsAre("\xff", "\xff\xff"));
  EXPECT_EQ(Keys("").size(), 8u);
  EXPECT_THAT(Keys("", "", 1), ElementsAre("user:other db"));
  EXPECT_THAT(Keys("", "", 9), ElementsAre());
}

TEST_F(SnapshotTest, LaterWritesAreNotSeen) {
  Set("a", "1");
  std::vector<std::string> keys;
  Command command;
  ASSERT_TRUE(keyspace->Offload(command, 0, [&](const SnapshotView& view) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_TRUE(view.ForEachKey("", "",
                                [&](const SnapshotView::Key& key, bool) {
                                  keys.emplace_back(key.key);
                                  return true;
                                })
                    .ok());
  }));
  Set("b", "1");
  Commit();
  AwaitReady({&command});
  EXPECT_THAT(keys, ElementsAre("a"));
}

TEST_F(SnapshotTest, RandomKeyReachesEveryKey) {
  std::set<std::string> all = {"",
                               std::string(1, '\0'),
                               "\xff\xff\xff",
                               std::string(100, 'x'),
                               std::string(99, 'x'),
                               std::string(100, 'x') + "1",
                               std::string(100, 'x') + "2"};
  for (int i = 0; i < 40; ++i) all.insert(Name("key:", i));
  for (const std::string& key : all) Set(key, "1");
  Set("expired", "1", now() + 10);
  clock.AdvanceMs(20);
  keyspace->SetActiveExpiry(false);
  std::set<std::string> seen;
  Offload([&](const SnapshotView& view) {
    for (uint64_t seed = 0; seed < 5000; ++seed) {
      const Result<std::optional<std::string>> key = view.RandomKey(seed);
      ASSERT_TRUE(key.ok());
      ASSERT_TRUE(key->has_value());
      seen.insert(**key);
    }
  });
  EXPECT_EQ(seen, all);
  Offload([&](const SnapshotView& view) { EXPECT_FALSE(view.RandomKey(1)->has_value()); }, 7);
}

// ---- Directories
// -------------------------------------------------------------------------------------------

TEST_F(KeyspaceTest, CheckpointHasEverything) {
  for (int i = 0; i < 500; ++i) Set(Name("k", i), Name("v", i), i % 2 == 0 ? now() + 1000'000 : 0);
  Collect("rows", 300);
  Set("big", std::string(60'000, 'b'), 0, 4);
  const std::string copy = options.dir + "/backup";
  bool done = false;
  ASSERT_TRUE(keyspace
                  ->StartCheckpoint(copy,
                                    [&](Status status) {
                                      EXPECT_TRUE(status.ok()) << status.message();
                                      done = true;
                                    })
                  .ok());
  EXPECT_FALSE(keyspace->pending());
  Set("later", "1");
  Commit();
  ASSERT_TRUE(Await([&] { return done; }));
  Set("k0", "changed");
  ASSERT_TRUE(keyspace->CheckpointNow(copy + "2").ok());
  ASSERT_TRUE(keyspace->CheckpointNow(copy + "2").ok());  // replaces the older one
  const std::string dir = options.dir;
  options.dir = copy;
  Crash();
  for (int i = 0; i < 500; ++i) ASSERT_EQ(Get(Name("k", i)), Name("v", i));
  EXPECT_EQ(Get("big", 4), std::string(60'000, 'b'));
  EXPECT_EQ(keyspace->KeyCount(0),
            501u + (Get("later").has_value() ? 1 : 0));  // at some moment since the start
  EXPECT_EQ(keyspace->ExpiryCount(0), 250u);
  Run([&](Txn& txn) { EXPECT_EQ(txn.Get(txn.Find("rows"), RowSpace::kFields, RowName(299)), "0123456789"); });
  options.dir = copy + "2";
  Crash();
  EXPECT_EQ(Get("k0"), "changed");
  EXPECT_EQ(Get("later"), "1");
  options.dir = dir;
  Crash();
}

TEST_F(KeyspaceTest, FewerDatabasesAreRefusedWhileOneHasKeys) {
  Set("a", "1");
  Set("b", "1", 0, 12);
  Commit();
  keyspace.reset();
  options.databases = 12;
  EXPECT_EQ(Keyspace::Open(options, clock).code(), Code::kInvalid);
  options.databases = 13;
  Open();
  EXPECT_EQ(Get("b", 12), "1");
  Remove("b", 12);
  Commit();
  options.databases = 2;
  Crash();
  EXPECT_EQ(Get("a"), "1");
  Set("c", "1", 0, 1);
  Commit();
  options.databases = 16;
  Crash();
  EXPECT_EQ(Get("b", 12), std::nullopt);
  EXPECT_EQ(Get("c", 1), "1");
}

std::map<std::string, std::string> Contents(const std::string& dir) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    contents[entry.path()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return contents;
}

TEST_F(KeyspaceTest, NewerFormatIsRefusedAndNothingIsTouched) {
  Set("a", "1");
  Commit();
  rocksdb::WriteBatch batch;
  std::string version;
  format::AppendVersion(version, format::kFormatVersion + 1, "thermocline 99");
  batch.Put(keyspace->store().handle(Family::kSystem), ToSlice(format::kVersionKey), version);
  Status why;
  ASSERT_EQ(keyspace->store().Write(batch, true, &why), Store::Wrote::kYes);
  keyspace.reset();
  const auto before = Contents(options.dir);
  const Result<std::unique_ptr<Keyspace>> opened = Keyspace::Open(options, clock);
  EXPECT_EQ(opened.code(), Code::kNotSupported);
  EXPECT_THAT(opened.status().message(), testing::HasSubstr("thermocline 99"));
  const auto after = Contents(options.dir);
  std::vector<std::string> names_before, names_after;
  for (const auto& [name, bytes] : before) names_before.push_back(name);
  for (const auto& [name, bytes] : after) names_after.push_back(name);
  EXPECT_EQ(names_before, names_after);
  EXPECT_TRUE(before == after);
}

TEST_F(KeyspaceTest, CrashBeforeTheVersionWasWritten) {
  keyspace.reset();
  std::filesystem::remove_all(options.dir + "/rocksdb");
  rocksdb::Options plain;
  plain.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(plain, options.dir + "/rocksdb", &db).ok());
  rocksdb::ColumnFamilyHandle* family = nullptr;
  ASSERT_TRUE(db->CreateColumnFamily({}, "metadata", &family).ok());
  ASSERT_TRUE(db->DestroyColumnFamilyHandle(family).ok());
  delete db;
  Open();
  Set("a", "1");
  Commit();
  Crash();
  EXPECT_EQ(Get("a"), "1");
}

TEST_F(KeyspaceTest, AnotherProgramsDatabaseIsRefused) {
  keyspace.reset();
  options.dir += "/other";
  std::filesystem::create_directories(options.dir);
  rocksdb::Options plain;
  plain.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(plain, options.dir + "/rocksdb", &db).ok());
  ASSERT_TRUE(db->Put({}, "key", "value").ok());
  delete db;
  EXPECT_EQ(Keyspace::Open(options, clock).code(), Code::kCorruption);
  options.dir = std::filesystem::path(options.dir).parent_path();
}

TEST_F(KeyspaceTest, CorruptRowFailsItsKeyAlone) {
  for (const char* key : {"a", "b", "c", "d"}) Set(key, "1");
  Commit();
  const std::string packed("\x05\x00\x02\x00\x00\x05\x01", 7);  // a hash that says it has five rows
  for (const auto& [key, bytes] : std::map<std::string, std::string>{{"b", "\x63"}, {"c", packed}}) {
    std::string row;
    format::AppendMetadataKey(row, 0, key);
    rocksdb::WriteBatch batch;
    batch.Put(keyspace->store().handle(Family::kMetadata), row, bytes);
    Status why;
    ASSERT_EQ(keyspace->store().Write(batch, true, &why), Store::Wrote::kYes);
  }
  for (const bool cached : {true, false}) {
    if (cached) {
      EvictAll();
    } else {
      GoCold();
    }
    for (const char* key : {"b", "c"}) {
      Command command;
      Ran ran;
      while ((ran = RunOnce(command, [&](Txn& txn) { (void)txn.Find(key); })) == Ran::kWaiting)
        AwaitReady({&command});
      EXPECT_EQ(ran, Ran::kFailed) << key;
      EXPECT_EQ(keyspace->error().code(), Code::kCorruption);
      EXPECT_FALSE(command.suspended());
    }
    EXPECT_EQ(Get("a"), "1");
    EXPECT_EQ(Get("d"), "1");
    EXPECT_TRUE(keyspace->writable());
    EXPECT_FALSE(keyspace->AllResident(0));
  }
}

}  // namespace
}  // namespace thermocline
