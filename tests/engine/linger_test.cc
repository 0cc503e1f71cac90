// Members of a sorted set that were removed by the thousand: their rows in the fields space linger, and
// nobody may see them, whatever happens before they are purged.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "engine/keys.h"
#include "engine/keyspace_fixture.h"
#include "engine/sorted_set.h"
#include "engine/sorted_set_range.h"
#include "engine/test_seed.h"

namespace thermocline {
namespace {

using Model = std::map<std::string, double>;

class LingerTest : public KeyspaceFixture {
 protected:
  static std::string Member(uint64_t i) { return "member" + std::to_string(i); }

  void Add(const std::string& key, const std::map<std::string, double>& members) {
    Run([&](Txn& txn) {
      Object* object = txn.ForWrite(key);
      if (!object->live()) txn.MakeRows(object, ObjectType::kSortedSet);
      std::vector<std::string_view> names;
      for (const auto& [member, score] : members) names.push_back(member);
      PrefetchScores(txn, object, names);
      SortedSetEdit edit(txn, object);
      for (const auto& [member, score] : members) {
        double now = score;
        edit.Add(member, {}, &now);
      }
      edit.Finish();
    });
    for (const auto& [member, score] : members) model_[key][member] = score;
  }

  uint64_t RemoveScores(const std::string& key, double min, double max) {
    const uint64_t removed = Run([&](Txn& txn) {
      Object* object = txn.Find(key);
      return object == nullptr ? 0 : RemoveRun(txn, object, ScoreRun({min, max}));
    });
    const uint64_t before = model_[key].size();
    std::erase_if(model_[key], [&](const auto& entry) { return entry.second >= min && entry.second <= max; });
    EXPECT_EQ(removed, before - model_[key].size());
    return removed;
  }

  bool Lingering(const std::string& key) {
    return Run([&](Txn& txn) {
      const Object* object = txn.Find(key);
      return object != nullptr && object->rows->lingering;
    });
  }

  /// What can be seen of a key is what the model says.
  void Check(const std::string& key) {
    const Model& model = model_[key];
    Model found;
    uint64_t count = 0;
    Run([&](Txn& txn) {
      found.clear();
      Object* object = txn.Find(key);
      count = object == nullptr ? 0 : CollectionCountOf(object);
      if (object == nullptr) return;
      VisitRun(txn, object, ScoreRun({-1e300, 1e300}), /*reverse=*/false, 0, [&](const ScoredMember& member) {
        found.emplace(member.member, member.score);
        return true;
      });
    });
    ASSERT_EQ(found, model) << key;
    ASSERT_EQ(count, model.size());
    for (uint64_t i = 0; i < kMembers; i += 37) {
      const auto score = Run([&](Txn& txn) {
        Object* object = txn.Find(key);
        return object == nullptr ? std::nullopt : ScoreOf(txn, object, Member(i));
      });
      const auto expected = model.find(Member(i));
      ASSERT_EQ(score.has_value(), expected != model.end()) << key << " " << i;
      if (score.has_value()) {
        ASSERT_EQ(*score, expected->second);
      }
    }
  }

  /// Until nothing lingers; then every row on disk is one that counts.
  void PurgeAndCheckDisk() {
    RunBackground([&] {
      bool lingers = false;
      for (const auto& [key, model] : model_) lingers |= Lingering(key);
      return !lingers && keyspace->purge_backlog() == 0 && !keyspace->pending();
    });
    uint64_t members = 0;
    for (const auto& [key, model] : model_) members += model.size();
    EXPECT_EQ(RowsOf(Family::kFields).size(), members);
    EXPECT_EQ(RowsOf(Family::kScores).size(), members);
  }

  static uint64_t CollectionCountOf(const Object* object) { return object->rows->body.count; }

  Model Numbered(uint64_t from, uint64_t to) {
    Model members;
    for (uint64_t i = from; i < to; ++i) members[Member(i)] = static_cast<double>(i);
    return members;
  }

  static constexpr uint64_t kMembers = 9000;
  std::map<std::string, Model> model_;
};

TEST_F(LingerTest, RemovedMembersAreGoneAtOnce) {
  Add("z", Numbered(0, kMembers));
  Commit();
  EXPECT_EQ(RemoveScores("z", 0, 4999), 5000u);
  EXPECT_TRUE(Lingering("z"));
  Check("z");
  Commit();
  Check("z");
  // Some come back, with their old score and with another one.
  Add("z", Numbered(100, 200));
  Add("z", {{Member(300), 7000.5}, {Member(301), -1}});
  Check("z");
  Commit();
  PurgeAndCheckDisk();
  Check("z");
}

TEST_F(LingerTest, ACrashBeforeThePurge) {
  Add("z", Numbered(0, kMembers));
  Commit();
  RemoveScores("z", 2000, 7999);
  Commit();
  for (const bool flushed : {false, true}) {
    flushed ? Reopen() : Crash();
    EXPECT_TRUE(Lingering("z"));
    Check("z");
  }
  PurgeAndCheckDisk();
}

TEST_F(LingerTest, RenamedCopiedEmptiedReplaced) {
  for (const char* key : {"a", "b", "c", "d"}) {
    Add(key, Numbered(0, kMembers));
    RemoveScores(key, 0, 4999);
  }
  Run([&](Txn& txn) { txn.Move(txn.Find("a"), txn.ForWrite("e")); });
  model_["e"] = std::exchange(model_["a"], {});
  Run([&](Txn& txn) { CopyObject(txn, txn.Find("b"), txn.ForWrite("f")); });
  model_["f"] = model_["b"];
  EXPECT_EQ(RemoveScores("c", 0, 1e9), kMembers - 5000);
  Run([&](Txn& txn) { txn.SetString(txn.ForWrite("d"), "text", Encoding::kAuto); });
  model_.erase("d");
  for (const char* key : {"b", "c", "e", "f"}) Check(key);
  Commit();
  // Down to what would be packed, but for the rows that linger.
  RemoveScores("b", 0, static_cast<double>(kMembers) - 4);
  Commit();
  Check("b");
  RunBackground([&] { return keyspace->purge_backlog() == 0; });
  for (const char* key : {"b", "c", "e", "f"}) Check(key);
  Run([&](Txn& txn) { txn.Remove(txn.Find("b")); });
  model_.erase("b");
  Commit();
  PurgeAndCheckDisk();
}

TEST_F(LingerTest, AnUnwoundRemovalLeavesNothing) {
  Add("z", Numbered(0, kMembers));
  Run([](Txn& txn) { txn.SetString(txn.ForWrite("cold"), "value", Encoding::kAuto); });
  Commit();
  Reopen();
  Command command;
  // The removal comes first, then a read that has to wait for the disk.
  const auto body = [](Txn& txn) {
    RemoveRun(txn, txn.Find("z"), ScoreRun({0, 4999}));
    EXPECT_NE(txn.Find("cold"), nullptr);
  };
  Keyspace::Ran ran = RunOnce(command, body);
  int waits = 0;
  for (; ran == Keyspace::Ran::kWaiting; ++waits) {
    AwaitReady({&command});
    ran = RunOnce(command, body);
  }
  EXPECT_GT(waits, 1);
  ASSERT_EQ(ran, Keyspace::Ran::kDone);
  std::erase_if(model_["z"], [](const auto& entry) { return entry.second <= 4999; });
  Check("z");
  Commit();
  PurgeAndCheckDisk();
}

TEST_F(LingerTest, RandomRemovalsWithCrashes) {
  const uint64_t seed = TestSeed(7);
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  options.store.block_cache_bytes = 64 << 10;
  for (int round = 0; round < 12; ++round) {
    const uint64_t from = random() % kMembers, to = std::min(kMembers, from + 1 + random() % 6000);
    Model members = Numbered(from, to);
    for (auto& [member, score] : members) score += static_cast<double>(random() % 3);
    Add("z", members);
    const double low = static_cast<double>(random() % kMembers);
    RemoveScores("z", low, low + static_cast<double>(random() % 5000));
    switch (random() % 5) {
      case 0: Commit(); break;
      case 1: Reopen(); break;
      case 2: Commit(), Crash(); break;
      case 3: Commit(), keyspace->TakeIn(), keyspace->Housekeeping(); break;
      default: break;
    }
    // Reopen and Crash without a commit lose what was not committed; keep to what is there.
    if (keyspace->pending()) Commit();
    Model found;
    Run([&](Txn& txn) {
      found.clear();
      Object* object = txn.Find("z");
      if (object == nullptr) return;
      VisitRun(txn, object, ScoreRun({-1e300, 1e300}), /*reverse=*/false, 0, [&](const ScoredMember& member) {
        found.emplace(member.member, member.score);
        return true;
      });
    });
    model_["z"] = found;
    Check("z");
  }
  PurgeAndCheckDisk();
}

}  // namespace
}  // namespace thermocline
