#pragma once

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/collection.h"
#include "engine/keyspace_fixture.h"
#include "engine/test_seed.h"

namespace thermocline {

/// How a run of random operations disturbs what is in RAM.
struct DisturbSetting {
  const char* name;
  bool evict_between = false;
  bool flush_between = false;  ///< so that rows are in tables, which a tiny block cache cannot hold
  uint64_t block_cache_bytes = 8 << 20;
  int reopen_one_in = 0;
};

/// Random operations on collections whose rows lie in the fields space, against a model: key -> row -> value.
class CollectionFixture : public KeyspaceFixture, public testing::WithParamInterface<DisturbSetting> {
 protected:
  using Rows = std::map<std::string, std::string>;

  /// One random command on the keyspace and on `model_`, and the comparison of what both gave.
  virtual void Write() = 0;
  virtual void Read() = 0;
  virtual ObjectType type() const = 0;

  void SetUp() override {
    options.store.block_cache_bytes = GetParam().block_cache_bytes;
    KeyspaceFixture::SetUp();
  }

  uint64_t Below(uint64_t n) { return random_() % n; }
  std::string RandomKey() { return "key" + std::to_string(Below(4)); }
  /// Some large ones, some binary ones, some numbers; few enough that they meet again.
  std::string RandomField() {
    const uint64_t i = Below(fields_);
    if (i % 31 == 7) return std::string(300, static_cast<char>(i));
    if (i % 17 == 5) return std::string(1, '\0') + static_cast<char>(i);
    return i % 3 == 0 ? std::to_string(i) : "field" + std::to_string(i);
  }
  std::vector<std::string> RandomFields(size_t max) {
    std::vector<std::string> fields(1 + Below(max));
    for (std::string& field : fields) field = RandomField();
    return fields;
  }
  static std::vector<std::string_view> Views(const std::vector<std::string>& texts) {
    return {texts.begin(), texts.end()};
  }
  /// No key without rows.
  void Drop(const std::string& key) {
    if (model_.contains(key) && model_[key].empty()) model_.erase(key);
  }
  const Rows& Model(const std::string& key) {
    static const Rows kNone;
    const auto found = model_.find(key);
    return found == model_.end() ? kNone : found->second;
  }

  Rows RowsInRam(Txn& txn, std::string_view key) {
    Rows rows;
    Object* object = txn.Find(key);
    if (object == nullptr) return rows;
    EXPECT_EQ(object->type, type());
    for (auto row = txn.SeekForward(object, RowSpace::kFields, {}); row.valid(); row.Next()) {
      rows.emplace(row.key(), row.value());
    }
    EXPECT_EQ(CollectionCount(object), rows.size());
    return rows;
  }

  void CheckAll() {
    for (int i = 0; i < 4; ++i) {
      const std::string key = "key" + std::to_string(i);
      const Rows rows = Run([&](Txn& txn) { return RowsInRam(txn, key); });
      ASSERT_EQ(rows, Model(key)) << key;
    }
    ASSERT_EQ(keyspace->KeyCount(0), model_.size());
  }

  /// The disk holds the live objects and nothing else.
  void CheckDisk() {
    Rows fields;
    std::set<std::string> keys;
    for (const auto& [key, value] : RowsOf(Family::kMetadata)) {
      const std::string name = key.substr(2);
      keys.insert(name);
      ASSERT_TRUE(model_.contains(name)) << name;
      std::string_view rest = value;
      format::Head head;
      format::CollectionBody body;
      ASSERT_TRUE(format::DecodeHead(rest, &head).ok());
      ASSERT_TRUE(format::DecodeCollectionBody(rest, &body));
      ASSERT_EQ(head.type, type());
      ASSERT_EQ(body.count, model_[name].size());
      if (head.object_id == 0) continue;
      for (const auto& [row_key, row_value] : model_[name]) {
        std::string full;
        format::AppendRowKey(full, head.object_id, row_key);
        fields.emplace(full, row_value);
      }
    }
    ASSERT_EQ(keys.size(), model_.size());
    ASSERT_EQ(RowsOf(Family::kFields), fields);
    ASSERT_TRUE(RowsOf(Family::kScores).empty());
  }

  void Disturb() {
    const DisturbSetting& setting = GetParam();
    if (setting.flush_between && Below(3) == 0) {
      ASSERT_TRUE(keyspace->store().Flush().ok());
    }
    if (setting.evict_between) EvictAll();
    if (Below(8) == 0) keyspace->Tick();
    keyspace->Housekeeping();
    if (setting.reopen_one_in > 0 && Below(static_cast<uint64_t>(setting.reopen_one_in)) == 0) {
      Commit();
      Below(2) == 0 ? Crash() : Reopen();
    }
  }

  void RunTurns(int turns) {
    for (int turn = 0; turn < turns; ++turn) {
      for (uint64_t commands = 1 + Below(8); commands > 0; --commands) {
        Below(3) == 0 ? Read() : Write();
        if (HasFatalFailure()) return;
      }
      Commit();
      ASSERT_NO_FATAL_FAILURE(Disturb());
      if (turn % 40 == 0) {
        ASSERT_NO_FATAL_FAILURE(CheckAll());
      }
    }
  }

  /// The whole test: few fields, so that objects stay packed, and many, so that they spread and pack again.
  void RandomOperationsEqualTheModel() {
    const uint64_t first = TestSeed(1);
    for (uint64_t seed = first; seed < first + 3; ++seed) {
      SCOPED_TRACE("SEED=" + std::to_string(seed));
      random_.seed(seed);
      fields_ = seed % 3 == 0 ? 800 : seed % 3 == 1 ? 120 : 12;
      ASSERT_NO_FATAL_FAILURE(RunTurns(GetParam().flush_between ? 120 : 400));
      ASSERT_NO_FATAL_FAILURE(CheckAll());
      Purge();
      ASSERT_NO_FATAL_FAILURE(CheckDisk());
      Reopen();
      ASSERT_NO_FATAL_FAILURE(CheckAll());
      Commit();
      Purge();
      ASSERT_NO_FATAL_FAILURE(CheckDisk());
    }
    if (GetParam().flush_between) {
      EXPECT_GT(waits, 50);
    }
  }

  std::mt19937_64 random_;
  uint64_t fields_ = 10;
  std::map<std::string, Rows> model_;
};

inline auto DisturbSettings() {
  return testing::Values(
      DisturbSetting{"Hot"}, DisturbSetting{.name = "Evicted", .evict_between = true},
      DisturbSetting{.name = "Reopened", .reopen_one_in = 20},
      DisturbSetting{.name = "Cold",
                     .evict_between = true,
                     .flush_between = true,
                     .block_cache_bytes = 1,
                     .reopen_one_in = 50},
      DisturbSetting{
          .name = "HotOverCold", .flush_between = true, .block_cache_bytes = 1, .reopen_one_in = 10});
}

}  // namespace thermocline
