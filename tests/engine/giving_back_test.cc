// What is deleted leaves the disk by itself: nobody writes anything more, nobody compacts by hand.

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "engine/collection.h"
#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

constexpr int kKeys = 2000;
constexpr uint64_t kMib = 1 << 20;

class GivingBackTest : public KeyspaceTest {
 protected:
  void SetUp() override {
    options.store.write_buffer_bytes = 1 << 20;
    KeyspaceTest::SetUp();
    Write();
    Settle();
    full_ = keyspace->store().disk_bytes();
    ASSERT_GT(full_, 28 * kMib);
  }
  /// 2 MiB of inline strings, 16 of blobs, 13 in a large hash; none of it can be compressed.
  void Write() {
    for (int i = 0; i < kKeys; ++i) {
      Set(Name("small", i), Bytes(1000));
      if (i % 2 == 0) Set(Name("blob", i), Bytes(16'000));
      if (i % 100 == 99) Commit();
    }
    for (int i = 0; i < 100; ++i) {
      Run([&](Txn& txn) {
        Object* object = txn.ForWrite("hash");
        if (!object->live()) txn.MakeRows(object, ObjectType::kHash);
        for (int row = 0; row < 1000; ++row) {
          txn.Put(object, RowSpace::kFields, RowName(i * 1000 + row), Bytes(130));
        }
        AddToCount(txn, object, 1000);
      });
      Commit();
    }
  }
  std::string Bytes(size_t size) {
    std::string bytes(size, 0);
    for (char& byte : bytes) byte = static_cast<char>(random_());
    return bytes;
  }
  void Settle() {
    ASSERT_TRUE(keyspace->store().Flush().ok());
    ASSERT_TRUE(Await([&] {
      return keyspace->store().IntProperty(Family::kMetadata, "rocksdb.num-running-compactions") == 0;
    }));
  }
  /// Time passes, until the database is as small as it was.
  void ExpectToShrinkTo(uint64_t bytes) {
    bool small = false;
    for (int i = 0; i < 3000 && !small; ++i) {
      clock.AdvanceMs(1000);
      keyspace->TakeIn();
      keyspace->Tick();
      while (keyspace->Housekeeping()) keyspace->TakeIn();
      Commit();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      small = keyspace->store().disk_bytes() <= bytes;
    }
    EXPECT_LE(keyspace->store().disk_bytes(), bytes);
  }
  uint64_t full_ = 0;
  std::mt19937 random_{1};
};

TEST_F(GivingBackTest, DeletedKeys) {
  for (int i = 0; i < kKeys; ++i) {
    for (const char* name : {"small", "blob"}) Remove(Name(name, i));
  }
  Remove("hash");
  Commit();
  EXPECT_EQ(keyspace->KeyCount(0), 0u);
  ExpectToShrinkTo(full_ / 8);
}

TEST_F(GivingBackTest, ExpiredKeys) {
  for (int i = 0; i < kKeys; ++i) {
    Run([&](Txn& txn) {
      for (const char* name : {"small", "blob"}) {
        if (Object* object = txn.Find(Name(name, i))) txn.SetExpiry(object, now() + 1000);
      }
    });
  }
  Run([&](Txn& txn) { txn.SetExpiry(txn.Find("hash"), now() + 1000); });
  Commit();
  ExpectToShrinkTo(full_ / 8);
  EXPECT_EQ(keyspace->KeyCount(0), 0u);
}

TEST_F(GivingBackTest, FlushedDatabases) {
  Run([&](Txn& txn) { EXPECT_TRUE(txn.FlushDb(0).ok()); });
  Commit();
  ExpectToShrinkTo(full_ / 8);
}

TEST_F(GivingBackTest, OverwrittenValues) {
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < kKeys; i += 2) {
      Set(Name("blob", i), Bytes(16'000));
      if (i % 100 == 98) Commit();
    }
  }
  Commit();
  ExpectToShrinkTo(full_ * 2);  // of 108 MiB that were written
}

TEST_F(GivingBackTest, TablesOfDeletionsAreCompactedTogether) {
  Store& store = keyspace->store();
  const auto tables_in_level0 = [&] {
    return std::stoi(store.TextProperty(Family::kFields, "rocksdb.num-files-at-level0"));
  };
  int erased = 0;
  const auto write_table_of_deletions = [&] {
    for (int i = 0; i < 10'000; ++i) {
      Run([&](Txn& txn) { txn.Erase(txn.Find("hash"), RowSpace::kFields, RowName(erased++)); });
    }
    Commit();
    Settle();
  };
  const auto expect_compaction = [&] {
    EXPECT_TRUE(store.GiveBack());
    EXPECT_TRUE(Await([&] { return tables_in_level0() == 0; }));
    EXPECT_FALSE(store.GiveBack());
  };
  write_table_of_deletions();
  expect_compaction();
  for (int table = 1; table <= 3; ++table) {
    write_table_of_deletions();
    EXPECT_EQ(tables_in_level0(), table);
  }
  const uint64_t before = store.disk_bytes();
  expect_compaction();
  EXPECT_LT(store.disk_bytes(), before - 3 * kMib);
  // Other tables stay.
  Run([&](Txn& txn) { txn.Put(txn.Find("hash"), RowSpace::kFields, RowName(0), "value"); });
  Commit();
  Settle();
  EXPECT_EQ(tables_in_level0(), 1);
}

TEST_F(GivingBackTest, AFewDeletionsAmongManyKeysWait) {
  for (int i = 0; i < 1500; ++i)
    Run([&](Txn& txn) { txn.Erase(txn.Find("hash"), RowSpace::kFields, RowName(i)); });
  Commit();
  const uint64_t deletions =
      keyspace->store().IntProperty(Family::kFields, "rocksdb.num-deletes-active-mem-table");
  EXPECT_EQ(deletions, 1500u);
  EXPECT_FALSE(keyspace->store().GiveBack());
  EXPECT_EQ(keyspace->store().IntProperty(Family::kFields, "rocksdb.num-deletes-active-mem-table"),
            deletions);
}

}  // namespace
}  // namespace thermocline
