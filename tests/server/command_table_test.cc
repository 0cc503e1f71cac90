// Checks of all rows of the command table: what a slip of the pen in one of them would break.

#include "server/command_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <set>

#include "server/acl_categories.h"

namespace thermocline {
namespace {

class CommandTableTest : public testing::Test {
 protected:
  template <typename Check>
  void ForEachRow(Check&& check) {
    for (const auto& entry : table_.entries()) {
      SCOPED_TRACE(entry->full_name);
      check(*entry);
      for (const CommandTable::Entry& sub : entry->subcommands) {
        SCOPED_TRACE(sub.full_name);
        check(sub);
      }
    }
  }

  const CommandTable table_ = CommandTable::All();
};

TEST_F(CommandTableTest, NamesAreLowerCaseAndUnique) {
  std::set<std::string> names;
  ForEachRow([&](const CommandTable::Entry& entry) {
    EXPECT_TRUE(names.insert(entry.full_name).second);
    EXPECT_TRUE(std::none_of(entry.full_name.begin(), entry.full_name.end(),
                             [](unsigned char c) { return std::isupper(c) || std::isspace(c); }));
  });
  EXPECT_GT(names.size(), 80u);
}

TEST_F(CommandTableTest, NamesAreFoundInAnyCase) {
  for (const auto& entry : table_.entries()) {
    std::string upper = entry->full_name;
    std::transform(upper.begin(), upper.end(), upper.begin(), ::toupper);
    EXPECT_EQ(table_.Find(entry->full_name), entry.get());
    EXPECT_EQ(table_.Find(upper), entry.get());
    for (const CommandTable::Entry& sub : entry->subcommands) {
      EXPECT_EQ(CommandTable::FindSubcommand(*entry, sub.command->name), &sub);
    }
  }
  EXPECT_EQ(table_.Find("no such command"), nullptr);
  EXPECT_EQ(table_.Find(""), nullptr);
}

TEST_F(CommandTableTest, RowsCanRun) {
  ForEachRow([](const CommandTable::Entry& entry) {
    const Command& command = *entry.command;
    EXPECT_TRUE(command.handler != nullptr || !command.subcommands.empty());
    EXPECT_NE(command.arity, 0);
    if (entry.container != nullptr) {
      EXPECT_GE(std::abs(command.arity), 2);
    }
    EXPECT_TRUE(command.subcommands.empty() || entry.container == nullptr);
  });
}

TEST_F(CommandTableTest, RowsAreDescribed) {
  ForEachRow([](const CommandTable::Entry& entry) {
    const Command& command = *entry.command;
    EXPECT_FALSE(command.summary.empty());
    EXPECT_FALSE(command.complexity.empty());
    EXPECT_EQ(std::count(command.since.begin(), command.since.end(), '.'), 2);
  });
}

TEST_F(CommandTableTest, CommandsWithKeysReadOrWrite) {
  ForEachRow([](const CommandTable::Entry& entry) {
    const Command& command = *entry.command;
    const bool reads = (command.flags & kReadOnly) != 0, writes = (command.flags & kWrite) != 0;
    EXPECT_FALSE(reads && writes);
    // WATCH only remembers its keys; the keys of shard channels are none.
    if (!command.keys.empty() && command.group != CommandGroup::kTransactions &&
        command.group != CommandGroup::kPubSub) {
      EXPECT_TRUE(reads || writes);
    }
    if ((command.flags & kDenyOom) != 0) {
      EXPECT_TRUE(writes);
    }
    for (const KeySpec& spec : command.keys) {
      if ((spec.flags & kKeyNotKey) != 0) continue;
      constexpr uint32_t kUse = kKeyRo | kKeyRw | kKeyOw | kKeyRm;
      EXPECT_EQ(std::popcount(spec.flags & kUse), 1);
      if (reads) {
        EXPECT_EQ(spec.flags & kUse, kKeyRo);
      }
    }
  });
}

/// A call with as few arguments as the arity allows has its keys among them.
TEST_F(CommandTableTest, KeysAreWithinTheArity) {
  ForEachRow([](const CommandTable::Entry& entry) {
    const Command& command = *entry.command;
    if (std::all_of(command.keys.begin(), command.keys.end(),
                    [](const KeySpec& spec) { return (spec.flags & kKeyNotKey) != 0; })) {
      return;
    }
    const std::vector<std::string_view> args(static_cast<size_t>(std::abs(command.arity)), "1");
    std::vector<size_t> positions;
    if (!FindKeys(command, args, &positions)) {
      EXPECT_NE(command.flags & kMovableKeys, 0u);
      return;
    }
    EXPECT_FALSE(positions.empty());
    for (const size_t position : positions) {
      EXPECT_GE(position, entry.container == nullptr ? 1u : 2u);
      EXPECT_LT(position, args.size());
    }
  });
}

TEST_F(CommandTableTest, CategoriesFollowFromTheRow) {
  const auto categories = [&](std::string_view name) {
    const CommandTable::Entry* entry = table_.Find(name);
    return entry == nullptr ? 0 : AclCategoriesOf(*entry->command);
  };
  EXPECT_EQ(categories("get"), kAclRead | kAclString | kAclFast);
  EXPECT_EQ(categories("set"), kAclWrite | kAclString | kAclSlow);
  EXPECT_EQ(categories("del"), kAclKeyspace | kAclWrite | kAclSlow);
  EXPECT_EQ(categories("setbit"), kAclWrite | kAclBitmap | kAclSlow);
  EXPECT_EQ(categories("config"), static_cast<uint32_t>(kAclSlow));
  EXPECT_EQ(categories("flushall"), kAclKeyspace | kAclWrite | kAclSlow | kAclDangerous);
  EXPECT_EQ(categories("shutdown"), kAclAdmin | kAclSlow | kAclDangerous);
  EXPECT_EQ(categories("ping"), kAclFast | kAclConnection);
  EXPECT_EQ(AclCategoryNames().size(), 21u);
}

TEST(FindKeysTest, PositionsOfAnMset) {
  const auto families = StringCommands();
  const auto mset = std::find_if(families.begin(), families.end(),
                                 [](const Command& command) { return command.name == "mset"; });
  ASSERT_NE(mset, families.end());
  const std::vector<std::string_view> args = {"mset", "a", "1", "b", "2"};
  std::vector<size_t> positions;
  ASSERT_TRUE(FindKeys(*mset, args, &positions));
  EXPECT_EQ(positions, (std::vector<size_t>{1, 3}));
}

TEST(TakesOneKeyTest, OfEveryCallTheFirstArgument) {
  const CommandTable table = CommandTable::All();
  for (const char* name : {"get", "set", "hget", "zrange", "lpush", "zadd"}) {
    EXPECT_TRUE(TakesOneKey(*table.Find(name)->command)) << name;
  }
  for (const char* name :
       {"mget", "exists", "rename", "object", "keys", "ping", "blpop", "sunion", "zinter"}) {
    EXPECT_FALSE(TakesOneKey(*table.Find(name)->command)) << name;
  }
}

}  // namespace
}  // namespace thermocline
