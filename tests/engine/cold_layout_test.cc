// What a cold read costs the disk.

#include <gtest/gtest.h>
#include <rocksdb/statistics.h>

#include <random>
#include <string>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

class ColdLayoutTest : public KeyspaceTest {
 protected:
  ColdLayoutTest() {
    options.store.write_buffer_bytes = 64 << 20;  // one table for each family
    options.store.block_cache_bytes = 64 << 20;   // index and filters stay in it
  }

  uint64_t FileReads() {
    const Store& store = keyspace->store();
    return store.Ticker(rocksdb::LAST_LEVEL_READ_COUNT) + store.Ticker(rocksdb::NON_LAST_LEVEL_READ_COUNT);
  }
  /// Reads of files that `read(i)` costs for keys so far apart that no two lie in one block. Others have been
  /// read before, so that index and filters are known.
  template <typename Read>
  uint64_t ReadsOf(Read&& read) {
    GoCold();
    for (int i = kApart / 2; i < kKeys; i += kApart) read(i);
    const uint64_t before = FileReads();
    for (int i = 0; i < kKeys; i += kApart) read(i);
    return FileReads() - before;
  }
  std::string Bytes(size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random_());
    return bytes;
  }
  /// In the order of their names.
  static std::string Key(int i) { return "key" + RowName(i); }

  static constexpr int kKeys = 8000;
  static constexpr int kApart = 40;  // of a kibibyte: five blocks
  static constexpr uint64_t kReads = kKeys / kApart;
  std::mt19937_64 random_{1};
};

TEST_F(ColdLayoutTest, AStringIsOneRead) {
  for (int i = 0; i < kKeys; ++i) Set(Key(i), Bytes(1024));
  EXPECT_EQ(ReadsOf([&](int i) { EXPECT_EQ(Get(Key(i))->size(), 1024u); }), kReads);
}

TEST_F(ColdLayoutTest, AMissingStringIsNone) {
  for (int i = 0; i < kKeys; ++i) Set(Key(i), Bytes(1024));
  // But where the filter is wrong, one in a hundred.
  EXPECT_LE(ReadsOf([&](int i) { EXPECT_EQ(Get(Key(i) + "x"), std::nullopt); }), kReads / 20);
}

TEST_F(ColdLayoutTest, ASmallHashIsOneRead) {
  for (int i = 0; i < kKeys; ++i) {
    Run([&](Txn& txn) {
      Object* object = txn.ForWrite(Key(i));
      txn.MakeRows(object, ObjectType::kHash);
      txn.SetBody(object, {.count = 10});
      for (int field = 0; field < 10; ++field)
        txn.Put(object, RowSpace::kFields, "field:" + std::to_string(field), Bytes(102));
    });
  }
  EXPECT_EQ(ReadsOf([&](int i) {
              uint64_t rows = 0;
              Run([&](Txn& txn) {
                rows = 0;
                txn.VisitRows(txn.Find(Key(i)), RowSpace::kFields, [&](auto, auto) { ++rows; });
              });
              EXPECT_EQ(rows, 10u);
            }),
            kReads);
}

TEST_F(ColdLayoutTest, AFieldOfALargeHashIsOneReadBesideItsHead) {
  constexpr int kFields = 20'000;
  Run([&](Txn& txn) {
    Object* object = txn.ForWrite("large");
    txn.MakeRows(object, ObjectType::kHash);
    txn.SetBody(object, {.count = kFields});
    for (int i = 0; i < kFields; ++i) txn.Put(object, RowSpace::kFields, Key(i), Bytes(400));
  });
  const auto read = [&](int i) {
    Run([&](Txn& txn) { EXPECT_EQ(txn.Get(txn.Find("large"), RowSpace::kFields, Key(i))->size(), 400u); });
  };
  GoCold();
  for (int i = 50; i < kFields; i += 100) read(i);
  const uint64_t before = FileReads();
  for (int i = 0; i < kFields; i += 100) read(i);
  EXPECT_EQ(FileReads() - before, kFields / 100);
}

}  // namespace
}  // namespace thermocline
