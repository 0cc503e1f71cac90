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

}  // namespace
}  // namespace thermocline
