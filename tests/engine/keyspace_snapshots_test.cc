#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "engine/keyspace_fixture.h"
#include "engine/snapshot.h"

namespace thermocline {
namespace {

using testing::ElementsAre;

class SnapshotTest : public KeyspaceTest {
 protected:
  /// Runs `job` as a command does: again after a wait.
  void Offload(std::function<void(const SnapshotView&)> job, int db = 0) {
    Command command;
    keyspace->TakeIn();
    ASSERT_TRUE(keyspace->Offload(command, db, std::move(job)));
    EXPECT_TRUE(command.suspended());
    AwaitReady({&command});
  }
  std::vector<std::string> Keys(std::string prefix, std::string from = {}, int db = 0) {
    std::vector<std::string> keys;
    Offload(
        [&](const SnapshotView& view) {
          EXPECT_TRUE(view.ForEachKey(prefix, from,
                                      [&](const SnapshotView::Key& key, bool expired) {
                                        if (!expired) keys.emplace_back(key.key);
                                        return true;
                                      })
                          .ok());
        },
        db);
    return keys;
  }
};

TEST_F(SnapshotTest, KeysWithAPrefixInOrder) {
  for (const char* key : {"user:2", "user:1", "user", "used", "user;", "v", "\xff\xff", "\xff"})
    Set(key, "1");
  Set("user:3", "1", now() + 10);
  Set("user:other db", "1", 0, 1);
  EXPECT_THAT(Keys("user:"), ElementsAre("user:1", "user:2", "user:3"));  // and commits what is pending
  EXPECT_FALSE(keyspace->pending());
  clock.AdvanceMs(20);
  EXPECT_THAT(Keys("user:"), ElementsAre("user:1", "user:2"));
  EXPECT_THAT(Keys("user:", "user:1a"), ElementsAre("user:2"));
  EXPECT_THAT(Keys("\xff"), ElementsAre("\xff", "\xff\xff"));
  EXPECT_EQ(Keys("").size(), 8u);
  EXPECT_THAT(Keys("", "", 1), ElementsAre("user:other db"));
  EXPECT_THAT(Keys("", "", 9), ElementsAre());
}

TEST_F(SnapshotTest, LaterWritesAreNotSeen) {
  Set("a", "1");
  std::vector<std::string> keys;
  Command command;
  ASSERT_TRUE(keyspace->Offload(command, 0, [&](const SnapshotView& view) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_TRUE(view.ForEachKey("", "",
                                [&](const SnapshotView::Key& key, bool) {
                                  keys.emplace_back(key.key);
                                  return true;
                                })
                    .ok());
  }));
  Set("b", "1");
  Commit();
  AwaitReady({&command});
  EXPECT_THAT(keys, ElementsAre("a"));
}

TEST_F(SnapshotTest, RandomKeyReachesEveryKey) {
  std::set<std::string> all = {"",
                               std::string(1, '\0'),
                               "\xff\xff\xff",
                               std::string(100, 'x'),
                               std::string(99, 'x'),
                               std::string(100, 'x') + "1",
                               std::string(100, 'x') + "2"};
  for (int i = 0; i < 40; ++i) all.insert(Name("key:", i));
  for (const std::string& key : all) Set(key, "1");
  Set("expired", "1", now() + 10);
  clock.AdvanceMs(20);
  keyspace->SetActiveExpiry(false);
  std::set<std::string> seen;
  Offload([&](const SnapshotView& view) {
    for (uint64_t seed = 0; seed < 5000; ++seed) {
      const Result<std::optional<std::string>> key = view.RandomKey(seed);
      ASSERT_TRUE(key.ok());
      ASSERT_TRUE(key->has_value());
      seen.insert(**key);
    }
  });
  EXPECT_EQ(seen, all);
  Offload([&](const SnapshotView& view) { EXPECT_FALSE(view.RandomKey(1)->has_value()); }, 7);
}

}  // namespace
}  // namespace thermocline
