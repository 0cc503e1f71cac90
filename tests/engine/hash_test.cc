#include "engine/hash.h"

#include <gtest/gtest.h>

#include "encoding/numbers.h"
#include "engine/collection_fixture.h"
#include "engine/random_rows.h"

namespace thermocline {
namespace {

// ---- Random operations against a model ----

class HashTest : public CollectionFixture {
 protected:
  ObjectType type() const override { return ObjectType::kHash; }

  std::string RandomValue() {
    const size_t size = Below(12) == 0 ? 200 + Below(900) : Below(30);
    return Below(4) == 0 ? std::to_string(Below(1000))
                         : std::string(size, static_cast<char>('a' + Below(26)));
  }

  void Write() override {
    const std::string key = RandomKey();
    const uint64_t what = Below(100);
    if (what < 45) {
      Set(key);
    } else if (what < 55) {
      SetIfAbsent(key);
    } else if (what < 65) {
      Increment(key);
    } else if (what < 95) {
      const std::vector<std::string> fields = RandomFields(6);
      Delete(key, fields);
    } else {  // down to a few fields, so that a spread object packs again
      std::vector<std::string> fields;
      for (const auto& [field, value] : Model(key)) fields.push_back(field);
      if (fields.size() > 3) fields.resize(fields.size() - 3);
      if (!fields.empty()) Delete(key, fields);
    }
    Drop(key);
  }

  void Set(const std::string& key) {
    std::vector<std::string> pairs;
    for (const std::string& field : RandomFields(4)) {
      pairs.push_back(field);
      pairs.push_back(RandomValue());
    }
    const auto added = Run([&](Txn& txn) { return HashSet(txn, key, Views(pairs)); });
    ASSERT_TRUE(added.ok());
    const size_t before = Model(key).size();
    for (size_t i = 0; i < pairs.size(); i += 2) model_[key][pairs[i]] = pairs[i + 1];
    ASSERT_EQ(*added, Model(key).size() - before);
  }

  void SetIfAbsent(const std::string& key) {
    const std::string field = RandomField(), value = RandomValue();
    const auto set = Run([&](Txn& txn) { return HashSetIfAbsent(txn, key, field, value); });
    ASSERT_TRUE(set.ok());
    ASSERT_EQ(*set, model_[key].emplace(field, value).second);
  }

  void Increment(const std::string& key) {
    const std::string field = RandomField();
    const auto delta = static_cast<int64_t>(Below(2000)) - 1000;
    const auto sum = Run([&](Txn& txn) { return HashIncrement(txn, key, field, delta); });
    int64_t old = 0;
    const auto found = Model(key).find(field);
    if (found != Model(key).end() && !ParseInt64(found->second, &old)) {
      ASSERT_EQ(sum.code(), Code::kNotInteger);
      return;
    }
    ASSERT_TRUE(sum.ok());
    ASSERT_EQ(*sum, old + delta);
    model_[key][field] = std::to_string(*sum);
  }

  void Delete(const std::string& key, const std::vector<std::string>& fields) {
    const auto deleted = Run([&](Txn& txn) { return HashDelete(txn, key, Views(fields)); });
    ASSERT_TRUE(deleted.ok());
    uint64_t expected = 0;
    if (model_.contains(key)) {
      for (const std::string& field : fields) expected += model_[key].erase(field);
    }
    ASSERT_EQ(*deleted, expected);
  }

  void Read() override {
    const std::string key = RandomKey();
    const Rows& model = Model(key);
    if (Below(4) > 0) {
      const std::string field = RandomField();
      const auto value = Run([&](Txn& txn) -> std::optional<std::string> {
        Object* object = txn.Find(key);
        if (object == nullptr) return std::nullopt;
        const auto found = txn.Get(object, RowSpace::kFields, field);
        return found.has_value() ? std::optional<std::string>(*found) : std::nullopt;
      });
      const auto expected = model.find(field);
      ASSERT_EQ(value.has_value(), expected != model.end());
      if (value.has_value()) {
        ASSERT_EQ(*value, expected->second);
      }
      return;
    }
    const uint64_t count = model.empty() ? 0 : 1 + Below(model.size());
    const bool distinct = Below(2) == 0;
    const auto drawn = Run([&](Txn& txn) {
      std::vector<std::pair<std::string, std::string>> rows;
      if (Object* object = txn.Find(key)) {
        DrawRows(txn, object, RowSpace::kFields, {.count = count, .distinct = distinct},
                 [&](std::string_view field, std::string_view value) { rows.emplace_back(field, value); });
      }
      return rows;
    });
    ASSERT_EQ(drawn.size(), count);
    std::set<std::string> different;
    for (const auto& [field, value] : drawn) {
      different.insert(field);
      ASSERT_TRUE(model.contains(field));
      ASSERT_EQ(model.at(field), value);
    }
    if (distinct) {
      ASSERT_EQ(different.size(), count);
    }
  }
};

TEST_P(HashTest, RandomOperationsEqualTheModel) { RandomOperationsEqualTheModel(); }
INSTANTIATE_TEST_SUITE_P(Settings, HashTest, DisturbSettings(),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- Single cases ----

class HashCases : public KeyspaceFixture {
 protected:
  Result<uint64_t> Set(std::string_view key, std::vector<std::string_view> pairs) {
    return Run([&](Txn& txn) { return HashSet(txn, key, pairs); });
  }
  std::string Get(std::string_view key, std::string_view field) {
    return Run([&](Txn& txn) {
      Object* object = txn.Find(key);
      return object == nullptr
                 ? "(no key)"
                 : std::string(txn.Get(object, RowSpace::kFields, field).value_or("(no field)"));
    });
  }
  std::vector<std::string> Events() {
    Commit();
    std::vector<std::string> names;
    for (const KeyEvent& event : keyspace->TakeEvents()) names.push_back(event.key + " " + event.name);
    return names;
  }
};

TEST_F(HashCases, AnotherTypeIsAnErrorAndStaysAsItIs) {
  Run([](Txn& txn) { txn.SetString(txn.ForWrite("s"), "v", Encoding::kAuto); });
  const std::string_view fields[] = {"f"};
  Run([&](Txn& txn) {
    EXPECT_EQ(HashSet(txn, "s", std::vector<std::string_view>{"f", "v"}).code(), Code::kWrongType);
    EXPECT_EQ(HashSetIfAbsent(txn, "s", "f", "v").code(), Code::kWrongType);
    EXPECT_EQ(HashDelete(txn, "s", fields).code(), Code::kWrongType);
    EXPECT_EQ(HashIncrement(txn, "s", "f", 1).code(), Code::kWrongType);
    EXPECT_EQ(HashIncrementFloat(txn, "s", "f", 1).code(), Code::kWrongType);
    EXPECT_EQ(txn.Find("s")->inline_value(), "v");
  });
}

TEST_F(HashCases, AFailedIncrementMakesNothing) {
  EXPECT_TRUE(Set("h", {"big", "9223372036854775807", "text", "abc", "huge", "1e4932"}).ok());
  Run([](Txn& txn) {
    EXPECT_EQ(HashIncrement(txn, "h", "big", 1).code(), Code::kOverflow);
    EXPECT_EQ(HashIncrement(txn, "h", "text", 1).code(), Code::kNotInteger);
    EXPECT_EQ(HashIncrementFloat(txn, "h", "text", 1).code(), Code::kNotFloat);
    EXPECT_EQ(HashIncrementFloat(txn, "h", "huge", 1e4932L).code(), Code::kNotFinite);
  });
  EXPECT_EQ(Get("h", "big"), "9223372036854775807");
  EXPECT_EQ(Get("h", "huge"), "1e4932");
}

TEST_F(HashCases, IncrementsOfWhatIsNotThere) {
  EXPECT_EQ(*Run([](Txn& txn) { return HashIncrement(txn, "h", "n", -3); }), -3);
  EXPECT_EQ(*Run([](Txn& txn) { return HashIncrementFloat(txn, "h", "x", 1.5L); }), "1.5");
  Commit();
  Reopen();
  EXPECT_EQ(*Run([](Txn& txn) { return HashIncrement(txn, "h", "n", 5); }), 2);
  EXPECT_EQ(*Run([](Txn& txn) { return HashIncrementFloat(txn, "h", "x", -1.5L); }), "0");
}

TEST_F(HashCases, EventsAreNamedAsInRedis) {
  keyspace->Listen({.changes = true});
  const std::string_view fields[] = {"f", "g"}, missing[] = {"x"};
  EXPECT_TRUE(Set("h", {"f", "v", "g", "w"}).ok());
  Run([&](Txn& txn) {
    EXPECT_FALSE(*HashSetIfAbsent(txn, "h", "f", "v"));
    EXPECT_EQ(*HashDelete(txn, "h", missing), 0u);
  });
  EXPECT_EQ(Events(), (std::vector<std::string>{"h hset"}));
  Run([&](Txn& txn) {
    EXPECT_TRUE(*HashSetIfAbsent(txn, "h", "new", "v"));
    EXPECT_TRUE(HashIncrement(txn, "h", "n", 1).ok());
    EXPECT_TRUE(HashIncrementFloat(txn, "h", "n", 1).ok());
    EXPECT_EQ(*HashDelete(txn, "h", fields), 2u);
  });
  EXPECT_EQ(Events(), (std::vector<std::string>{"h hset", "h hincrby", "h hincrbyfloat", "h hdel"}));
  const std::string_view rest[] = {"new", "n"};
  Run([&](Txn& txn) { EXPECT_EQ(*HashDelete(txn, "h", rest), 2u); });
  EXPECT_EQ(Events(), (std::vector<std::string>{"h hdel", "h del"}));
}

TEST_F(HashCases, ColdFieldsCostOneWait) {
  options.store.block_cache_bytes = 1;
  Crash();
  std::vector<std::string> texts;
  for (int i = 0; i < 4000; ++i) {
    texts.push_back("field" + std::to_string(i));
    texts.push_back(std::string(100, 'v'));
  }
  EXPECT_EQ(*Set("h", {texts.begin(), texts.end()}), 4000u);
  Commit();
  Reopen();
  waits = 0;
  EXPECT_EQ(*Set("h", {"field5", "a", "field2000", "b", "field3999", "c", "new", "d"}), 1u);
  EXPECT_LE(waits, 2);  // the head, the rows
  const std::string_view fields[] = {"field100", "field1000", "field3000"};
  waits = 0;
  EXPECT_EQ(*Run([&](Txn& txn) { return HashDelete(txn, "h", fields); }), 3u);
  EXPECT_LE(waits, 1);
  // Nothing of the rest was read.
  Run([](Txn& txn) { EXPECT_LT(txn.Find("h")->rows->fields.count(), 10u); });
}

TEST_F(HashCases, TheExpiryStaysAndGoesWithTheKey) {
  EXPECT_TRUE(Set("h", {"f", "v"}).ok());
  Run([](Txn& txn) { txn.SetExpiry(txn.Find("h"), txn.now_ms() + 1000); });
  EXPECT_TRUE(Set("h", {"g", "w"}).ok());
  Run([](Txn& txn) { EXPECT_NE(txn.Find("h")->expire_at_ms, 0u); });
  const std::string_view fields[] = {"f", "g"};
  Run([&](Txn& txn) { EXPECT_EQ(*HashDelete(txn, "h", fields), 2u); });
  EXPECT_TRUE(Set("h", {"f", "v"}).ok());
  Run([](Txn& txn) { EXPECT_EQ(txn.Find("h")->expire_at_ms, 0u); });
  EXPECT_EQ(keyspace->ExpiryCount(0), 0u);
}

TEST_F(HashCases, TheEncodingIsStickyAndSurvives) {
  options.compact.hash_entries = 3;
  options.compact.hash_value_bytes = 5;
  Crash();
  const auto encoding = [&] { return Run([](Txn& txn) { return txn.Find("h")->encoding; }); };
  EXPECT_TRUE(Set("h", {"a", "12345", "b", "2", "c", "3", "a", "1"}).ok());
  EXPECT_EQ(encoding(), Encoding::kAuto);
  EXPECT_TRUE(Set("h", {"d", "4"}).ok());
  EXPECT_EQ(encoding(), Encoding::kRaw);
  const std::string_view fields[] = {"d", "c"};
  Run([&](Txn& txn) { EXPECT_EQ(*HashDelete(txn, "h", fields), 2u); });
  Commit();
  Reopen();
  EXPECT_EQ(encoding(), Encoding::kRaw);
}

}  // namespace
}  // namespace thermocline
