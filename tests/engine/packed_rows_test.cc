// Packed collections at rest and unpacked: the bytes, and how objects change between the two.

#include "engine/packed_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/collection.h"
#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

std::string Pack(const ObjectRows& rows) {
  std::string bytes;
  AppendPacked(rows, &bytes);
  return bytes;
}

std::vector<std::string> KeysOf(const RowTree& tree) {
  std::vector<std::string> keys;
  for (auto c = tree.SeekForward({}); c.at() == RowTree::Cursor::At::kRow; c.Next())
    keys.emplace_back(c.key());
  return keys;
}

TEST(PackedRowsTest, RoundTrips) {
  std::mt19937_64 random(1);
  UnpackScratch scratch;
  for (int step = 0; step < 3000; ++step) {
    const ObjectType type = step % 2 == 0 ? ObjectType::kHash : ObjectType::kSortedSet;
    ObjectRows rows;
    for (uint64_t i = random() % 40; i > 0; --i) {
      const std::string key = std::to_string(random() % 100) + std::string(random() % 50 == 0 ? 300 : 0, 'k');
      const size_t size = 8 + (type == ObjectType::kHash && random() % 20 == 0 ? random() % 400 : 0);
      rows.fields.Put(key, std::string(size, static_cast<char>(random())));
    }
    rows.body.count = rows.fields.count();
    const std::string bytes = Pack(rows);
    ObjectRows again;
    ASSERT_TRUE(Unpack(type, bytes, &scratch, &again));
    again.fields.CheckInvariants();
    again.scores.CheckInvariants();
    ASSERT_EQ(Pack(again), bytes);
    ASSERT_EQ(again.fields.data_bytes(), rows.fields.data_bytes());
    if (type == ObjectType::kHash) {
      ASSERT_EQ(again.scores.count(), 0u);
      continue;
    }
    std::vector<std::string> scores;
    for (const std::string& key : KeysOf(rows.fields)) {
      scores.push_back(std::string(rows.fields.Find(key).value) + key);
    }
    std::sort(scores.begin(), scores.end());
    ASSERT_EQ(KeysOf(again.scores), scores);
  }
}

TEST(PackedRowsTest, DamageIsFound) {
  ObjectRows rows;
  for (const char* member : {"a", "b", "c", "d"}) rows.fields.Put(member, "12345678");
  rows.body.count = 4;
  const std::string bytes = Pack(rows);
  UnpackScratch scratch;
  for (size_t size = 0; size < bytes.size(); ++size) {
    ObjectRows cut;
    EXPECT_FALSE(Unpack(ObjectType::kSortedSet, bytes.substr(0, size), &scratch, &cut)) << size;
  }
  for (size_t i = 0; i < bytes.size() * 256; ++i) {
    std::string damaged = bytes;
    damaged[i / 256] = static_cast<char>(i % 256);
    ObjectRows found;
    if (!Unpack(ObjectType::kSortedSet, damaged, &scratch, &found)) continue;
    found.fields.CheckInvariants();
    found.scores.CheckInvariants();
  }
  ObjectRows twice, short_score;
  EXPECT_FALSE(Unpack(ObjectType::kHash, {"\2\0\0\2\1a\0\1a\0", 10}, &scratch, &twice));
  EXPECT_FALSE(Unpack(ObjectType::kSortedSet, {"\1\0\0\1\1a\1b", 8}, &scratch, &short_score));
}

TEST(PackedRowsTest, SingleRowsAreFoundWhereTheyLie) {
  ObjectRows rows;
  for (const char* key : {"b", "d", "dd", "f"}) rows.fields.Put(key, std::string("value of ") + key);
  rows.body.count = 4;
  const std::string bytes = Pack(rows);
  for (const bool for_write : {false, true}) {
    for (const char* key : {"b", "d", "dd", "f"}) {
      const PackedPlace place = FindPacked(bytes, key, for_write);
      ASSERT_TRUE(!place.damaged && place.found) << key;
      EXPECT_EQ(place.value, std::string("value of ") + key);
      EXPECT_EQ(place.rows, 4u);
      // Without the row it is the place where it belongs.
      std::string without = bytes;
      without.erase(place.at, place.size);
      without[place.rows_at] = 3;
      const PackedPlace gap = FindPacked(without, key, for_write);
      EXPECT_TRUE(!gap.damaged && !gap.found) << key;
      EXPECT_EQ(gap.at, place.at);
      EXPECT_EQ(gap.size, 0u);
    }
    EXPECT_EQ(FindPacked(bytes, "z", for_write).at, bytes.size());
    EXPECT_EQ(FindPacked(bytes, "", for_write).at, FindPacked(bytes, "b", for_write).at);
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_TRUE(FindPacked(std::string_view(bytes).substr(0, size), "d", /*for_write=*/true).damaged) << size;
  }
  EXPECT_TRUE(FindPacked(bytes + "x", "d", /*for_write=*/true).damaged);
  for (size_t i = 0; i < bytes.size() * 256; ++i) {
    std::string damaged = bytes;
    damaged[i / 256] = static_cast<char>(i % 256);
    const PackedPlace place = FindPacked(damaged, "dd", /*for_write=*/true);
    if (!place.damaged) {
      ASSERT_LE(place.at + place.size, damaged.size());
    }
  }
}

class RestTest : public KeyspaceTest {
 protected:
  static constexpr size_t kPlaces = 3;
  void SetUp() override {
    options.unpacked_max = kPlaces;
    KeyspaceTest::SetUp();
  }
  void House() {
    while (keyspace->Housekeeping()) {
    }
  }
  const Object* At(int i) { return keyspace->hot().Find(0, Name("k", i)); }
  /// Makes collections and lets all but kPlaces of them rest.
  void Make(int count) {
    for (int i = 0; i < count; ++i) Collect(Name("k", i), 5);
    Commit();
    House();
  }
  int Resting(int count) {
    int resting = 0;
    for (int i = 0; i < count; ++i) resting += At(i) != nullptr && At(i)->at_rest;
    return resting;
  }
  void CheckAccount(int count) {
    const HotTier& hot = keyspace->hot();
    size_t bytes = 0;
    for (int i = 0; i < count; ++i) bytes += At(i) == nullptr ? 0 : hot.ObjectBytes(At(i));
    EXPECT_EQ(hot.used_bytes() - table_bytes_, bytes);
  }
  void NoteTable() { table_bytes_ = keyspace->hot().used_bytes(); }
  size_t table_bytes_ = 0;
};

TEST_F(RestTest, AllButAFewRestAndAreWokenByUse) {
  NoteTable();
  Make(20);
  EXPECT_EQ(Resting(20), 17);
  EXPECT_EQ(keyspace->hot().workbench().size(), kPlaces);
  CheckAccount(20);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i) {
      Run([&](Txn& txn) {
        Object* object = txn.Find(Name("k", i));
        ASSERT_TRUE(object->has_rows && !object->at_rest);
        EXPECT_EQ(CollectionCount(object), 5u);
        EXPECT_EQ(txn.Get(object, RowSpace::kFields, RowName(3)), "0123456789");
        if (round == 1) txn.Put(object, RowSpace::kFields, RowName(3), "0123456789");
      });
      CheckAccount(20);
      Commit();
      House();
      CheckAccount(20);
      EXPECT_EQ(keyspace->hot().workbench().size(), kPlaces);
    }
  }
}

TEST_F(RestTest, WhatIsUsedAgainStays) {
  Make(20);
  for (int i = 0; i < 20; ++i) {
    for (int use = 0; use < 2; ++use) Run([](Txn& txn) { txn.Find("k0"); });
    Run([&](Txn& txn) { txn.Find(Name("k", i)); });
    House();
    EXPECT_FALSE(At(0)->at_rest) << i;
  }
}

TEST_F(RestTest, SingleRowsAreReadAndWrittenAtRest) {
  options.store.block_cache_bytes = 1;  // from Reopen on
  for (int i = 0; i < 200; ++i) Set(Name("cold", i), "x");
  Make(20);
  ASSERT_TRUE(At(10)->at_rest);
  Reopen();
  int cold = 0;
  std::map<std::string, std::string> model;
  for (int i = 0; i < 5; ++i) model[RowName(i)] = "0123456789";
  std::mt19937_64 random(3);
  int picked = 0;
  for (int step = 0; step < 2000; ++step) {
    const std::string field = RowName(static_cast<int>(random() % 12));
    // For a while it grows beyond what is picked from, and comes back.
    const std::string value(random() % (step / 500 % 2 == 0 ? 20 : 90),
                            static_cast<char>('a' + random() % 26));
    const bool erase = random() % 3 == 0 && model.size() > 1;
    const bool unwinds = random() % 10 == 0;
    Run([&](Txn& txn) {
      Object* object = *txn.ForWrite(Name("k", 10), ObjectType::kHash, Txn::Access::kPick);
      picked += object->at_rest;
      EXPECT_EQ(txn.Get(object, RowSpace::kFields, field).has_value(), model.contains(field));
      const bool there = model.contains(field);
      if (erase) {
        txn.Erase(object, RowSpace::kFields, field);
      } else {
        txn.Put(object, RowSpace::kFields, field, value);
      }
      if (there == erase) AddToCount(txn, object, there ? -1 : 1);
    });
    if (erase) {
      model.erase(field);
    } else {
      model[field] = value;
    }
    if (unwinds) {
      Command command;
      const Keyspace::Ran ran = RunOnce(command, [&](Txn& txn) {
        Object* object = *txn.ForWrite(Name("k", 10), ObjectType::kHash, Txn::Access::kPick);
        txn.Put(object, RowSpace::kFields, "another", "value");
        AddToCount(txn, object, 1);
        (void)txn.Find(Name("cold", cold++));
      });
      ASSERT_EQ(ran, Keyspace::Ran::kWaiting);
      ASSERT_TRUE(Await([&] { return !command.suspended(); }));
      keyspace->Forget(command);
    }
    if (random() % 4 == 0) Commit();
    if (random() % 4 == 0) {
      Commit();
      for (int i = 0; i < 8; ++i) Run([&](Txn& txn) { txn.Find(Name("k", i)); });
      House();
    }
    if (step % 200 == 199) {
      Commit();
      Reopen();
      cold = 0;
    }
    Run([&](Txn& txn) {
      Object* object = txn.Find(Name("k", 10), Txn::Access::kPick);
      ASSERT_EQ(CollectionCount(object), model.size());
      auto at = model.begin();
      txn.VisitRows(object, RowSpace::kFields, [&](std::string_view key, std::string_view bytes) {
        ASSERT_TRUE(at != model.end());
        EXPECT_EQ(key, at->first);
        EXPECT_EQ(bytes, at->second);
        ++at;
      });
      EXPECT_TRUE(at == model.end());
    });
  }
  EXPECT_GT(picked, 500);
}

TEST_F(RestTest, AWrongCountIsDamage) {
  std::string key, value;
  format::AppendMetadataKey(key, 0, "k1");
  format::AppendHead(value, {ObjectType::kHash, Encoding::kAuto, 0, 0});
  value += std::string_view("\3\0\0\2\1a\1x\1b\1y", 12);  // three fields, of which two are there
  Make(2);
  rocksdb::WriteBatch batch;
  ASSERT_TRUE(batch.Put(keyspace->store().handle(Family::kMetadata), key, value).ok());
  Status why;
  ASSERT_EQ(keyspace->store().Write(batch, /*sync=*/false, &why), Store::Wrote::kYes);
  Reopen();
  Run([](Txn& txn) { (void)txn.Find("k1", Txn::Access::kPeek); });
  const auto fails = [&](auto&& body) {
    Command command;
    EXPECT_EQ(RunOnce(command, body), Keyspace::Ran::kFailed);
    EXPECT_EQ(keyspace->error().code(), Code::kCorruption);
    keyspace->Forget(command);
    Run([](Txn& txn) { (void)txn.Find("k1", Txn::Access::kPeek); });
  };
  fails([](Txn& txn) { (void)txn.Find("k1"); });
  fails([](Txn& txn) {
    txn.VisitRows(txn.Find("k1", Txn::Access::kPick), RowSpace::kFields, [](auto, auto) {});
  });
}

TEST_F(RestTest, LookingDoesNotWake) {
  Make(20);
  Run([&](Txn& txn) {
    for (int i = 0; i < 20; ++i)
      EXPECT_EQ(txn.Find(Name("k", i), Txn::Access::kPeek)->type, ObjectType::kHash);
  });
  EXPECT_EQ(Resting(20), 17);
  for (int i = 0; i < 20; ++i) {
    Run([&](Txn& txn) { txn.Remove(txn.Find(Name("k", i), Txn::Access::kPeek)); });
  }
  Commit();
  EXPECT_EQ(keyspace->KeyCount(0), 0u);
  EXPECT_EQ(keyspace->hot().object_count(), 0u);
  EXPECT_EQ(keyspace->hot().workbench().size(), 0u);
}

TEST_F(RestTest, WhatIsWrittenOrWaitedForDoesNotRest) {
  Make(20);
  Command waiter;
  ASSERT_TRUE(keyspace->Offload(
      waiter, 0, [](const SnapshotView&) {}, keyspace->hot().Find(0, "k0")));
  Run([&](Txn& txn) {
    for (int i = 0; i < 10; ++i) txn.Put(txn.Find(Name("k", i)), RowSpace::kFields, RowName(1), "x");
  });
  House();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(At(i)->at_rest) << i;
  Commit();
  House();
  EXPECT_FALSE(At(0)->at_rest);
  EXPECT_EQ(keyspace->hot().workbench().size(), kPlaces);
  AwaitReady({&waiter});
  keyspace->Forget(waiter);
}

TEST_F(RestTest, MovedSpreadAndEvictedOnesLeaveTheBench) {
  NoteTable();
  Make(20);
  Run([&](Txn& txn) { txn.Move(txn.Find("k1"), txn.ForWrite("k2")); });
  CheckAccount(20);
  Run([&](Txn& txn) {
    Object* object = txn.Find("k2");
    for (int i = 0; i < 100; ++i) txn.Put(object, RowSpace::kFields, RowName(i), "0123456789");
  });
  Run([&](Txn& txn) { txn.SetString(txn.ForWrite("k3"), "string", Encoding::kAuto); });
  CheckAccount(20);
  Commit();
  House();
  CheckAccount(20);
  EXPECT_NE(At(2)->rows->id, 0u);
  EXPECT_EQ(At(2)->rows->bench_place, kNoPlace);
  EXPECT_EQ(keyspace->hot().workbench().size(), kPlaces);
  EvictAll();
  EXPECT_EQ(keyspace->hot().workbench().size(), 0u);
  Run([&](Txn& txn) { EXPECT_EQ(CollectionCount(txn.Find("k4")), 5u); });
}

}  // namespace
}  // namespace thermocline
