#include <gtest/gtest.h>

#include <vector>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

TEST_F(KeyspaceTest, EventsOnlyForThoseWhoListen) {
  Set("a", "1");
  Commit();
  EXPECT_TRUE(keyspace->TakeEvents().empty());
  keyspace->Listen({.changes = true});
  Set("b", "1", 0, 3);
  Commit();
  const std::vector<KeyEvent> events = keyspace->TakeEvents();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].db, 3);
  EXPECT_EQ(events[0].key, "b");
  EXPECT_STREQ(events[0].name, "set");
  EXPECT_TRUE(keyspace->TakeEvents().empty());
}

TEST_F(KeyspaceTest, NewKeysTellTheirType) {
  using Told = std::pair<std::string, ObjectType>;
  const auto told = [&] {
    std::vector<Told> keys;
    for (const KeyEvent& event : keyspace->TakeEvents()) {
      if (event.event_class == EventClass::kNew) keys.emplace_back(event.key, event.type);
    }
    return keys;
  };
  keyspace->Listen({.changes = true, .new_keys = true});
  Run([&](Txn& txn) {
    txn.MakeRows(txn.ForWrite("rows"), ObjectType::kSortedSet);
    txn.MakeRows(txn.ForWrite("rows"), ObjectType::kList);  // is there already
    txn.SetString(txn.ForWrite("text"), "1", Encoding::kText);
    txn.EditString(txn.ForWrite("edited"), 1, Encoding::kText);
    txn.Move(txn.ForWrite("rows"), txn.ForWrite("text"));
    txn.MakeRows(txn.ForWrite("rows"), ObjectType::kHash);
  });
  EXPECT_EQ(told(), (std::vector<Told>{{"rows", ObjectType::kSortedSet},
                                       {"text", ObjectType::kString},
                                       {"edited", ObjectType::kString},
                                       {"text", ObjectType::kList},
                                       {"rows", ObjectType::kHash}}));
}

}  // namespace
}  // namespace thermocline
