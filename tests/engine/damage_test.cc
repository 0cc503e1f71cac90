#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

constexpr int kKeys = 10'000;

/// Files in which bytes have changed: what cannot be read is told of, and stops nothing else.
class DamageTest : public KeyspaceTest {
 protected:
  void SetUp() override {
    options.read_failed = [this](std::string_view, const Status& why) { failures_.push_back(why); };
    KeyspaceTest::SetUp();
  }
  /// Writes out what there is, and changes a few bytes in the front half of each larger file.
  void Damage() {
    Commit();
    ASSERT_TRUE(keyspace->store().Flush().ok());
    keyspace.reset();
    int files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(options.dir)) {
      const std::string ending = entry.path().extension();
      if ((ending != ".sst" && ending != ".blob") || entry.file_size() < 64 << 10) continue;
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(entry.file_size() / 4));
      file.write("damage", 6);
      ++files;
    }
    ASSERT_GT(files, 0);
    Open();
  }
  /// A value that cannot be compressed away.
  std::string Bytes(size_t size) {
    std::string bytes(size, 0);
    for (char& byte : bytes) byte = static_cast<char>(random_());
    return bytes;
  }
  void CollectBytes(std::string_view key, int rows) {
    Run([&](Txn& txn) {
      Collect(txn, key, rows);
      for (int i = 0; i < rows; ++i) txn.Put(txn.Find(key), RowSpace::kFields, RowName(i), Bytes(20));
    });
  }
  /// What a read of the key failed with.
  Status Read(std::string_view key) {
    Command command;
    for (;;) {
      const Keyspace::Ran ran = RunOnce(command, [&](Txn& txn) { Get(txn, key); });
      if (ran == Keyspace::Ran::kDone) return {};
      if (ran == Keyspace::Ran::kFailed) {
        keyspace->Forget(command);
        return keyspace->error();
      }
      AwaitReady({&command});
    }
  }
  /// Time passes and background work is done until `done()`.
  template <typename Done>
  void PassTime(Done&& done) {
    RunBackground([&] {
      clock.AdvanceMs(100);
      return done();
    });
  }

  std::vector<Status> failures_;
  std::mt19937 random_{1};
};

TEST_F(DamageTest, TheFileOfABlobIsNamed) {
  for (int i = 0; i < 40; ++i) Set(Name("k", i), Bytes(10'000));
  Damage();
  int failed = 0;
  for (int i = 0; i < 40; ++i) {
    const Status status = Read(Name("k", i));
    if (status.ok()) continue;
    ++failed;
    EXPECT_EQ(status.code(), Code::kCorruption);
    EXPECT_NE(status.message().find(options.dir), std::string::npos) << status.message();
    EXPECT_NE(status.message().find(".blob"), std::string::npos) << status.message();
  }
  EXPECT_GT(failed, 0);
  EXPECT_LT(failed, 5);
}

TEST_F(DamageTest, TheFileOfATableIsNamed) {
  for (int i = 0; i < 1000; ++i) Set(Name("k", i), Bytes(200));
  Damage();
  int failed = 0;
  for (int i = 0; i < 1000; ++i) {
    const Status status = Read(Name("k", i));
    failed += !status.ok();
    if (!status.ok()) {
      EXPECT_NE(status.message().find(".sst"), std::string::npos) << status.message();
    }
  }
  EXPECT_GT(failed, 0);
  EXPECT_LT(failed, 500);
}

TEST_F(DamageTest, TheSweepGoesOnBehindADamagedBlock) {
  for (int i = 0; i < kKeys; ++i) {
    Set(Bytes(10), "v", now() + 1 + static_cast<uint64_t>(i));
    if (i % 1000 == 0) Commit();
  }
  Damage();
  clock.AdvanceMs(kKeys + 1000);
  PassTime([&] { return keyspace->stats().expired_keys > kKeys * 9 / 10; });
  ASSERT_FALSE(failures_.empty());
  EXPECT_NE(failures_[0].message().find(".sst"), std::string::npos) << failures_[0].message();
}

TEST_F(DamageTest, RowsThatCannotBeReadArePurged) {
  constexpr int kObjects = 100;
  for (int i = 0; i < kObjects; ++i) CollectBytes(Name("rows", i), 500);
  Damage();
  for (int i = 0; i < kObjects; ++i) {
    Run([&](Txn& txn) { txn.Remove(txn.Find(Name("rows", i), Txn::Access::kPeek)); });
  }
  PassTime([&] { return keyspace->purge_backlog() == 0 && !keyspace->pending(); });
  EXPECT_EQ(keyspace->stats().purged_objects, kObjects);
  EXPECT_FALSE(failures_.empty());
  Reopen();
  EXPECT_EQ(keyspace->purge_backlog(), 0u);
}

TEST_F(DamageTest, AFlushedDatabaseIsPurgedPastADamagedBlock) {
  for (int i = 0; i < kKeys; ++i) Set(Bytes(10), "v");
  for (int i = 0; i < 20; ++i) Collect(Name("rows", i), 2000);
  Damage();
  Run([&](Txn& txn) { EXPECT_TRUE(txn.FlushDb(0).ok()); });
  PassTime([&] { return keyspace->purge_backlog() == 0 && !keyspace->pending(); });
  EXPECT_GT(keyspace->stats().purged_objects, 10u);
  EXPECT_FALSE(failures_.empty());
  Reopen();
  EXPECT_EQ(keyspace->purge_backlog(), 0u);
  EXPECT_EQ(keyspace->KeyCount(0), 0u);
}

}  // namespace
}  // namespace thermocline
