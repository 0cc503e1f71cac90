#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

using Ran = Keyspace::Ran;

/// A command that reads "a", which is cold, and how often it has begun.
class ColdKeyTest : public KeyspaceTest {
 protected:
  void SetUp() override {
    KeyspaceTest::SetUp();
    Set("a", "1");
    GoCold();
  }

  Command command;
  int runs = 0;
  const std::function<void(Txn&)> body = [this](Txn& txn) {
    ++runs;
    EXPECT_EQ(Get(txn, "a"), "1");
  };
};

TEST_F(ColdKeyTest, IsWaitedForAndThenFound) {
  EXPECT_EQ(RunOnce(command, body), Ran::kWaiting);
  EXPECT_TRUE(command.suspended());
  EXPECT_EQ(keyspace->loads_under_way(), 1u);
  AwaitReady({&command});
  EXPECT_FALSE(command.suspended());
  EXPECT_EQ(RunOnce(command, body), Ran::kDone);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(keyspace->stats().faults, 1u);
  EXPECT_EQ(keyspace->stats().commands_rerun, 1u);
  EXPECT_EQ(keyspace->stats().keyspace_hits, 1u);
}

TEST_F(ColdKeyTest, IsLookedForAhead) {
  const std::string_view ahead[] = {"a"};
  EXPECT_EQ(keyspace->Run(command, 0, body, ahead), Ran::kWaiting);
  EXPECT_EQ(runs, 0);
  AwaitReady({&command});
  EXPECT_EQ(RunOnce(command, body), Ran::kDone);
  EXPECT_EQ(keyspace->Run(command, 0, body, ahead), Ran::kDone);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(keyspace->stats().faults, 1u);
}

TEST_F(KeyspaceTest, ColdKeyThatDoesNotExist) {
  for (int i = 0; i < 100; ++i) Set(Name("k", i), "1");
  GoCold();
  EXPECT_EQ(Get("k55x"), std::nullopt);
  EXPECT_EQ(keyspace->stats().keyspace_misses, 1u);
  EXPECT_EQ(keyspace->hot().object_count(), 0u);
}

TEST_F(KeyspaceTest, WaitersOfOneKeyShareOneRead) {
  Set("a", "1");
  GoCold();
  Command first, second;
  const auto body = [&](Txn& txn) { EXPECT_EQ(Get(txn, "a"), "1"); };
  EXPECT_EQ(RunOnce(first, body), Ran::kWaiting);
  EXPECT_EQ(keyspace->Run(second, 0, body), Ran::kWaiting);
  EXPECT_EQ(keyspace->stats().faults, 1u);
  EXPECT_EQ(keyspace->stats().shared_faults, 1u);
  AwaitReady({&first, &second});
  EXPECT_EQ(RunOnce(second, body), Ran::kDone);
  EXPECT_EQ(RunOnce(first, body), Ran::kDone);
}

TEST_F(KeyspaceTest, LoadedKeysStayUntilTheirCommandHasRun) {
  for (int i = 0; i < 10; ++i) Set(Name("k", i), "value");
  GoCold();
  keyspace->SetHotBytesMax(1);
  Command command;
  const auto body = [&](Txn& txn) { EXPECT_EQ(Get(txn, "k3"), "value"); };
  EXPECT_EQ(RunOnce(command, body), Ran::kWaiting);
  AwaitReady({&command});
  keyspace->Housekeeping();
  EXPECT_EQ(keyspace->hot().object_count(), 1u);
  EXPECT_EQ(RunOnce(command, body), Ran::kDone);
  keyspace->Housekeeping();
  EXPECT_EQ(keyspace->hot().object_count(), 0u);
}

TEST_F(KeyspaceTest, ForgottenWaiterLetsGo) {
  Set("a", "1");
  GoCold();
  {
    Command command;
    EXPECT_EQ(RunOnce(command, [&](Txn& txn) { (void)txn.Find("a"); }), Ran::kWaiting);
    ASSERT_TRUE(Await([&] { return !command.suspended(); }));
    keyspace->Forget(command);
  }
  std::vector<Waiter*> ready;
  keyspace->TakeReady(&ready);
  EXPECT_TRUE(ready.empty());
  EvictAll();  // nothing is pinned
}

TEST_F(KeyspaceTest, PrefetchWaitsOnceForAll) {
  std::vector<std::string> names;
  for (int i = 0; i < 50; ++i) names.push_back(Name("key", i));
  for (const std::string& name : names) Set(name, name);
  GoCold();
  const std::vector<std::string_view> keys(names.begin(), names.end());
  Run([&](Txn& txn) {
    txn.Prefetch(keys);
    for (const std::string& name : names) EXPECT_EQ(Get(txn, name), name);
  });
  EXPECT_EQ(waits, 1);
  EXPECT_EQ(keyspace->stats().faults, 50u);
  EXPECT_EQ(keyspace->stats().shared_faults, 0u);
  EXPECT_GE(keyspace->stats().fault_jobs, 1u);
  EXPECT_LE(keyspace->stats().fault_jobs, 13u);  // four points each at least
}

TEST_F(KeyspaceTest, PrefetchRowsWaitsOnceForAll) {
  Collect("c", 2000);
  GoCold();
  Run([&](Txn& txn) {
    Object* object = txn.Find("c");
    std::vector<std::string> names;
    for (int i = 0; i < 2000; i += 100) names.push_back(RowName(i));
    const std::vector<std::string_view> keys(names.begin(), names.end());
    txn.PrefetchRows(object, RowSpace::kFields, keys);
    for (const std::string_view key : keys) EXPECT_TRUE(txn.Get(object, RowSpace::kFields, key).has_value());
  });
  EXPECT_EQ(waits, 2);  // the head, the rows
}

TEST_F(KeyspaceTest, MoveOfAnObjectWhoseRowsAreBeingRead) {
  Collect("c", 2000);
  GoCold();
  Run([&](Txn& txn) { ASSERT_NE(txn.Find("c"), nullptr); });
  Command reader;
  bool found = false;
  const auto read = [&](Txn& txn) {
    for (const char* key : {"c", "d"}) {
      if (Object* object = txn.Find(key))
        found = txn.Get(object, RowSpace::kFields, RowName(1000)).has_value();
    }
  };
  ASSERT_EQ(RunOnce(reader, read), Ran::kWaiting);
  Command mover;
  ASSERT_EQ(keyspace->Run(mover, 0, [&](Txn& txn) { txn.Move(txn.Find("c"), txn.ForWrite("d")); }),
            Ran::kDone);
  Commit();
  AwaitReady({&reader});
  while (RunOnce(reader, read) != Ran::kDone) AwaitReady({&reader});
  EXPECT_TRUE(found);
  Run([&](Txn& txn) {  // the same row is asked for again, were it not there: no trace of the first read is
                       // left
    Object* object = txn.Find("d");
    for (int i = 0; i < 2000; i += 50)
      EXPECT_TRUE(txn.Get(object, RowSpace::kFields, RowName(i)).has_value());
  });
  Commit();
  EvictAll();
}

}  // namespace
}  // namespace thermocline
