// A small collection type written only on Txn: named fields with a value, each with a score. What holds for
// it holds for every type that keeps to the row interface, in RAM and on disk, packed and spread.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "engine/keyspace_fixture.h"
#include "engine/test_seed.h"

namespace thermocline {
namespace {

// ---- The type
// ----------------------------------------------------------------------------------------------

struct ToyValue {
  double score;
  std::string text;
  friend bool operator==(const ToyValue&, const ToyValue&) = default;
};
using ToyModel = std::map<std::string, ToyValue>;

std::string EncodeValue(const ToyValue& value) {
  std::string row;
  AppendBig64(row, format::SortableScore(value.score));
  return row + value.text;
}
ToyValue DecodeValue(std::string_view row) {
  return {format::ScoreFromSortable(LoadBig64(row.data())), std::string(row.substr(8))};
}
std::string ScoreKey(double score, std::string_view field) {
  std::string key;
  AppendBig64(key, format::SortableScore(score));
  key.append(field);
  return key;
}

void ToySet(Txn& txn, std::string_view key, std::string_view field, const ToyValue& value) {
  Object* object = txn.ForWrite(key);
  if (!object->live()) txn.MakeRows(object, ObjectType::kSortedSet);
  if (const auto old = txn.Get(object, RowSpace::kFields, field)) {
    txn.Erase(object, RowSpace::kScores, ScoreKey(DecodeValue(*old).score, field));
  } else {
    format::CollectionBody body = txn.body(object);
    ++body.count;
    txn.SetBody(object, body);
  }
  txn.Put(object, RowSpace::kFields, field, EncodeValue(value));
  txn.Put(object, RowSpace::kScores, ScoreKey(value.score, field), {});
}

std::optional<ToyValue> ToyGet(Txn& txn, std::string_view key, std::string_view field) {
  Object* object = txn.Find(key);
  if (object == nullptr) return std::nullopt;
  const auto row = txn.Get(object, RowSpace::kFields, field);
  return row.has_value() ? std::optional(DecodeValue(*row)) : std::nullopt;
}

bool ToyDelete(Txn& txn, std::string_view key, std::string_view field) {
  Object* object = txn.Find(key);
  if (object == nullptr) return false;
  const auto row = txn.Get(object, RowSpace::kFields, field);
  if (!row.has_value()) return false;
  const double score = DecodeValue(*row).score;
  txn.Erase(object, RowSpace::kScores, ScoreKey(score, field));
  txn.Erase(object, RowSpace::kFields, field);
  format::CollectionBody body = txn.body(object);
  --body.count;
  txn.SetBody(object, body);
  if (body.count == 0) txn.Remove(object);
  return true;
}

using Rows = std::vector<std::pair<std::string, std::string>>;

Rows ToyScan(Txn& txn, std::string_view key, RowSpace space, const std::string& from, bool forward,
             size_t limit) {
  Rows rows;
  Object* object = txn.Find(key);
  if (object == nullptr) return rows;
  Txn::Cursor cursor =
      forward ? txn.SeekForward(object, space, from)
              : txn.SeekBackward(object, space,
                                 from.empty() ? std::nullopt : std::optional<std::string_view>(from));
  for (; cursor.valid() && rows.size() < limit; forward ? cursor.Next() : cursor.Previous()) {
    rows.emplace_back(cursor.key(), cursor.value());
  }
  return rows;
}

// ---- Random operations against a model
// ---------------------------------------------------------------------

struct Setting {
  const char* name;
  bool evict_between = false;
  bool flush_between = false;  ///< so that rows are in tables, which a tiny block cache cannot hold
  uint64_t block_cache_bytes = 8 << 20;
  int reopen_one_in = 0;
};

class ToyTest : public KeyspaceFixture, public testing::WithParamInterface<Setting> {
 protected:
  void SetUp() override {
    options.store.block_cache_bytes = GetParam().block_cache_bytes;
    KeyspaceFixture::SetUp();
  }

  uint64_t Below(uint64_t n) { return random_() % n; }
  std::string RandomKey() { return "key" + std::to_string(Below(4)); }
  std::string RandomField() {
    // Some large fields and some binary ones; few enough that they meet again.
    const uint64_t i = Below(fields_);
    if (i % 31 == 7) return std::string(300, static_cast<char>(i));
    if (i % 17 == 5) return std::string(1, '\0') + static_cast<char>(i);
    return "field" + std::to_string(i);
  }
  ToyValue RandomValue() {
    const size_t size = Below(12) == 0 ? 200 + Below(900) : Below(30);
    return {static_cast<double>(Below(20)) - 10, std::string(size, static_cast<char>('a' + Below(26)))};
  }

  /// The rows of one space as the model has them.
  static Rows ModelRows(const ToyModel& model, RowSpace space) {
    std::map<std::string, std::string> rows;
    for (const auto& [field, value] : model) {
      if (space == RowSpace::kFields) {
        rows.emplace(field, EncodeValue(value));
      } else {
        rows.emplace(ScoreKey(value.score, field), "");
      }
    }
    return {rows.begin(), rows.end()};
  }

  void Write() {
    const std::string key = RandomKey();
    const uint64_t what = Below(100);
    if (what < 60) {
      // Several fields, one after the other: what misses late takes back what was written before it.
      std::vector<std::pair<std::string, ToyValue>> changes(1 + Below(4));
      for (auto& [field, value] : changes) field = RandomField(), value = RandomValue();
      Run([&](Txn& txn) {
        for (const auto& [field, value] : changes) ToySet(txn, key, field, value);
      });
      for (const auto& [field, value] : changes) model_[key][field] = value;
    } else if (what < 92) {
      std::vector<std::string> fields(1 + Below(6));
      for (std::string& field : fields) field = RandomField();
      const uint64_t deleted = Run([&](Txn& txn) {
        uint64_t count = 0;
        for (const std::string& field : fields) count += ToyDelete(txn, key, field);
        return count;
      });
      uint64_t expected = 0;
      for (const std::string& field : fields) expected += model_[key].erase(field);
      ASSERT_EQ(deleted, expected);
    } else if (what < 94) {
      Run([&](Txn& txn) {
        if (Object* object = txn.Find(key)) txn.Remove(object);
      });
      model_.erase(key);
    } else if (what < 97) {
      const std::string other = RandomKey();
      Run([&](Txn& txn) {
        Object* from = txn.Find(key);
        if (from != nullptr && key != other) txn.Move(from, txn.ForWrite(other));
      });
      if (key != other && !model_[key].empty()) model_[other] = std::exchange(model_[key], {});
    } else {
      // Down to a few fields, so that a spread object packs again.
      Rows all = ModelRows(model_[key], RowSpace::kFields);
      Run([&](Txn& txn) {
        for (size_t i = 3; i < all.size(); ++i) ToyDelete(txn, key, all[i].first);
      });
      for (size_t i = 3; i < all.size(); ++i) model_[key].erase(all[i].first);
    }
    if (model_.contains(key) && model_[key].empty()) model_.erase(key);
  }

  void Read() {
    const std::string key = RandomKey();
    const auto found = model_.find(key);
    const ToyModel empty, &model = found == model_.end() ? empty : found->second;
    const auto space = static_cast<RowSpace>(Below(2));
    const Rows all = ModelRows(model, space);
    switch (Below(4)) {
      case 0: {
        const std::string field = RandomField();
        const auto value = Run([&](Txn& txn) { return ToyGet(txn, key, field); });
        const auto expected = model.find(field);
        ASSERT_EQ(value.has_value(), expected != model.end()) << key << " " << field;
        if (value.has_value()) {
          ASSERT_EQ(*value, expected->second);
        }
        break;
      }
      case 1: {  // a piece of a scan
        const std::string field = RandomField();
        std::string from = space == RowSpace::kFields ? field : ScoreKey(RandomValue().score, field);
        if (Below(4) == 0) from.clear();
        const bool forward = Below(2) == 0;
        const size_t limit = Below(3) == 0 ? SIZE_MAX : Below(10);
        const Rows rows = Run([&](Txn& txn) { return ToyScan(txn, key, space, from, forward, limit); });
        Rows expected;
        if (forward) {
          for (const auto& row : all) {
            if (row.first >= from && expected.size() < limit) expected.push_back(row);
          }
        } else {
          for (auto row = all.rbegin(); row != all.rend(); ++row) {
            if ((from.empty() || row->first <= from) && expected.size() < limit) expected.push_back(*row);
          }
        }
        ASSERT_EQ(rows, expected) << key << (forward ? " forward " : " backward ") << from;
        break;
      }
      case 2: {  // rank and select
        if (all.empty()) break;
        const uint64_t rank = Below(all.size());
        Run([&](Txn& txn) {
          Object* object = txn.Find(key);
          ASSERT_NE(object, nullptr);
          const Txn::Cursor cursor = txn.SelectRow(object, space, rank);
          ASSERT_TRUE(cursor.valid());
          ASSERT_EQ(cursor.key(), all[rank].first);
          ASSERT_EQ(txn.RankOfRow(object, space, all[rank].first), rank);
        });
        break;
      }
      default: {
        const uint64_t count = Run([&](Txn& txn) {
          Object* object = txn.Find(key);
          return object == nullptr ? 0 : txn.body(object).count;
        });
        ASSERT_EQ(count, model.size());
      }
    }
  }

  void CheckAll() {
    for (int i = 0; i < 4; ++i) {
      const std::string key = "key" + std::to_string(i);
      const ToyModel model = model_.contains(key) ? model_[key] : ToyModel();
      for (const RowSpace space : {RowSpace::kFields, RowSpace::kScores}) {
        const Rows rows = Run([&](Txn& txn) { return ToyScan(txn, key, space, "", true, SIZE_MAX); });
        ASSERT_EQ(rows, ModelRows(model, space)) << key;
      }
    }
    ASSERT_EQ(keyspace->KeyCount(0), model_.size());
  }

  /// The disk holds the live objects and nothing else.
  void CheckDisk() {
    std::map<std::string, std::string> fields, scores;
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
      ASSERT_EQ(body.count, model_[name].size());
      if (head.object_id == 0) continue;
      for (const RowSpace space : {RowSpace::kFields, RowSpace::kScores}) {
        for (const auto& [row_key, row_value] : ModelRows(model_[name], space)) {
          std::string full;
          format::AppendRowKey(full, head.object_id, row_key);
          (space == RowSpace::kFields ? fields : scores).emplace(full, row_value);
        }
      }
    }
    ASSERT_EQ(keys.size(), model_.size());
    ASSERT_EQ(RowsOf(Family::kFields), fields);
    ASSERT_EQ(RowsOf(Family::kScores), scores);
  }

  std::mt19937_64 random_;
  uint64_t fields_ = 10;
  std::map<std::string, ToyModel> model_;
};

TEST_P(ToyTest, RandomOperationsEqualTheModel) {
  const Setting& setting = GetParam();
  const uint64_t first = TestSeed(1);
  for (uint64_t seed = first; seed < first + 3; ++seed) {
    SCOPED_TRACE("SEED=" + std::to_string(seed));
    random_.seed(seed);
    fields_ = seed % 3 == 0 ? 400 : seed % 3 == 1 ? 60 : 8;
    const int turns = setting.flush_between ? 150 : 400;
    for (int turn = 0; turn < turns && !HasFatalFailure(); ++turn) {
      for (uint64_t commands = 1 + Below(8); commands > 0 && !HasFatalFailure(); --commands) {
        if (Below(2) == 0) {
          Write();
        } else {
          Read();
        }
      }
      if (HasFatalFailure()) return;
      Commit();
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
      if (turn % 40 == 0) {
        ASSERT_NO_FATAL_FAILURE(CheckAll());
      }
    }
    ASSERT_NO_FATAL_FAILURE(CheckAll());
    Purge();
    ASSERT_NO_FATAL_FAILURE(CheckDisk());
    Reopen();
    ASSERT_NO_FATAL_FAILURE(CheckAll());
    Commit();
    Purge();
    ASSERT_NO_FATAL_FAILURE(CheckDisk());
  }
  if (setting.flush_between) {
    EXPECT_GT(waits, 100);
  }
}

INSTANTIATE_TEST_SUITE_P(Settings, ToyTest,
                         testing::Values(Setting{"Hot"}, Setting{.name = "Evicted", .evict_between = true},
                                         Setting{.name = "Reopened", .reopen_one_in = 20},
                                         Setting{.name = "Cold",
                                                 .evict_between = true,
                                                 .flush_between = true,
                                                 .block_cache_bytes = 1,
                                                 .reopen_one_in = 50},
                                         Setting{.name = "HotOverCold",
                                                 .flush_between = true,
                                                 .block_cache_bytes = 1,
                                                 .reopen_one_in = 10}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace thermocline
