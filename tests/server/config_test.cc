#include "server/config.h"

#include <gtest/gtest.h>
#include <algorithm>

#include <sstream>

#include "server/option_table.h"

namespace thermocline {
namespace {

using Pairs = std::vector<Config::Pair>;
using Found = std::vector<std::pair<std::string, std::string>>;

std::string SetError(Config& config, const Pairs& pairs) { return config.Set(pairs).message(); }

Found Get(const Config& config, std::vector<std::string_view> patterns) { return config.Get(patterns); }

std::string Value(const Config& config, std::string_view name) {
  const Found found = Get(config, {name});
  return found.size() == 1 ? found[0].second : "<none>";
}

TEST(OptionTable, EveryDefaultIsAValidValueAndSurvivesTheFile) {
  const ServerOptions defaults;
  for (const OptionRow& row : OptionTable()) {
    const std::string line = OptionLine(row, defaults);
    std::istringstream input(line + "\n");
    const std::string arguments[] = {"-"};
    Result<LoadedConfig> loaded = LoadConfig(arguments, input);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    EXPECT_EQ(OptionLine(row, loaded->options), line);
    EXPECT_EQ(GetOption(row, loaded->options), GetOption(row, defaults));
    EXPECT_EQ(FindOption(row.name), &row);
    EXPECT_FALSE(row.summary.empty());
    EXPECT_NE(OptionReference().find("| `" + std::string(row.name) + "` |"), std::string::npos);
  }
}

TEST(Config, GetTakesPatternsInAnyCaseAndGivesEachOptionOnce) {
  const Config config({});
  EXPECT_EQ(Get(config, {"MAXclient*"}), (Found{{"maxclients", "10000"}}));
  EXPECT_EQ(Get(config, {"maxclients", "maxclient[s]"}), (Found{{"maxclients", "10000"}}));
  EXPECT_EQ(Get(config, {"port", "*nope*", "lfu*"}),
            (Found{{"port", "6379"}, {"lfu-log-factor", "10"}, {"lfu-decay-time", "1"}}));
  EXPECT_EQ(Get(config, {"MAXclients"}), (Found{{"MAXclients", "10000"}}));
  EXPECT_EQ(Get(config, {"max\\clients"}), Found{});
  // Those with an older name are given under both.
  const auto aliases = std::count_if(OptionTable().begin(), OptionTable().end(),
                                     [](const OptionRow& row) { return !row.alias.empty(); });
  EXPECT_EQ(Get(config, {"*"}).size(), OptionTable().size() + static_cast<size_t>(aliases));
  EXPECT_EQ(Value(config, "bind"), "* -::*");
  EXPECT_EQ(Value(config, "client-output-buffer-limit"),
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
  EXPECT_EQ(Value(config, "save"), "");
  EXPECT_EQ(Value(config, "unixsocketperm"), "0");
}

TEST(Config, SetRefusesWithRedissTexts) {
  struct Case {
    Pairs pairs;
    std::string name;
    std::string reason;
  };
  const Case cases[] = {
      {{{"databases", "3"}}, "databases", "can't set immutable config"},
      {{{"DATABASES", "3"}}, "DATABASES", "can't set immutable config"},
      {{{"dir", "/tmp"}}, "dir", "can't set protected config"},
      {{{"maxmemory", "1mb"}, {"MAXMEMORY", "2mb"}}, "MAXMEMORY", "duplicate parameter"},
      {{{"MAXMEMORY", "abc"}}, "maxmemory", "argument must be a memory value"},
      {{{"maxmemory", "-1"}}, "maxmemory", "argument must be a memory value"},
      {{{"proto-max-bulk-len", "1"}},
       "proto-max-bulk-len",
       "argument must be between 1048576 and 9223372036854775807 inclusive"},
      {{{"maxclients", "0"}}, "maxclients", "argument must be between 1 and 4294967295 inclusive"},
      {{{"timeout", "010"}}, "timeout", "argument couldn't be parsed into an integer"},
      {{{"protected-mode", "1"}}, "protected-mode", "argument must be 'yes' or 'no'"},
      {{{"loglevel", "x"}},
       "loglevel",
       "argument(s) must be one of the following: debug, verbose, notice, warning"},
      {{{"appendfsync", "x"}},
       "appendfsync",
       "argument(s) must be one of the following: everysec, always, no"},
      {{{"maxmemory-policy", "x"}},
       "maxmemory-policy",
       "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, "
       "allkeys-lru, "
       "allkeys-lfu, allkeys-random, noeviction"},
      {{{"client-output-buffer-limit", "normal 1mb"}},
       "client-output-buffer-limit",
       "Wrong number of arguments in buffer limit configuration."},
      {{{"client-output-buffer-limit", "foo 1 2 3"}},
       "client-output-buffer-limit",
       "Invalid client class specified in buffer limit configuration."},
      {{{"client-output-buffer-limit", "slave 1kb 2 -3"}},
       "client-output-buffer-limit",
       "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
  };
  Config config({});
  const Found before = Get(config, {"*"});
  for (const Case& c : cases) {
    EXPECT_EQ(SetError(config, c.pairs),
              "CONFIG SET failed (possibly related to argument '" + c.name + "') - " + c.reason);
  }
  EXPECT_EQ(SetError(config, {{"maxmemory", "1mb"}, {"nosuch", "1"}}),
            "Unknown option or number of arguments for CONFIG SET - 'nosuch'");
  for (const auto& [name, value] : {Config::Pair{"appendonly", "no"}, {"save", "900 1"}}) {
    EXPECT_NE(SetError(config, {{name, value}}).find("possibly related to argument '" + std::string(name)),
              std::string::npos);
  }
  EXPECT_EQ(Get(config, {"*"}), before);
}

TEST(Config, SetAppliesAllOrNothing) {
  Config config({});
  EXPECT_TRUE(config
                  .Set(Pairs{{"maxmemory", "1kb"},
                             {"HZ", "1000"},
                             {"maxmemory-policy", "VOLATILE-TTL"},
                             {"save", ""},
                             {"appendonly", "yes"},
                             {"client-output-buffer-limit", "normal 1mb 2 3 PubSub 4 5 6"}})
                  .ok());
  EXPECT_EQ(config.options().maxmemory, (AutoBytes{false, 1024}));
  EXPECT_EQ(config.options().hz, 500);
  EXPECT_EQ(config.options().maxmemory_policy, EvictionPolicy::kVolatileTtl);
  EXPECT_EQ(config.options().output_limits[0], (OutputLimit{1 << 20, 2, 3}));
  EXPECT_EQ(config.options().output_limits[1], ServerOptions().output_limits[1]);
  EXPECT_EQ(config.options().output_limits[2], (OutputLimit{4, 5, 6}));
  EXPECT_FALSE(config.Set(Pairs{{"maxmemory", "7"}, {"timeout", "5"}, {"maxclients", "x"}}).ok());
  EXPECT_EQ(Value(config, "maxmemory"), "1024");
  EXPECT_EQ(Value(config, "timeout"), "0");
}

TEST(Config, HooksRunOnceAndAreUndoneWhenOneFails) {
  Config config({});
  std::vector<std::string> calls;
  config.OnChange({"maxmemory", "maxmemory-policy"}, [&](ServerOptions& options) {
    if (options.maxmemory.automatic) options.maxmemory.bytes = 99;
    calls.push_back("memory " + std::to_string(options.maxmemory.bytes));
    return Status();
  });
  config.OnChange({"maxclients"}, [&](ServerOptions& options) {
    calls.push_back("clients " + std::to_string(options.clients_max));
    return options.clients_max > 20000 ? Status(Code::kInvalid, "too many") : Status();
  });
  EXPECT_TRUE(
      config.Set(Pairs{{"maxmemory", "10"}, {"maxmemory-policy", "noeviction"}, {"maxclients", "5"}}).ok());
  EXPECT_EQ(calls, (std::vector<std::string>{"memory 10", "clients 5"}));
  calls.clear();
  EXPECT_TRUE(config.Set(Pairs{{"maxmemory", "10b"}, {"timeout", "5"}}).ok());
  EXPECT_TRUE(calls.empty());
  EXPECT_EQ(SetError(config, {{"maxmemory", "11"}, {"maxclients", "30000"}}),
            "CONFIG SET failed (possibly related to argument 'maxclients') - too many");
  EXPECT_EQ(calls, (std::vector<std::string>{"memory 11", "clients 30000", "memory 10", "clients 5"}));
  EXPECT_EQ(Value(config, "maxmemory"), "10");
  EXPECT_EQ(Value(config, "maxclients"), "5");
  EXPECT_TRUE(config.Set(Pairs{{"maxmemory", "auto"}}).ok());
  EXPECT_EQ(Value(config, "maxmemory"), "99");
}

TEST(Config, RewriteNeedsAFile) {
  Config config({});
  EXPECT_EQ(config.Rewrite().message(), "The server is running without a config file");
}

}  // namespace
}  // namespace thermocline
