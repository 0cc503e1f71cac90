#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

using Ran = Keyspace::Ran;

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

TEST_F(KeyspaceTest, OlderFormatIsMarkedAsTheNewOne) {
  Set("a", "1");
  Commit();
  rocksdb::WriteBatch batch;
  std::string stored;
  format::AppendVersion(stored, format::kFormatVersion - 1, "thermocline 0");
  batch.Put(keyspace->store().handle(Family::kSystem), ToSlice(format::kVersionKey), stored);
  Status why;
  ASSERT_EQ(keyspace->store().Write(batch, true, &why), Store::Wrote::kYes);
  Reopen();
  EXPECT_EQ(Get("a"), "1");
  rocksdb::PinnableSlice row;
  ASSERT_EQ(keyspace->store().Get(Family::kSystem, format::kVersionKey, &row, &why), Store::Found::kYes);
  uint32_t version = 0;
  std::string_view program;
  ASSERT_TRUE(format::DecodeVersion(ToView(row), &version, &program).ok());
  EXPECT_EQ(version, format::kFormatVersion);
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
