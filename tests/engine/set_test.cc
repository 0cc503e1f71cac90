#include "engine/set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/collection_fixture.h"
#include "engine/set_algebra.h"

namespace thermocline {
namespace {

constexpr RowSpace kMembers = RowSpace::kFields;

enum class Operation : uint8_t { kIntersect, kUnite, kSubtract };

Members CombineLive(Txn& txn, const std::vector<std::string>& keys, Operation operation, uint64_t limit) {
  std::vector<std::unique_ptr<LiveSetInput>> inputs;
  std::vector<SetInput*> sets;
  for (const std::string& key : keys) {
    inputs.push_back(std::make_unique<LiveSetInput>(txn, txn.Find(key)));
    sets.push_back(inputs.back().get());
  }
  switch (operation) {
    case Operation::kIntersect: return Intersect(sets, limit);
    case Operation::kUnite: return Unite(sets);
    case Operation::kSubtract: return Subtract(*sets[0], std::span(sets).subspan(1));
  }
  return {};
}

// ---- Random operations against a model ----

class SetTest : public CollectionFixture {
 protected:
  ObjectType type() const override { return ObjectType::kSet; }

  void Write() override {
    const uint64_t what = Below(100);
    if (what < 50) {
      Add(RandomKey());
    } else if (what < 75) {
      Remove(RandomKey());
    } else if (what < 85) {
      Move();
    } else if (what < 92) {
      Pop(RandomKey());
    } else {
      Store();
    }
  }

  void Add(const std::string& key) {
    const std::vector<std::string> members = RandomFields(6);
    const auto added = Run([&](Txn& txn) { return SetAdd(txn, key, Views(members)); });
    ASSERT_TRUE(added.ok());
    uint64_t expected = 0;
    for (const std::string& member : members) expected += model_[key].emplace(member, "").second;
    ASSERT_EQ(*added, expected);
  }

  void Remove(const std::string& key) {
    const std::vector<std::string> members = RandomFields(6);
    const auto removed = Run([&](Txn& txn) { return SetRemove(txn, key, Views(members)); });
    ASSERT_TRUE(removed.ok());
    uint64_t expected = 0;
    if (model_.contains(key)) {
      for (const std::string& member : members) expected += model_[key].erase(member);
    }
    ASSERT_EQ(*removed, expected);
    Drop(key);
  }

  void Move() {
    const std::string from = RandomKey(), to = RandomKey(), member = RandomField();
    const auto moved = Run([&](Txn& txn) { return SetMove(txn, from, to, member); });
    ASSERT_TRUE(moved.ok());
    ASSERT_EQ(*moved, Model(from).contains(member));
    if (!*moved) return;
    model_[from].erase(member);
    model_[to].emplace(member, "");
    Drop(from);
  }

  void Pop(const std::string& key) {
    const uint64_t size = Model(key).size();
    if (size == 0) return;
    // Few, about the half, nearly all, all.
    const uint64_t counts[] = {1, 1 + Below(size), size - size / 10, size + 1};
    const uint64_t count = counts[Below(4)];
    const auto popped = Run([&](Txn& txn) {
      std::vector<std::string> members;
      SetPop(txn, txn.Find(key), count, nullptr,
             [&](std::string_view member, std::string_view) { members.emplace_back(member); });
      return members;
    });
    ASSERT_EQ(popped.size(), std::min(count, size));
    for (const std::string& member : popped) ASSERT_EQ(model_[key].erase(member), 1u);
    Drop(key);
  }

  /// Some keys that exist, each once.
  std::vector<std::string> SomeKeys() {
    std::vector<std::string> keys;
    for (const auto& [key, rows] : model_) {
      if (Below(3) > 0) keys.push_back(key);
    }
    std::shuffle(keys.begin(), keys.end(), random_);
    return keys;
  }

  Members Expected(const std::vector<std::string>& keys, Operation operation) {
    Rows result = Model(keys[0]);
    for (size_t i = 1; i < keys.size(); ++i) {
      const Rows& other = Model(keys[i]);
      if (operation == Operation::kUnite) {
        result.insert(other.begin(), other.end());
      } else {
        std::erase_if(result, [&](const auto& row) {
          return other.contains(row.first) != (operation == Operation::kIntersect);
        });
      }
    }
    Members members;
    for (const auto& row : result) members.push_back(row.first);
    return members;
  }

  void Store() {
    const std::vector<std::string> keys = SomeKeys();
    if (keys.empty()) return;
    const std::string target = RandomKey();
    const auto operation = static_cast<Operation>(Below(3));
    const Members expected = Expected(keys, operation);
    Run([&](Txn& txn) {
      const Members members = CombineLive(txn, keys, operation, 0);
      SetStore(txn, target, members, EncodingOfMembers(txn, members), "sunionstore");
    });
    model_[target].clear();
    for (const std::string& member : expected) model_[target].emplace(member, "");
    Drop(target);
  }

  void Read() override {
    const std::vector<std::string> keys = SomeKeys();
    if (keys.empty()) return;
    const auto operation = static_cast<Operation>(Below(3));
    const uint64_t limit = operation == Operation::kIntersect && Below(2) == 0 ? 1 + Below(5) : 0;
    Members expected = Expected(keys, operation);
    if (limit > 0 && expected.size() > limit) expected.resize(limit);
    const Members here = Run([&](Txn& txn) { return CombineLive(txn, keys, operation, limit); });
    ASSERT_EQ(here, expected);
    ASSERT_EQ(OnReader(keys, operation, limit), expected);
  }

  /// The same from a snapshot, on a reader thread.
  Members OnReader(const std::vector<std::string>& keys, Operation operation, uint64_t limit) {
    const auto sources = Run([&](Txn& txn) {
      std::vector<RowSource> rows;
      for (const std::string& key : keys) rows.emplace_back(txn.Find(key), kMembers);
      return rows;
    });
    Members members;
    Command command;
    const bool started = keyspace->Offload(command, 0, [&](const SnapshotView& view) {
      std::vector<std::unique_ptr<StoredSetInput>> inputs;
      std::vector<SetInput*> sets;
      for (const RowSource& rows : sources) {
        inputs.push_back(std::make_unique<StoredSetInput>(view, rows));
        sets.push_back(inputs.back().get());
      }
      switch (operation) {
        case Operation::kIntersect: members = Intersect(sets, limit); break;
        case Operation::kUnite: members = Unite(sets); break;
        case Operation::kSubtract: members = Subtract(*sets[0], std::span(sets).subspan(1)); break;
      }
      for (const auto& input : inputs) EXPECT_TRUE(input->status().ok());
    });
    EXPECT_TRUE(started);
    AwaitReady({&command});
    return members;
  }
};

TEST_P(SetTest, RandomOperationsEqualTheModel) { RandomOperationsEqualTheModel(); }
INSTANTIATE_TEST_SUITE_P(Settings, SetTest, DisturbSettings(),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- Single cases ----

class SetCases : public KeyspaceFixture {
 protected:
  void Add(std::string_view key, const std::vector<std::string>& members) {
    const std::vector<std::string_view> views(members.begin(), members.end());
    EXPECT_TRUE(Run([&](Txn& txn) { return SetAdd(txn, key, views); }).ok());
  }
  void AddNumbers(std::string_view key, int count, const char* prefix = "") {
    std::vector<std::string> members;
    for (int i = 0; i < count; ++i) members.push_back(prefix + std::to_string(i));
    Add(key, members);
  }
  std::vector<std::string> Pop(std::string_view key, uint64_t count) {
    return Run([&](Txn& txn) {
      std::vector<std::string> members;
      SetPop(txn, txn.Find(key), count, nullptr,
             [&](std::string_view member, std::string_view) { members.emplace_back(member); });
      return members;
    });
  }
  std::vector<std::string> Draw(std::string_view key, const RowDraw& draw) {
    return Run([&](Txn& txn) {
      std::vector<std::string> members;
      DrawRows(txn, txn.Find(key), kMembers, draw,
               [&](std::string_view member, std::string_view) { members.emplace_back(member); });
      return members;
    });
  }
  Encoding EncodingOf(std::string_view key) {
    return Run([&](Txn& txn) { return txn.Find(key)->encoding; });
  }
  std::vector<std::string> Events() {
    Commit();
    std::vector<std::string> names;
    for (const KeyEvent& event : keyspace->TakeEvents()) names.push_back(event.key + " " + event.name);
    return names;
  }
  static size_t Different(std::vector<std::string> members) {
    return std::set<std::string>(members.begin(), members.end()).size();
  }
};

TEST_F(SetCases, AnotherTypeIsAnErrorAndStaysAsItIs) {
  Add("set", {"m"});
  Run([](Txn& txn) { txn.SetString(txn.ForWrite("s"), "v", Encoding::kAuto); });
  const std::string_view members[] = {"m"};
  Run([&](Txn& txn) {
    EXPECT_EQ(SetAdd(txn, "s", members).code(), Code::kWrongType);
    EXPECT_EQ(SetRemove(txn, "s", members).code(), Code::kWrongType);
    EXPECT_EQ(SetMove(txn, "s", "set", "m").code(), Code::kWrongType);
    EXPECT_EQ(SetMove(txn, "set", "s", "m").code(), Code::kWrongType);
    EXPECT_FALSE(*SetMove(txn, "missing", "s", "m"));
    EXPECT_EQ(txn.Find("s")->inline_value(), "v");
  });
}

TEST_F(SetCases, EventsAreNamedAsInRedis) {
  keyspace->Listen({.changes = true});
  Add("s", {"a", "b"});
  Add("s", {"a"});
  EXPECT_EQ(Events(), (std::vector<std::string>{"s sadd"}));
  Run([](Txn& txn) {
    EXPECT_TRUE(*SetMove(txn, "s", "t", "a"));
    EXPECT_TRUE(*SetMove(txn, "t", "t", "a"));
    EXPECT_FALSE(*SetMove(txn, "t", "s", "x"));
  });
  EXPECT_EQ(Events(), (std::vector<std::string>{"s srem", "t sadd"}));
  Add("s", {"a"});
  Run([](Txn& txn) { EXPECT_TRUE(*SetMove(txn, "t", "s", "a")); });
  EXPECT_EQ(Events(), (std::vector<std::string>{"s sadd", "t srem", "t del"}));
  Pop("s", 1);
  Pop("s", 1);
  EXPECT_EQ(Events(), (std::vector<std::string>{"s spop", "s spop", "s del"}));
  const std::string members[] = {"x"};
  const std::string_view views[] = {"x", "y"};
  Run([&](Txn& txn) {
    SetStore(txn, "d", {}, Encoding::kAuto, "sinterstore");
    SetStore(txn, "d", members, Encoding::kRaw, "sinterstore");
    SetStore(txn, "d", {}, Encoding::kAuto, "sinterstore");
    SetStore(txn, "d", members, Encoding::kRaw, "sdiffstore");
    EXPECT_EQ(*SetRemove(txn, "d", views), 1u);
  });
  EXPECT_EQ(Events(),
            (std::vector<std::string>{"d sinterstore", "d del", "d sdiffstore", "d srem", "d del"}));
}

TEST_F(SetCases, PopOfEveryCountTakesSoManyAndKeepsTheExpiry) {
  for (const uint64_t count : {1, 50, 300, 833, 834, 999}) {
    AddNumbers("s", 1000, "member");
    Run([](Txn& txn) { txn.SetExpiry(txn.Find("s"), txn.now_ms() + 1000); });
    EXPECT_EQ(Different(Pop("s", count)), count);
    Commit();
    Reopen();
    Run([&](Txn& txn) {
      Object* object = txn.Find("s");
      EXPECT_EQ(CollectionCount(object), 1000 - count);
      EXPECT_NE(object->expire_at_ms, 0u);
      txn.CompleteRows(object, kMembers);
      EXPECT_EQ(object->rows->fields.count(), 1000 - count);
    });
    EXPECT_EQ(keyspace->ExpiryCount(0), 1u);
    EXPECT_EQ(Pop("s", 5000).size(), 1000 - count);
    EXPECT_EQ(keyspace->KeyCount(0), 0u);
    EXPECT_EQ(keyspace->ExpiryCount(0), 0u);
    Commit();
    Purge();
    EXPECT_TRUE(RowsOf(Family::kFields).empty());
  }
}

TEST_F(SetCases, ATakenBackPopOfNearlyAllLeavesNoTrace) {
  options.store.block_cache_bytes = 1;
  Crash();
  AddNumbers("s", 1000, "member");
  Add("other", {std::string(2000, 'x')});
  Commit();
  Reopen();
  const std::vector<std::string> popped = Run([&](Txn& txn) {
    std::vector<std::string> members;
    SetPop(txn, txn.Find("s"), 990, nullptr,
           [&](std::string_view member, std::string_view) { members.emplace_back(member); });
    txn.Get(txn.Find("other"), kMembers, "missing");  // unwinds after the writes
    return members;
  });
  EXPECT_EQ(Different(popped), 990u);
  Commit();
  Reopen();
  EXPECT_EQ(Different(Pop("s", 10)), 10u);
}

TEST_F(SetCases, APreparedPopIsTakenOnlyWhileItFits) {
  AddNumbers("s", 100);
  PreparedPop pop;
  pop.members = {"5", "7"};
  const auto run = [&] {
    return Run([&](Txn& txn) {
      std::vector<std::string> members;
      SetPop(txn, txn.Find("s"), 2, &pop,
             [&](std::string_view member, std::string_view) { members.emplace_back(member); });
      return members;
    });
  };
  pop.version = Run([](Txn& txn) { return txn.Find("s")->rows->version; });
  EXPECT_EQ(run(), pop.members);
  EXPECT_EQ(Different(run()), 2u);  // another two: the set has changed
  Run([](Txn& txn) { EXPECT_EQ(CollectionCount(txn.Find("s")), 96u); });
}

TEST_F(SetCases, EveryMemberIsDrawnAboutAsOften) {
  AddNumbers("s", 20);
  for (const uint64_t count : {1, 5, 15}) {  // by rank, by walk
    std::map<std::string, int> drawn;
    for (int i = 0; i < 2000; ++i) {
      const std::vector<std::string> members = Draw("s", {.count = count, .distinct = true});
      ASSERT_EQ(Different(members), count);
      for (const std::string& member : members) ++drawn[member];
    }
    const double expected = 2000.0 * static_cast<double>(count) / 20;
    ASSERT_EQ(drawn.size(), 20u);
    for (const auto& [member, times] : drawn) {
      EXPECT_NEAR(times, expected, 7 * std::sqrt(expected)) << member << " of " << count;
    }
  }
}

TEST_F(SetCases, AFewOfALargeColdSetAreDrawnWithoutReadingItAll) {
  options.store.block_cache_bytes = 1;
  Crash();
  // Nearly all places between the first and the last key lead to the last one.
  AddNumbers("s", 70'000, "a");
  Add("s", {"zzz"});
  Commit();
  Reopen();
  EXPECT_EQ(Different(Draw("s", {.count = 40, .distinct = true})), 40u);
  EXPECT_EQ(Draw("s", {.count = 10, .distinct = false}).size(), 10u);
  EXPECT_EQ(Different(Pop("s", 10)), 10u);
  Run([](Txn& txn) {
    Object* object = txn.Find("s");
    EXPECT_LT(object->rows->fields.count(), 30'000u);
    EXPECT_TRUE(DrawNeedsWholeSpace(object, kMembers, {.count = 1000}));
    EXPECT_FALSE(DrawNeedsWholeSpace(object, kMembers, {.count = 10}));
  });
}

TEST_F(SetCases, DrawsOnAReaderThread) {
  AddNumbers("s", 3000, "member");
  AddNumbers("packed", 10);
  Commit();
  for (const std::string key : {"s", "packed"}) {
    const RowSource rows = Run([&](Txn& txn) { return RowSource(txn.Find(key), kMembers); });
    std::vector<std::string> distinct, repeated;
    Command command;
    EXPECT_TRUE(keyspace->Offload(command, 0, [&](const SnapshotView& view) {
      const auto into = [](std::vector<std::string>& members) {
        return [&](std::string_view member, std::string_view) { members.emplace_back(member); };
      };
      EXPECT_TRUE(DrawRows(view, rows, {.count = 7, .distinct = true}, Random(1), into(distinct)).ok());
      EXPECT_TRUE(DrawRows(view, rows, {.count = 5000, .distinct = false}, Random(2), into(repeated)).ok());
      EXPECT_TRUE(rows.Has(view, distinct[0]).ok() && *rows.Has(view, distinct[0]));
      EXPECT_FALSE(*rows.Has(view, "member"));
      EXPECT_FALSE(*rows.Has(view, "zzz"));
    }));
    AwaitReady({&command});
    EXPECT_EQ(Different(distinct), 7u);
    EXPECT_EQ(repeated.size(), 5000u);
    EXPECT_GT(Different(repeated), key == "s" ? 2000u : 9u);
    EXPECT_FALSE(std::is_sorted(repeated.begin(), repeated.end()));
  }
}

TEST_F(SetCases, AnIntersectionWithALargeColdSetReadsOnlyWhatItNeeds) {
  options.store.block_cache_bytes = 1;
  Crash();
  AddNumbers("large", 20'000, "member");
  Add("small", {"member5", "member777", "member19999", "nope"});
  Commit();
  Reopen();
  waits = 0;
  const Members both = Run([](Txn& txn) {
    txn.Prefetch(std::vector<std::string_view>{"large", "small"});
    return CombineLive(txn, {"large", "small"}, Operation::kIntersect, 0);
  });
  EXPECT_EQ(both, (Members{"member19999", "member5", "member777"}));
  EXPECT_LE(waits, 3);
  Run([](Txn& txn) { EXPECT_LT(txn.Find("large")->rows->fields.count(), 10u); });
}

TEST_F(SetCases, TheEncodingIsThatOfRedis) {
  options.compact.set_intset_entries = 4;
  Crash();
  Add("s", {"1", "2", "-3", "9223372036854775807"});
  EXPECT_EQ(EncodingOf("s"), Encoding::kAuto);
  Add("s", {"5"});
  EXPECT_EQ(EncodingOf("s"), Encoding::kRaw);
  for (const char* other : {"a", "", "01", "-0", "9223372036854775808", "1.0"}) {
    Add("t", {"1"});
    EXPECT_EQ(EncodingOf("t"), Encoding::kAuto);
    Add("t", {other});
    EXPECT_EQ(EncodingOf("t"), Encoding::kRaw) << other;
    Pop("t", 2);
  }
  Run([](Txn& txn) {
    EXPECT_EQ(EncodingOfMembers(txn, std::vector<std::string>{"1", "2", "3", "4"}), Encoding::kAuto);
    EXPECT_EQ(EncodingOfMembers(txn, std::vector<std::string>{"1", "2", "3", "4", "5"}), Encoding::kRaw);
    EXPECT_EQ(EncodingOfMembers(txn, std::vector<std::string>{"1", "x"}), Encoding::kRaw);
  });
}

}  // namespace
}  // namespace thermocline
