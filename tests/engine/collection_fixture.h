#pragma once

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
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

/// A collection as it is on disk.
struct StoredObject {
  format::Head head;
  format::CollectionBody body;
  std::map<std::string, std::string> fields;  ///< packed ones, too
  std::map<std::string, std::string> scores;  ///< none when packed
};

/// Looks at the disk, where there are only collections.
class StoredFixture : public KeyspaceFixture {
 protected:
  using RowMap = std::map<std::string, std::string>;

  /// The objects by key. No row is left that belongs to none of them.
  void ReadStored(std::map<std::string, StoredObject>* objects) {
    RowMap fields = RowsOf(Family::kFields), scores = RowsOf(Family::kScores);
    for (const auto& [key, value] : RowsOf(Family::kMetadata)) {
      const auto [at, added] = objects->try_emplace(key.substr(2));
      ASSERT_TRUE(added) << at->first;
      StoredObject& object = at->second;
      std::string_view rest = value;
      ASSERT_TRUE(format::DecodeHead(rest, &object.head).ok());
      if (object.head.object_id == 0) {
        ASSERT_TRUE(format::DecodeCollectionBody(rest, &object.body));
        ASSERT_TRUE(format::DecodePackedRows(rest, [&](std::string_view row_key, std::string_view row_value) {
          EXPECT_TRUE(object.fields.empty() || object.fields.rbegin()->first < row_key) << "out of order";
          object.fields.emplace(row_key, row_value);
        }));
      } else {
        ASSERT_TRUE(format::DecodeSpreadBody(rest, &object.body));
        object.fields = TakeRows(fields, object.head.object_id);
        object.scores = TakeRows(scores, object.head.object_id);
      }
    }
    ASSERT_EQ(fields, RowMap()) << "rows without an object";
    ASSERT_EQ(scores, RowMap()) << "rows without an object";
  }

 private:
  /// Moves the rows of an object out of those of a family.
  static RowMap TakeRows(RowMap& family, uint64_t object_id) {
    std::string prefix;
    AppendBig64(prefix, object_id);
    RowMap rows;
    auto row = family.lower_bound(prefix);
    for (; row != family.end() && row->first.starts_with(prefix); row = family.erase(row)) {
      rows.emplace(row->first.substr(prefix.size()), row->second);
    }
    return rows;
  }
};

/// How long a run of random operations is, and on how much.
struct RandomPlan {
  uint64_t first_seed = 1;
  std::array<uint64_t, 3> sizes;  ///< of seeds 0, 1 and 2 modulo 3: small ones stay packed, others spread
  int flushed_turns = 150;        ///< with flushes between; else it is 400
  int flushed_waits = 100;        ///< with flushes between there are more than these
};

/// Random operations on a few keys against a model: key -> Collection.
template <typename Collection>
class ModelFixture : public StoredFixture, public testing::WithParamInterface<DisturbSetting> {
 protected:
  /// One random command on the keyspace and on `model_`, and the comparison of what both gave.
  virtual void Write() = 0;
  virtual void Read() = 0;
  virtual bool NextIsWrite() { return Below(2) == 0; }
  std::string RandomKey() { return Key(Below(keys_)); }
  virtual ObjectType type() const = 0;
  /// The comparison of all that is in an object with its model; without a key the model is empty.
  virtual void CheckKey(const std::string& key, const Collection& model) = 0;
  /// The same of what is on disk; type and count are known to be right.
  virtual void CheckStored(const StoredObject& object, const Collection& model) = 0;
  /// A look at what the run has made, now and then.
  virtual void Observe() {}

  void SetUp() override {
    options.store.block_cache_bytes = GetParam().block_cache_bytes;
    options.unpacked_max = 1;  // so that packed objects rest and wake all the time
    KeyspaceFixture::SetUp();
  }

  uint64_t Below(uint64_t n) { return random_() % n; }
  std::string Key(uint64_t i) const { return key_prefix_ + std::to_string(i); }
  /// Some large ones, some binary ones.
  static std::string FieldName(uint64_t i, const std::string& prefix) {
    if (i % 31 == 7) return std::string(300, static_cast<char>(i));
    if (i % 17 == 5) return std::string(1, '\0') + static_cast<char>(i);
    return prefix + std::to_string(i);
  }
  /// No key without rows.
  void Drop(const std::string& key) {
    if (model_.contains(key) && model_[key].empty()) model_.erase(key);
  }
  const Collection& Model(const std::string& key) const {
    static const Collection kNone;
    const auto found = model_.find(key);
    return found == model_.end() ? kNone : found->second;
  }

  void CheckAll() {
    for (uint64_t i = 0; i < keys_; ++i) {
      SCOPED_TRACE(Key(i));
      ASSERT_NO_FATAL_FAILURE(CheckKey(Key(i), Model(Key(i))));
    }
    ASSERT_EQ(keyspace->KeyCount(0), model_.size());
  }

  /// The disk holds the live objects and nothing else.
  void CheckDisk() {
    std::map<std::string, StoredObject> objects;
    ASSERT_NO_FATAL_FAILURE(ReadStored(&objects));
    ASSERT_EQ(objects.size(), model_.size());
    for (const auto& [key, object] : objects) {
      SCOPED_TRACE(key);
      ASSERT_TRUE(model_.contains(key));
      ASSERT_EQ(object.head.type, type());
      ASSERT_EQ(object.body.count, Model(key).size());
      ASSERT_NO_FATAL_FAILURE(CheckStored(object, Model(key)));
    }
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
        NextIsWrite() ? Write() : Read();
        if (HasFatalFailure()) return;
      }
      Commit();
      ASSERT_NO_FATAL_FAILURE(Disturb());
      if (turn % 40 == 0) {
        ASSERT_NO_FATAL_FAILURE(CheckAll());
        Observe();
      }
    }
  }

  /// The whole test: few fields, so that objects stay packed, and many, so that they spread and pack again.
  void RandomOperationsEqualTheModel(const RandomPlan& plan) {
    const bool flushed = GetParam().flush_between;
    const uint64_t first = TestSeed(plan.first_seed);
    for (uint64_t seed = first; seed < first + 3; ++seed) {
      SCOPED_TRACE("SEED=" + std::to_string(seed));
      random_.seed(seed);
      size_ = plan.sizes[seed % 3];
      ASSERT_NO_FATAL_FAILURE(RunTurns(flushed ? plan.flushed_turns : 400));
      ASSERT_NO_FATAL_FAILURE(CheckAll());
      Purge();
      ASSERT_NO_FATAL_FAILURE(CheckDisk());
      Reopen();
      ASSERT_NO_FATAL_FAILURE(CheckAll());
      Commit();
      Purge();
      ASSERT_NO_FATAL_FAILURE(CheckDisk());
    }
    if (flushed) {
      EXPECT_GT(waits, plan.flushed_waits);
    }
  }

  std::mt19937_64 random_;
  uint64_t size_ = 10;  ///< how many different fields there are
  std::string key_prefix_ = "key";
  uint64_t keys_ = 4;
  std::map<std::string, Collection> model_;
};

/// Collections whose rows lie in the fields space; the model of one is row -> value.
class CollectionFixture : public ModelFixture<std::map<std::string, std::string>> {
 protected:
  using Rows = std::map<std::string, std::string>;

  bool NextIsWrite() override { return Below(3) > 0; }
  /// Some are numbers; few enough that they meet again.
  std::string RandomField() {
    const uint64_t i = Below(size_);
    return FieldName(i, i % 3 == 0 ? "" : "field");
  }
  std::vector<std::string> RandomFields(size_t max) {
    std::vector<std::string> fields(1 + Below(max));
    for (std::string& field : fields) field = RandomField();
    return fields;
  }
  static std::vector<std::string_view> Views(const std::vector<std::string>& texts) {
    return {texts.begin(), texts.end()};
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
  void CheckKey(const std::string& key, const Rows& model) override {
    ASSERT_EQ(Run([&](Txn& txn) { return RowsInRam(txn, key); }), model);
  }
  void CheckStored(const StoredObject& object, const Rows& model) override {
    ASSERT_EQ(object.fields, model);
    ASSERT_EQ(object.scores, Rows());
  }
  void RandomOperationsEqualTheModel() {
    ModelFixture::RandomOperationsEqualTheModel(
        {.sizes = {800, 120, 12}, .flushed_turns = 120, .flushed_waits = 50});
  }
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
