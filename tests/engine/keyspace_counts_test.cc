#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "engine/keyspace_fixture.h"
#include "engine/test_seed.h"

namespace thermocline {
namespace {

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

}  // namespace
}  // namespace thermocline
