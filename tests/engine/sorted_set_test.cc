// The sorted set type against a plain model: in RAM and on disk, packed and spread; then what only a sorted
// set has: bounds, queues, ranges by rank.

#include "engine/sorted_set.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "engine/collection_fixture.h"
#include "engine/keys.h"
#include "engine/sorted_set_algebra.h"
#include "engine/sorted_set_range.h"

namespace thermocline {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

using Scores = std::map<std::string, double>;
using Members = std::vector<std::pair<double, std::string>>;

/// The members of a model in the order of a sorted set.
Members Ordered(const Scores& model) {
  Members members;
  for (const auto& [member, score] : model) members.emplace_back(score, member);
  std::sort(members.begin(), members.end());
  return members;
}

Object* ZSet(Txn& txn, std::string_view key) {
  Object* object = txn.ForWrite(key);
  if (!object->live()) txn.MakeRows(object, ObjectType::kSortedSet);
  return object;
}
void Add(Txn& txn, std::string_view key, const Members& members) {
  Object* object = ZSet(txn, key);
  std::vector<std::string_view> names;
  for (const auto& [score, member] : members) names.push_back(member);
  PrefetchScores(txn, object, names);
  SortedSetEdit edit(txn, object);
  for (const auto& [score, member] : members) {
    double now = score;
    edit.Add(member, {}, &now);
  }
  edit.Finish();
}
Members Visited(Txn& txn, Object* object, const RowRun& run, bool reverse, uint64_t skip = 0,
                uint64_t limit = ~uint64_t{0}) {
  Members members;
  if (limit == 0) return members;
  VisitRun(txn, object, run, reverse, skip, [&](const ScoredMember& member) {
    members.emplace_back(member.score, member.member);
    return members.size() < limit;
  });
  return members;
}
Members Ranks(Txn& txn, Object* object, RankRange ranks, bool reverse) {
  Members members;
  VisitRanks(txn, object, ranks, reverse,
             [&](const ScoredMember& member) { members.emplace_back(member.score, member.member); });
  return members;
}
Members All(Txn& txn, std::string_view key) {
  Object* object = txn.Find(key);
  return object == nullptr ? Members() : Visited(txn, object, ScoreRun({-kInf, kInf}), false);
}

/// What the bounds promise.
void CheckBounds(const Object* object, const Scores& model) {
  for (const auto& [member, score] : model) {
    ASSERT_GE(format::SortableScore(score), LowerBound(object)) << member;
    ASSERT_LE(format::SortableScore(score), UpperBound(object)) << member;
  }
}

// ---- Random operations against a model ----

class SortedSetModelTest : public ModelFixture<Scores> {
 protected:
  ObjectType type() const override { return ObjectType::kSortedSet; }

  std::string RandomMember() { return FieldName(Below(size_), "member"); }
  double RandomScore() {
    switch (Below(12)) {
      case 0: return Below(2) == 0 ? kInf : -kInf;
      case 1: return 0;
      case 2: return -1e-300;
      case 3: return static_cast<double>(Below(1000)) / 7;
      default: return static_cast<double>(Below(30)) - 15;
    }
  }
  void Forget(const std::string& key, const Members& members) {
    for (const auto& [score, member] : members) model_[key].erase(member);
  }

  void AddSome(const std::string& key) {
    const AddOptions all[] = {{},
                              {.only_new = true},
                              {.only_existing = true},
                              {.only_greater = true},
                              {.only_less = true},
                              {.only_existing = true, .only_greater = true},
                              {.increment = true}};
    const AddOptions options = all[Below(2) == 0 ? 0 : Below(std::size(all))];
    Members changes(options.increment ? 1 : 1 + Below(6));
    for (auto& [score, member] : changes) score = RandomScore(), member = RandomMember();
    const auto outcomes = Run([&](Txn& txn) {
      std::vector<std::pair<AddOutcome, double>> outcomes;
      if (options.only_existing && txn.Find(key) == nullptr) return outcomes;
      SortedSetEdit edit(txn, ZSet(txn, key));
      for (const auto& [score, member] : changes) {
        double now = score;
        const AddOutcome outcome = edit.Add(member, options, &now);
        outcomes.emplace_back(outcome, now);
      }
      edit.Finish();
      return outcomes;
    });
    if (options.only_existing && Model(key).empty()) {
      ASSERT_TRUE(outcomes.empty());
      return;
    }
    for (size_t i = 0; i < changes.size(); ++i) {
      const auto& [score, member] = changes[i];
      const auto old = Model(key).find(member);
      if (old == Model(key).end()) {
        ASSERT_EQ(outcomes[i].first, options.only_existing ? AddOutcome::kNothing : AddOutcome::kAdded);
        if (!options.only_existing) model_[key][member] = score;
        continue;
      }
      const double wanted = options.increment ? old->second + score : score;
      const bool held = !options.only_new && !(options.only_greater && wanted <= old->second) &&
                        !(options.only_less && wanted >= old->second);
      const AddOutcome expected = !held                   ? AddOutcome::kNothing
                                  : std::isnan(wanted)    ? AddOutcome::kNan
                                  : wanted == old->second ? AddOutcome::kSame
                                                          : AddOutcome::kUpdated;
      ASSERT_EQ(outcomes[i].first, expected) << member << " " << score;
      if (expected == AddOutcome::kUpdated) {
        ASSERT_EQ(outcomes[i].second, wanted);
        model_[key][member] = wanted;
      }
    }
  }

  ScoreRange RandomRange() { return {RandomScore(), RandomScore(), Below(3) == 0, Below(3) == 0}; }
  static bool Inside(const ScoreRange& range, double score) {
    return (range.min_exclusive ? score > range.min : score >= range.min) &&
           (range.max_exclusive ? score < range.max : score <= range.max);
  }
  Members Between(const std::string& key, const ScoreRange& range) {
    Members members;
    for (const auto& row : Ordered(Model(key))) {
      if (Inside(range, row.first)) members.push_back(row);
    }
    return members;
  }

  void RemoveSome(const std::string& key) {
    const Members all = Ordered(Model(key));
    switch (Below(5)) {
      case 0: {
        const ScoreRange range = RandomRange();
        const Members gone = Between(key, range);
        const uint64_t removed = Run([&](Txn& txn) {
          Object* object = txn.Find(key);
          return object == nullptr ? 0 : RemoveRun(txn, object, ScoreRun(range));
        });
        ASSERT_EQ(removed, gone.size());
        return Forget(key, gone);
      }
      case 1: {
        const auto start = static_cast<int64_t>(Below(20)) - 10;
        const RankRange ranks = ClampRanks(start, start + static_cast<int64_t>(Below(12)), all.size());
        const uint64_t removed = Run([&](Txn& txn) {
          Object* object = txn.Find(key);
          return object == nullptr ? 0 : RemoveRanks(txn, object, ranks);
        });
        ASSERT_EQ(removed, ranks.count);
        const auto from = all.begin() + static_cast<ptrdiff_t>(ranks.first);
        return Forget(key, {from, from + static_cast<ptrdiff_t>(ranks.count)});
      }
      case 2: {
        const bool highest = Below(2) == 0;
        const uint64_t count = std::min<uint64_t>(1 + (Below(4) == 0 ? Below(200) : Below(3)), all.size());
        const Members popped = Run([&](Txn& txn) {
          Members members;
          if (Object* object = txn.Find(key)) {
            PopMembers(txn, object, highest, count, [&](const ScoredMember& member) {
              members.emplace_back(member.score, member.member);
            });
          }
          return members;
        });
        Members expected = all;
        if (highest) std::reverse(expected.begin(), expected.end());
        expected.resize(count);
        ASSERT_EQ(popped, expected);
        return Forget(key, expected);
      }
      default: {
        std::vector<std::string> members(1 + Below(8));
        for (std::string& member : members) member = RandomMember();
        const uint64_t removed = Run([&](Txn& txn) {
          uint64_t count = 0;
          Object* object = txn.Find(key);
          if (object == nullptr) return count;
          SortedSetEdit edit(txn, object);
          for (size_t i = 0; i < members.size() && edit.count() > 0; ++i) count += edit.Remove(members[i]);
          edit.Finish();
          return count;
        });
        uint64_t expected = 0;
        for (const std::string& member : members) expected += model_[key].erase(member);
        ASSERT_EQ(removed, expected);
      }
    }
  }

  void Write() override {
    const std::string key = RandomKey();
    const uint64_t what = Below(100);
    if (what < 60) {
      AddSome(key);
    } else if (what < 92) {
      RemoveSome(key);
    } else if (what < 95) {
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
      if (key != other && !Model(key).empty()) model_[other] = std::exchange(model_[key], {});
    } else {
      StoreUnion(key);
    }
    Drop(key);
  }

  void StoreUnion(const std::string& key) {
    const std::string from[] = {RandomKey(), RandomKey()};
    Run([&](Txn& txn) {
      SetAlgebra algebra{.aggregate = ScoreAggregate::kMax};
      for (const std::string& source : from) algebra.sources.push_back(MakeSource(txn.Find(source), 1));
      const std::vector<OwnedMember> members = Combine(txn, algebra);
      if (!members.empty()) StoreMembers(txn, txn.ForWrite(key), members);
    });
    Scores result = Model(from[0]);
    for (const auto& [member, score] : Model(from[1])) {
      const auto [at, added] = result.emplace(member, score);
      if (!added) at->second = std::max(at->second, score);
    }
    if (!result.empty()) model_[key] = result;
  }

  void Read() override {
    const std::string key = RandomKey();
    const Scores model = Model(key);
    Members all = Ordered(model);
    const bool reverse = Below(2) == 0;
    switch (Below(5)) {
      case 0: {
        const std::string member = RandomMember();
        const auto score = Run([&](Txn& txn) {
          Object* object = txn.Find(key);
          return object == nullptr ? std::nullopt : ScoreOf(txn, object, member);
        });
        const auto expected = model.find(member);
        ASSERT_EQ(score.has_value(), expected != model.end());
        if (score.has_value()) {
          ASSERT_EQ(*score, expected->second);
        }
        break;
      }
      case 1: {
        const ScoreRange range = RandomRange();
        const uint64_t skip = Below(3) == 0 ? Below(100) : 0, limit = Below(2) == 0 ? Below(9) : SIZE_MAX;
        Members expected = Between(key, range);
        const size_t inside = expected.size();
        if (reverse) std::reverse(expected.begin(), expected.end());
        expected.erase(expected.begin(), expected.begin() + static_cast<ptrdiff_t>(std::min(skip, inside)));
        if (expected.size() > limit) expected.resize(limit);
        Run([&](Txn& txn) {
          Object* object = txn.Find(key);
          if (object == nullptr) return;
          ASSERT_EQ(CountRun(txn, object, ScoreRun(range), ~uint64_t{0} - 1), inside);
          ASSERT_EQ(Visited(txn, object, ScoreRun(range), reverse, skip, limit), expected);
        });
        break;
      }
      case 2: {
        const RankRange ranks = ClampRanks(static_cast<int64_t>(Below(60)) - 30,
                                           static_cast<int64_t>(Below(60)) - 30, all.size());
        const Members found = Run([&](Txn& txn) {
          Object* object = txn.Find(key);
          return object == nullptr ? Members() : Ranks(txn, object, ranks, reverse);
        });
        if (reverse) std::reverse(all.begin(), all.end());
        const auto from = all.begin() + static_cast<ptrdiff_t>(ranks.first);
        ASSERT_EQ(found, Members(from, from + static_cast<ptrdiff_t>(ranks.count)));
        break;
      }
      case 3: {
        if (all.empty()) break;
        const uint64_t rank = Below(all.size());
        const uint64_t found = Run([&](Txn& txn) {
          return RankOf(txn, txn.Find(key), {all[rank].first, all[rank].second});
        });
        ASSERT_EQ(found, rank);
        break;
      }
      default:
        Run([&](Txn& txn) {
          const Object* object = txn.Find(key);
          ASSERT_EQ(object == nullptr ? 0 : object->rows->body.count, model.size());
          if (object != nullptr) CheckBounds(object, model);
        });
    }
  }

  void CheckKey(const std::string& key, const Scores& model) override {
    ASSERT_EQ(Run([&](Txn& txn) { return All(txn, key); }), Ordered(model));
    Run([&](Txn& txn) {
      if (const Object* object = txn.Find(key)) CheckBounds(object, model);
    });
  }
  void CheckStored(const StoredObject& object, const Scores& model) override {
    RowMap fields, scores;
    for (const auto& [member, score] : model) {
      std::string score_bytes;
      AppendBig64(score_bytes, format::SortableScore(score));
      fields.emplace(member, score_bytes);
      if (object.head.object_id != 0) scores.emplace(score_bytes + member, "");
    }
    RowMap members;
    for (const auto& [member, score] : object.fields) {
      if (!object.head.lingering || object.scores.contains(score + member)) members.emplace(member, score);
    }
    ASSERT_EQ(members, fields);
    // Beside rows that are left below the bound.
    ASSERT_LE(object.body.before, model.size() < kLeftScoresMax ? 0 : kLeftScoresMax);
    std::string bound;
    AppendBig64(bound, object.body.aux0);
    const auto first = object.scores.lower_bound(bound);
    ASSERT_LE(static_cast<uint64_t>(std::distance(object.scores.begin(), first)), object.body.before);
    ASSERT_EQ(RowMap(first, object.scores.end()), scores);
  }
};

TEST_P(SortedSetModelTest, RandomOperationsEqualTheModel) {
  RandomOperationsEqualTheModel({.sizes = {600, 60, 8}});
}
INSTANTIATE_TEST_SUITE_P(Settings, SortedSetModelTest, DisturbSettings(),
                         [](const auto& info) { return std::string(info.param.name); });

/// A set that is a queue: members leave from the low end and come at the high one, most times.
class QueueModelTest : public SortedSetModelTest {
 protected:
  struct Seen {
    bool left = false, erased_since = false;
  } seen_;

  void SetUp() override {
    SortedSetModelTest::SetUp();
    keys_ = 1;
    key_prefix_ = "queue";
  }
  std::string Name() { return FieldName(Below(40'000), "job"); }

  /// Scores of whole numbers, so that some are the same.
  void AddRun(double from, uint64_t count) {
    Scores& model = model_[RandomKey()];
    Members members;
    for (uint64_t i = 0; i < count; ++i) {
      members.emplace_back(std::floor(from + static_cast<double>(Below(1 + count / 2))), Name());
      model[members.back().second] = members.back().first;
    }
    Run([&](Txn& txn) { Add(txn, RandomKey(), members); });
  }

  void Write() override {
    Scores& model = model_[RandomKey()];
    const Members all = Ordered(model);
    if (all.size() < 500) return AddRun(1000, 4000);
    const uint64_t what = Below(100);
    const auto pop = [&](bool highest, uint64_t count) {
      Members expected = all;
      if (highest) std::reverse(expected.begin(), expected.end());
      expected.resize(count);
      const Members popped = Run([&](Txn& txn) {
        Members members;
        PopMembers(txn, txn.Find(RandomKey()), highest, count,
                   [&](const ScoredMember& member) { members.emplace_back(member.score, member.member); });
        return members;
      });
      ASSERT_EQ(popped, expected);
      Forget(RandomKey(), expected);
    };
    if (what < 45) {
      ASSERT_NO_FATAL_FAILURE(pop(false, 1 + Below(what < 30 ? 3 : 300)));
    } else if (what < 75) {
      AddRun(all.back().first - 50, 1 + Below(160));
    } else if (what < 78) {
      AddRun(all.front().first - 30, 1 + Below(9));  // to leave next
    } else if (what < 88) {
      // The first, one of the first, or any: moved or removed.
      const auto& [score, member] = all[Below(3) == 0 ? 0 : Below(3) == 0 ? Below(20) : Below(all.size())];
      if (Below(2) == 0) {
        Run([&](Txn& txn) { Add(txn, RandomKey(), {{score + 100, member}}); });
        model[member] = score + 100;
      } else {
        Run([&](Txn& txn) {
          SortedSetEdit edit(txn, txn.Find(RandomKey()));
          ASSERT_TRUE(edit.Remove(member));
          edit.Finish();
        });
        model.erase(member);
      }
    } else if (what < 96) {
      const double below = all[Below(Below(8) == 0 ? all.size() - 1 : 100)].first;
      const Members gone(all.begin(), std::find_if(all.begin(), all.end(),
                                                   [&](const auto& row) { return row.first >= below; }));
      const uint64_t removed = Run([&](Txn& txn) {
        return RemoveRun(txn, txn.Find(RandomKey()), ScoreRun({-kInf, below, false, true}));
      });
      ASSERT_EQ(removed, gone.size());
      Forget(RandomKey(), gone);
    } else {
      ASSERT_NO_FATAL_FAILURE(pop(true, 1 + Below(20)));
    }
    const uint64_t before = Run([&](Txn& txn) { return txn.body(txn.Find(RandomKey())).before; });
    seen_.left |= before > 0;
    seen_.erased_since |= seen_.left && before == 0;
  }

  void Observe() override {
    const Members all = Ordered(Model(RandomKey()));
    if (all.empty()) return;
    Commit();
    // As a reader thread sees it.
    SetAlgebra algebra;
    algebra.sources.push_back(Run([&](Txn& txn) { return MakeSource(txn.Find(RandomKey()), 1); }));
    uint64_t rows = 0;
    Command command;
    EXPECT_TRUE(keyspace->Offload(command, 0, [&](const SnapshotView& view) {
      auto members = Combine(view, algebra);
      if (members.ok()) rows = members->size();
    }));
    AwaitReady({&command});
    EXPECT_EQ(rows, all.size());
    Run([&](Txn& txn) { CopyObject(txn, txn.Find(RandomKey()), txn.ForWrite("copy")); });
    EXPECT_EQ(Run([&](Txn& txn) { return All(txn, "copy"); }), all);
    Run([&](Txn& txn) { txn.Remove(txn.Find("copy")); });
  }
};

TEST_P(QueueModelTest, RandomOperationsEqualTheModel) {
  random_.seed(TestSeed(1));
  ASSERT_NO_FATAL_FAILURE(RunTurns(130));
  for (const bool reopened : {false, true}) {
    if (reopened) Reopen();
    ASSERT_NO_FATAL_FAILURE(CheckAll());
    Purge();
    ASSERT_NO_FATAL_FAILURE(CheckDisk());
  }
  EXPECT_TRUE(seen_.left);
  EXPECT_TRUE(seen_.erased_since);
}
INSTANTIATE_TEST_SUITE_P(Settings, QueueModelTest, DisturbSettings(),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- Single matters ----

class SortedSetTest : public KeyspaceFixture {
 protected:
  /// `count` members m0000000... with the scores 0, 1, 2, ...
  static Members Numbered(int count) {
    Members members;
    for (int i = 0; i < count; ++i) {
      char name[16];
      std::snprintf(name, sizeof(name), "m%07d", i);
      members.emplace_back(i, name);
    }
    return members;
  }
  void Fill(const std::string& key, const Members& members) {
    constexpr size_t kAtOnce = 10'000;
    for (size_t i = 0; i < members.size(); i += kAtOnce) {
      const auto from = members.begin() + static_cast<ptrdiff_t>(i);
      const auto to = members.begin() + static_cast<ptrdiff_t>(std::min(members.size(), i + kAtOnce));
      Run([&](Txn& txn) { Add(txn, key, {from, to}); });
      Commit();
    }
  }
  format::CollectionBody Body(const std::string& key) {
    return Run([&](Txn& txn) { return txn.body(txn.Find(key)); });
  }
};

TEST_F(SortedSetTest, MinusZeroIsZero) {
  Fill("z", {{-0.0, "a"}, {0.0, "b"}, {-0.0, "c"}});
  Run([](Txn& txn) {
    Object* object = txn.Find("z");
    EXPECT_FALSE(std::signbit(*ScoreOf(txn, object, "a")));
    EXPECT_EQ(All(txn, "z"), (Members{{0, "a"}, {0, "b"}, {0, "c"}}));
    EXPECT_EQ(CountRun(txn, object, ScoreRun({-0.0, 0.0}), 100), 3u);
    EXPECT_EQ(CountRun(txn, object, ScoreRun({-0.0, 1, true, false}), 100), 0u);
  });
}

TEST_F(SortedSetTest, ScoreRunsEndWhereTheyShould) {
  Fill("z", {{-kInf, "a"}, {-5e-324, "b"}, {0, "c"}, {5e-324, "d"}, {1, "e"}, {kInf, "f"}});
  const auto count = [&](const ScoreRange& range) {
    return Run([&](Txn& txn) { return *CountRun(txn, txn.Find("z"), ScoreRun(range), 100); });
  };
  EXPECT_EQ(count({-kInf, kInf}), 6u);
  EXPECT_EQ(count({-kInf, kInf, true, true}), 4u);
  EXPECT_EQ(count({kInf, kInf}), 1u);
  EXPECT_EQ(count({kInf, kInf, true, false}), 0u);
  EXPECT_EQ(count({-kInf, -kInf}), 1u);
  EXPECT_EQ(count({0, 0}), 1u);
  EXPECT_EQ(count({0, 0, true, false}), 0u);
  EXPECT_EQ(count({-5e-324, 5e-324, true, true}), 1u);
  EXPECT_EQ(count({1, 0}), 0u);
}

TEST_F(SortedSetTest, APackedSetKeepsNoBounds) {
  Fill("z", Numbered(10));
  Run([](Txn& txn) { PopMembers(txn, txn.Find("z"), false, 3, [](const ScoredMember&) {}); });
  EXPECT_EQ(Body("z"), (format::CollectionBody{7, 0, 0}));
}

TEST_F(SortedSetTest, BoundsFollowWhatLeavesAndComes) {
  Fill("z", Numbered(1000));
  EXPECT_EQ(Body("z"), (format::CollectionBody{1000, 0, 0}));
  const auto pop = [&](bool highest, uint64_t count) {
    Run([&](Txn& txn) { PopMembers(txn, txn.Find("z"), highest, count, [](const ScoredMember&) {}); });
  };
  pop(false, 1);
  EXPECT_EQ(Body("z").aux0, format::SortableScore(1));
  pop(false, 99);
  EXPECT_EQ(Body("z").aux0, format::SortableScore(100));
  EXPECT_EQ(Body("z").aux1, 0u);
  pop(true, 200);
  EXPECT_EQ(~Body("z").aux1, format::SortableScore(799));
  Run([](Txn& txn) {
    SortedSetEdit edit(txn, txn.Find("z"));
    EXPECT_TRUE(edit.Remove("m0000100"));
    EXPECT_TRUE(edit.Remove("m0000500"));
    edit.Finish();
  });
  EXPECT_EQ(Body("z").aux0, format::SortableScore(101));
  // A score outside widens them, be it new or changed.
  Fill("z", {{-7, "new"}, {5000, "m0000300"}});
  EXPECT_EQ(Body("z").aux0, format::SortableScore(-7));
  EXPECT_EQ(~Body("z").aux1, format::SortableScore(5000));
  Fill("z", {{50, "new"}});
  EXPECT_EQ(Body("z").aux0, format::SortableScore(50));
  Run([](Txn& txn) { RemoveRun(txn, txn.Find("z"), ScoreRun({-kInf, 400})); });
  EXPECT_EQ(Body("z").aux0, format::SortableScore(401));
  const Members before = Run([](Txn& txn) { return All(txn, "z"); });
  Commit();
  Reopen();
  EXPECT_EQ(Run([](Txn& txn) { return All(txn, "z"); }), before);
}

TEST_F(SortedSetTest, AColdQueueDoesNotReadItsTombstones) {
  options.store.block_cache_bytes = 1;
  Crash();
  constexpr int kJobs = 40'000;
  Fill("q", Numbered(kJobs));
  // Jobs leave one by one, so that there is a tombstone for each.
  for (int i = 0; i < kJobs - 500; i += 100) {
    Run([&](Txn& txn) {
      SortedSetEdit edit(txn, txn.Find("q"));
      for (const auto& [score, member] : Numbered(i + 100)) {
        if (score >= i) edit.Remove(member);
      }
      edit.Finish();
    });
    Commit();
  }
  Crash();  // all is in the log
  waits = 0;
  const Members next = Run([](Txn& txn) {
    return Visited(txn, txn.Find("q"), ScoreRun({-kInf, kInf}), false, 0, 10);
  });
  EXPECT_EQ(next.front().first, kJobs - 500);
  EXPECT_LE(waits, 3);
  waits = 0;
  Run([this](Txn& txn) {
    Object* object = txn.Find("q");
    // What is below the bound is known without a look.
    EXPECT_FALSE(txn.SeekBackward(object, RowSpace::kScores, ScoreKey(kJobs - 500.5, "").view()).valid());
    EXPECT_EQ(waits, 0);
    PopMembers(txn, object, false, 1, [](const ScoredMember&) {});
    EXPECT_EQ(LowerBound(object), format::SortableScore(kJobs - 499));
  });
}

TEST_F(SortedSetTest, PoppedRowsAreLeftAndDeletedByTheThousand) {
  Fill("z", Numbered(5000));
  const auto pop = [&](uint64_t count) {
    Run([&](Txn& txn) { PopMembers(txn, txn.Find("z"), false, count, [](const ScoredMember&) {}); });
    Commit();
  };
  const auto rows = [&] { return RowsOf(Family::kScores).size(); };
  for (uint64_t i = 1; i <= kLeftScoresMax; ++i) pop(1);
  EXPECT_EQ(Body("z").before, kLeftScoresMax);
  EXPECT_EQ(rows(), 5000u);
  EXPECT_EQ(RowsOf(Family::kFields).size(), 5000 - kLeftScoresMax);
  Reopen();
  pop(1);
  EXPECT_EQ(Body("z").before, 0u);
  EXPECT_EQ(rows(), 5000 - kLeftScoresMax - 1);
  // A score below the bound deletes them first. That was too soon, so that the next ones are erased.
  pop(5);
  EXPECT_EQ(Body("z").before, 5u);
  Fill("z", {{3, "soon"}});
  EXPECT_EQ(Body("z").before, 0u);
  EXPECT_EQ(rows(), 5000 - kLeftScoresMax - 5);
  pop(kLeftScoresMax);
  EXPECT_EQ(Body("z").before, 0u);
  pop(10);
  EXPECT_EQ(Body("z").before, 10u);
  // Of members with the score of the next one the rows go.
  for (int i = 0; i < 20; ++i) Fill("z", {{3000, "same" + std::to_string(i)}});
  Run([&](Txn& txn) { RemoveRun(txn, txn.Find("z"), ScoreRun({-kInf, 2997})); });
  const uint64_t before = Body("z").before;
  EXPECT_EQ(Run([](Txn& txn) { return All(txn, "z").size(); }), Body("z").count);  // brings them into RAM
  pop(10);  // 2998, 2999, 3000 eight times
  EXPECT_EQ(Body("z").before, before + 2);
  EXPECT_EQ(Body("z").aux0, format::SortableScore(3000));
  // A short set leaves nothing.
  pop(Body("z").count - kLeftScoresMax - 5);
  pop(5);
  EXPECT_EQ(Body("z").before, 5u);
  pop(1);
  EXPECT_EQ(Body("z").before, 0u);
  EXPECT_EQ(rows(), kLeftScoresMax - 1);
  // They go with the set.
  Fill("z", Numbered(5000));
  pop(7);
  Run([&](Txn& txn) { txn.Remove(txn.Find("z")); });
  Commit();
  Purge();
  EXPECT_EQ(rows(), 0u);
}

TEST_F(SortedSetTest, AColdTopTenReadsFewRows) {
  options.store.block_cache_bytes = 1;
  Crash();
  Fill("z", Numbered(50'000));
  Reopen();
  waits = 0;
  Run([](Txn& txn) {
    Object* object = txn.Find("z");
    EXPECT_EQ(Ranks(txn, object, {0, 10}, true).front().first, 49'999);
    EXPECT_EQ(Ranks(txn, object, {5, 5}, false).back().first, 9);
    EXPECT_LT(object->rows->scores.count(), 2000u);
    EXPECT_EQ(ScoreOf(txn, object, "m0025000"), 25'000);
    EXPECT_EQ(object->rows->fields.count(), 1u);
  });
  EXPECT_LE(waits, 5);
}

TEST_F(SortedSetTest, DeepRanksAndLongWays) {
  Fill("z", Numbered(20'000));
  Reopen();
  Run([](Txn& txn) {
    Object* object = txn.Find("z");
    EXPECT_EQ(Ranks(txn, object, {10'000, 2}, false), (Members{{10'000, "m0010000"}, {10'001, "m0010001"}}));
    EXPECT_EQ(Ranks(txn, object, {10'000, 2}, true), (Members{{9'999, "m0009999"}, {9'998, "m0009998"}}));
    const RowRun run = ScoreRun({100, 19'000});
    EXPECT_EQ(Visited(txn, object, run, false, 5000, 1), (Members{{5100, "m0005100"}}));
    EXPECT_EQ(Visited(txn, object, run, true, 5000, 1), (Members{{14'000, "m0014000"}}));
    EXPECT_TRUE(Visited(txn, object, run, true, 18'901, 1).empty());
    EXPECT_EQ(Visited(txn, object, run, true, 18'900, 1), (Members{{100, "m0000100"}}));
  });
}

TEST_F(SortedSetTest, CountingStopsWhereItWasTold) {
  Fill("z", Numbered(5000));
  Reopen();
  Run([](Txn& txn) {
    Object* object = txn.Find("z");
    const RowRun run = ScoreRun({10, 4000});
    EXPECT_EQ(CountRun(txn, object, run, 100), std::nullopt);
    EXPECT_EQ(CountRun(txn, object, run, 3991), 3991u);
    EXPECT_EQ(CountRun(txn, object, run, 3990), std::nullopt);
    txn.CompleteRows(object, RowSpace::kScores);
    EXPECT_EQ(CountRun(txn, object, run, 100), 3991u);
  });
}

TEST_F(SortedSetTest, LexRunsOfALargeSet) {
  Members members;
  for (const auto& [score, member] : Numbered(3000)) members.emplace_back(0, member);
  Fill("z", members);
  Run([](Txn& txn) { PopMembers(txn, txn.Find("z"), false, 10, [](const ScoredMember&) {}); });
  Commit();
  Reopen();
  using Kind = LexBound::Kind;
  const auto names = [&](const LexRange& range, bool reverse) {
    return Run([&](Txn& txn) {
      Object* object = txn.Find("z");
      return Visited(txn, object, LexRun(txn, object, range, reverse), reverse);
    });
  };
  EXPECT_EQ(names({{Kind::kInclusive, "m0001000"}, {Kind::kExclusive, "m0001002"}}, false),
            (Members{{0, "m0001000"}, {0, "m0001001"}}));
  EXPECT_EQ(names({{Kind::kExclusive, "m0001000"}, {Kind::kInclusive, "m0001002"}}, true),
            (Members{{0, "m0001002"}, {0, "m0001001"}}));
  EXPECT_EQ(names({{Kind::kLowest, ""}, {Kind::kExclusive, "m0000011"}}, false), (Members{{0, "m0000010"}}));
  EXPECT_EQ(names({{Kind::kLowest, ""}, {Kind::kHighest, ""}}, false).size(), 2990u);
  EXPECT_TRUE(names({{Kind::kHighest, ""}, {Kind::kLowest, ""}}, false).empty());
  EXPECT_TRUE(names({{Kind::kInclusive, "b"}, {Kind::kInclusive, "a"}}, false).empty());
}

TEST_F(SortedSetTest, EncodingFollowsTheCompactLimits) {
  const auto encoding = [&] { return Run([](Txn& txn) { return txn.Find("z")->encoding; }); };
  Fill("z", Numbered(128));
  EXPECT_EQ(encoding(), Encoding::kAuto);
  Fill("z", {{7, "m0000001"}});
  EXPECT_EQ(encoding(), Encoding::kAuto);
  Fill("z", {{7, "one more"}});
  EXPECT_EQ(encoding(), Encoding::kRaw);
  Run([](Txn& txn) { RemoveRun(txn, txn.Find("z"), ScoreRun({5, kInf})); });
  EXPECT_EQ(encoding(), Encoding::kRaw);
  Reopen();
  EXPECT_EQ(encoding(), Encoding::kRaw);
}

// ---- Unions and their kin ----

class SetAlgebraTest : public SortedSetTest {
 protected:
  void FillSet(const std::string& key, const std::vector<std::string>& members) {
    Run([&](Txn& txn) {
      Object* object = txn.ForWrite(key);
      txn.MakeRows(object, ObjectType::kSet);
      for (const std::string& member : members) txn.Put(object, RowSpace::kFields, member, {});
      format::CollectionBody body;
      body.count = members.size();
      txn.SetBody(object, body);
    });
    Commit();
  }
  static SetAlgebra Make(Txn& txn, const SetAlgebra& what,
                         const std::vector<std::pair<std::string, double>>& inputs) {
    SetAlgebra algebra = what;
    for (const auto& [key, weight] : inputs) algebra.sources.push_back(MakeSource(txn.Find(key), weight));
    return algebra;
  }
  static Members Plain(const std::vector<OwnedMember>& members) {
    Members plain;
    for (const OwnedMember& member : members) plain.emplace_back(member.score, member.member);
    return plain;
  }
  /// The result as the keyspace thread and as a reader thread find it.
  Members Result(const SetAlgebra& what, const std::vector<std::pair<std::string, double>>& inputs) {
    Commit();
    const Members inline_result = Run([&](Txn& txn) { return Plain(Combine(txn, Make(txn, what, inputs))); });
    const SetAlgebra algebra = Run([&](Txn& txn) {
      SetAlgebra algebra = Make(txn, what, inputs);
      for (AlgebraSource& source : algebra.sources) CopyPacked(txn, &source);
      return algebra;
    });
    Members read;
    Command command;
    EXPECT_TRUE(keyspace->Offload(command, 0, [&](const SnapshotView& view) {
      auto members = Combine(view, algebra);
      EXPECT_TRUE(members.ok());
      read = Plain(*members);
    }));
    AwaitReady({&command});
    EXPECT_EQ(read, inline_result);
    return inline_result;
  }
};

TEST_F(SetAlgebraTest, SmallInputs) {
  Fill("a", {{1, "x"}, {2, "y"}, {3, "z"}});
  Fill("b", {{10, "y"}, {-20, "z"}, {30, "w"}});
  FillSet("s", {"z", "q"});
  const SetAlgebra sum, low{.aggregate = ScoreAggregate::kMin};
  EXPECT_EQ(Result(sum, {{"a", 1}, {"b", 2}}), (Members{{-37, "z"}, {1, "x"}, {22, "y"}, {60, "w"}}));
  EXPECT_EQ(Result(low, {{"a", 1}, {"s", 5}, {"missing", 1}}),
            (Members{{1, "x"}, {2, "y"}, {3, "z"}, {5, "q"}}));
  const SetAlgebra inter{.operation = SetOperation::kIntersection};
  EXPECT_EQ(Result(inter, {{"a", 1}, {"b", 1}, {"s", 100}}), (Members{{83, "z"}}));
  EXPECT_EQ(Result(inter, {{"a", 2}, {"a", 3}}), (Members{{5, "x"}, {10, "y"}, {15, "z"}}));
  EXPECT_TRUE(Result(inter, {{"a", 1}, {"missing", 1}}).empty());
  const SetAlgebra diff{.operation = SetOperation::kDifference};
  EXPECT_EQ(Result(diff, {{"a", 1}, {"s", 1}}), (Members{{1, "x"}, {2, "y"}}));
  EXPECT_EQ(Result(diff, {{"s", 1}, {"a", 1}}), (Members{{1, "q"}}));
  EXPECT_TRUE(Result(diff, {{"a", 1}, {"a", 1}}).empty());
}

TEST_F(SetAlgebraTest, InfinitiesThatMeetGiveZero) {
  Fill("i", {{kInf, "x"}, {0, "y"}});
  Fill("j", {{-kInf, "x"}, {5, "y"}});
  EXPECT_EQ(Result({}, {{"i", 1}, {"j", 1}}), (Members{{0, "x"}, {5, "y"}}));
  EXPECT_EQ(Result({}, {{"i", kInf}, {"j", 0}}), (Members{{0, "y"}, {kInf, "x"}}));
}

TEST_F(SetAlgebraTest, LargeColdInputs) {
  options.store.block_cache_bytes = 1;
  Crash();
  Fill("a", Numbered(3000));
  Fill("b", Numbered(2000));
  std::vector<std::string> names;
  for (const auto& [score, member] : Numbered(1000)) names.push_back(member);
  FillSet("s", names);
  Fill("small", {{7, "m0000500"}, {8, "m0002500"}, {9, "other"}});
  Reopen();
  const SetAlgebra inter{.operation = SetOperation::kIntersection};
  EXPECT_EQ(Result(inter, {{"a", 1}, {"b", 1}, {"s", 1}}).size(), 1000u);
  EXPECT_EQ(Result(inter, {{"a", 1}, {"small", 1}}), (Members{{507, "m0000500"}, {2508, "m0002500"}}));
  EXPECT_EQ(Result({}, {{"a", 1}, {"b", 1}, {"s", 1}, {"small", 1}}).size(), 3001u);
  EXPECT_EQ(Result({.operation = SetOperation::kDifference}, {{"a", 1}, {"b", 1}}).size(), 1000u);
  EXPECT_EQ(Result({.operation = SetOperation::kDifference}, {{"small", 1}, {"a", 1}}),
            (Members{{9, "other"}}));
}

}  // namespace
}  // namespace thermocline
