// A small collection type written only on Txn: named fields with a value, each with a score. What holds for
// it holds for every type that keeps to the row interface, in RAM and on disk, packed and spread.

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "engine/collection_fixture.h"

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

class ToyTest : public ModelFixture<ToyModel> {
 protected:
  ObjectType type() const override { return ObjectType::kSortedSet; }
  std::string RandomField() { return FieldName(Below(size_), "field"); }
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

  void Write() override {
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
    Drop(key);
  }

  void Read() override {
    const std::string key = RandomKey();
    const ToyModel& model = Model(key);
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

  void CheckKey(const std::string& key, const ToyModel& model) override {
    for (const RowSpace space : {RowSpace::kFields, RowSpace::kScores}) {
      const Rows rows = Run([&](Txn& txn) { return ToyScan(txn, key, space, "", true, SIZE_MAX); });
      ASSERT_EQ(rows, ModelRows(model, space));
    }
  }
  void CheckStored(const StoredObject& object, const ToyModel& model) override {
    ASSERT_EQ(Rows(object.fields.begin(), object.fields.end()), ModelRows(model, RowSpace::kFields));
    ASSERT_EQ(Rows(object.scores.begin(), object.scores.end()),
              object.head.object_id == 0 ? Rows() : ModelRows(model, RowSpace::kScores));
  }
};

TEST_P(ToyTest, RandomOperationsEqualTheModel) { RandomOperationsEqualTheModel({.sizes = {400, 60, 8}}); }
INSTANTIATE_TEST_SUITE_P(Settings, ToyTest, DisturbSettings(),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace thermocline
