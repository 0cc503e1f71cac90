// Commands on the server as a whole. COMMAND, DEBUG, LATENCY, MEMORY and SLOWLOG are in files of their own,
// INFO's text in info.cc.

#include <algorithm>

#include "encoding/numbers.h"
#include "server/client.h"
#include "server/commands/containers.h"
#include "server/error_reply.h"
#include "server/server.h"

namespace thermocline {

namespace {

// ---- Databases
// -----------------------------------------------------------------------------------------------

void DbSize(CommandContext& c) {
  c.reply.Integer(static_cast<int64_t>(c.server.keyspace().KeyCount(c.client.db)));
}

/// True when the arguments are none, SYNC or ASYNC. Both mean the same here: the keys are gone in O(1) and
/// what they took is given back in the background, so that SYNC has nothing to wait for that a client could
/// see.
bool FlushArgumentsFit(CommandContext& c) {
  if (c.args.size() == 1) return true;
  if (c.args.size() == 2 && (EqualIgnoreCase(c.args[1], "sync") || EqualIgnoreCase(c.args[1], "async")))
    return true;
  c.reply.Error(error_text::kSyntax);
  return false;
}

void FlushDb(CommandContext& c) {
  if (!FlushArgumentsFit(c)) return;
  c.server.DatabasesWillChange(c.txn, c.client.db, c.client.db);
  if (Status s = c.txn.FlushDb(c.client.db); !s.ok()) return WriteError(c.reply, s);
  c.reply.Ok();
}

void FlushAll(CommandContext& c) {
  if (!FlushArgumentsFit(c)) return;
  c.server.DatabasesWillChange(c.txn, -1, -1);
  if (Status s = c.txn.FlushAll(); !s.ok()) return WriteError(c.reply, s);
  c.reply.Ok();
}

void SwapDb(CommandContext& c) {
  int64_t a, b;
  if (!ParseInt64(c.args[1], &a) || a < INT32_MIN || a > INT32_MAX) {
    return c.reply.Error("ERR invalid first DB index");
  }
  if (!ParseInt64(c.args[2], &b) || b < INT32_MIN || b > INT32_MAX) {
    return c.reply.Error("ERR invalid second DB index");
  }
  const int databases = c.server.keyspace().databases();
  if (a < 0 || a >= databases || b < 0 || b >= databases) return c.reply.Error(error_text::kDbIndex);
  if (a != b) c.server.DatabasesWillChange(c.txn, static_cast<int>(a), static_cast<int>(b));
  c.txn.SwapDb(static_cast<int>(a), static_cast<int>(b));
  c.reply.Ok();
}

// ---- Settings
// ------------------------------------------------------------------------------------------------

void ConfigGet(CommandContext& c) {
  const auto values = c.server.config().Get(c.args.subspan(2));
  c.reply.MapHeader(values.size());
  for (const auto& [name, value] : values) {
    c.reply.Bulk(name);
    c.reply.Bulk(value);
  }
}

void ConfigSet(CommandContext& c) {
  if (c.args.size() % 2 != 0) return c.reply.Error(error_text::kSyntax);
  std::vector<Config::Pair> pairs;
  for (size_t i = 2; i < c.args.size(); i += 2) pairs.emplace_back(c.args[i], c.args[i + 1]);
  if (Status s = c.server.config().Set(pairs); !s.ok()) return c.reply.Error("ERR " + s.message());
  c.reply.Ok();
}

void ConfigRewrite(CommandContext& c) {
  if (Status s = c.server.config().Rewrite(); !s.ok()) {
    c.server.log().Warning("CONFIG REWRITE failed: " + s.message());
    return c.reply.Error("ERR " + s.message());
  }
  c.server.log().Notice("CONFIG REWRITE executed with success.");
  c.reply.Ok();
}

void ConfigResetStat(CommandContext& c) {
  c.server.ResetStats();
  c.reply.Ok();
}

/// The value of a password.
bool IsConfigSecret(std::span<const std::string_view> args, size_t index) {
  return index >= 3 && index % 2 == 1 && EqualIgnoreCase(args[index - 1], "requirepass");
}

constexpr std::string_view kConfigHelp[] = {
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
};

void ConfigHelp(CommandContext& c) { ReplyHelp(c.reply, "CONFIG", kConfigHelp); }

// ---- State
// ---------------------------------------------------------------------------------------------------

void Info(CommandContext& c) {
  std::vector<std::string> sections;
  for (const std::string_view arg : c.args.subspan(1)) {
    std::string& section = sections.emplace_back(arg);
    std::transform(section.begin(), section.end(), section.begin(), ::tolower);
  }
  c.reply.Verbatim("txt", c.server.Info(sections));
}

/// From now on the connection gets a line per command. Asked for again, it gives no reply, as in Redis.
void Monitor(CommandContext& c) {
  // A line in the middle of EXEC's reply could not be told from it.
  if (!c.can_block) return c.reply.Error("ERR MONITOR isn't allowed for DENY BLOCKING client");
  if (c.client.monitor) return;
  c.server.monitors().Add(c.client);
  c.reply.Ok();
}

void Time(CommandContext& c) {
  const uint64_t now_us = c.server.clock().WallUs();
  c.reply.ArrayHeader(2);
  c.reply.BulkInteger(static_cast<int64_t>(now_us / 1000000));
  c.reply.BulkInteger(static_cast<int64_t>(now_us % 1000000));
}

void Role(CommandContext& c) {
  c.reply.ArrayHeader(3);
  c.reply.Bulk("master");
  c.reply.Integer(0);
  c.reply.ArrayHeader(0);
}

void Lolwut(CommandContext& c) {
  // LOLWUT VERSION n: the number is checked as in Redis; there is one picture. Anything else gets the version
  // alone.
  int64_t version;
  const bool by_version = c.args.size() >= 3 && EqualIgnoreCase(c.args[1], "version");
  if (by_version && !ParseInt64(c.args[2], &version)) return c.reply.Error(error_text::kNotInteger);
  if (!by_version && c.args.size() > 1) return c.reply.Verbatim("txt", "Redis ver. 7.0.15\n");
  c.reply.Verbatim("txt",
                   "      \\  |  /\n"
                   "    '-.;;;.-'\n"
                   "   -==;;;;;==-            warm: in RAM\n"
                   "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\n"
                   "   ><(((o>        o                     \n"
                   " ~  ~   ~   ~  ~   ~  ~  ~   the thermocline\n"
                   "            o        <o)))><            \n"
                   "                          cold: on disk\n"
                   "_____\\|/_______,-._____\\|/_______________\n"
                   "\n"
                   "Redis ver. 7.0.15 (Thermocline " THERMOCLINE_VERSION ")\n");
}

// ---- Checkpoints and the end
// ---------------------------------------------------------------------------------

void Save(CommandContext& c) {
  if (Status s = c.server.Checkpoint(); !s.ok()) return c.reply.Error("ERR " + s.message());
  c.reply.Ok();
}

void BgSave(CommandContext& c) {
  // SCHEDULE waits for a rewrite of the log in Redis; here there is none to wait for.
  const bool schedule = c.args.size() == 2 && EqualIgnoreCase(c.args[1], "schedule");
  if (c.args.size() > 1 && !schedule) return c.reply.Error(error_text::kSyntax);
  // Inside EXEC nothing may be committed yet: the checkpoint is made right after it.
  if (!c.can_offload && !c.server.checkpoint_running()) {
    c.server.AfterRun([&server = c.server] {
      if (Status s = server.StartCheckpoint(); !s.ok()) server.log().Warning("BGSAVE: " + s.message());
    });
  } else if (Status s = c.server.StartCheckpoint(); !s.ok()) {
    return c.reply.Error("ERR " + s.message());
  }
  c.reply.SimpleString("Background saving started");
}

void LastSave(CommandContext& c) { c.reply.Integer(static_cast<int64_t>(c.server.last_checkpoint_s())); }

/// Writes no reply when it succeeds: the connection just ends, as with Redis.
void Shutdown(CommandContext& c) {
  bool save = false, no_save = false, abort = false, other = false;
  for (const std::string_view arg : c.args.subspan(1)) {
    if (EqualIgnoreCase(arg, "save")) {
      save = true;
    } else if (EqualIgnoreCase(arg, "nosave")) {
      no_save = true;
    } else if (EqualIgnoreCase(arg, "abort")) {
      abort = true;
    } else if (EqualIgnoreCase(arg, "now") || EqualIgnoreCase(arg, "force")) {
      other = true;  // there are no replicas to wait for, and no failed save to overrule
    } else {
      return c.reply.Error(error_text::kSyntax);
    }
  }
  if ((save && no_save) || (abort && (save || no_save || other))) return c.reply.Error(error_text::kSyntax);
  // A shutdown takes effect in the turn that asks for it, so that there never is one to call off.
  if (abort) return c.reply.Error("ERR No shutdown in progress.");
  c.server.log().Warning("User requested shutdown...");
  // SAVE and NOSAVE make no difference: everything is in the log, which is synced on the way out.
  c.server.RequestShutdown();
}

// ---- Rows
// ----------------------------------------------------------------------------------------------------

constexpr CommandGroup kServer = CommandGroup::kServer;
constexpr uint32_t kManage = kAdmin | kNoScript | kLoading | kStale;

constexpr std::string_view kOrderTips[] = {"nondeterministic_output_order"};
constexpr std::string_view kOutputTips[] = {"nondeterministic_output"};
constexpr std::string_view kAllNodesTips[] = {"request_policy:all_nodes", "response_policy:all_succeeded"};
constexpr std::string_view kAllShardsTips[] = {"request_policy:all_shards", "response_policy:all_succeeded"};
constexpr std::string_view kSumTips[] = {"request_policy:all_shards", "response_policy:agg_sum"};
constexpr std::string_view kInfoTips[] = {"nondeterministic_output", "request_policy:all_shards",
                                          "response_policy:special"};

constexpr Command kConfigSubcommands[] = {
    {"get", -3, kManage, kServer, "2.0.0", "O(N) for N settings", "Gives the values of settings.", ConfigGet},
    {"help", 2, kLoading | kStale, kServer, "5.0.0", "O(1)", "Explains the subcommands.", ConfigHelp},
    {"resetstat", 2, kManage, kServer, "2.0.0", "O(1)", "Sets INFO's counts back to zero.", ConfigResetStat},
    {"rewrite", 2, kManage, kServer, "2.8.0", "O(1)", "Writes the settings back to the configuration file.",
     ConfigRewrite},
    {.name = "set",
     .arity = -4,
     .flags = kManage,
     .group = kServer,
     .since = "2.0.0",
     .complexity = "O(N) for N settings",
     .summary = "Changes settings, all or none.",
     .handler = ConfigSet,
     .tips = kAllNodesTips,
     .is_secret = IsConfigSecret},
};

}  // namespace

std::span<const Command> ServerCommands() {
  static const Command rows[] = {
      {"bgsave", -1, kAdmin | kNoScript | kNoAsyncLoading, kServer, "1.0.0", "O(files)",
       "Makes a checkpoint beside other work.", BgSave},
      {"command",
       -1,
       kLoading | kStale,
       kServer,
       "2.8.13",
       "O(N) for N commands",
       "Describes all commands.",
       CommandBare,
       {},
       kOrderTips,
       CommandSubcommands(),
       kAclConnection},
      {"config",
       -2,
       0,
       kServer,
       "2.0.0",
       "Depends on subcommand.",
       "Everything about settings.",
       nullptr,
       {},
       {},
       kConfigSubcommands},
      {"dbsize",
       1,
       kReadOnly | kFast,
       kServer,
       "1.0.0",
       "O(1)",
       "Counts the keys of the database.",
       DbSize,
       {},
       kSumTips,
       {},
       kAclKeyspace},
      {"debug", -2, kManage | kProtected, kServer, "1.0.0", "Depends on subcommand.",
       "Tools for tests and diagnosis.", Debug},
      {"flushall",
       -1,
       kWrite,
       kServer,
       "1.0.0",
       "O(databases); memory and disk are given back in the background",
       "Removes all keys of all databases.",
       FlushAll,
       {},
       kAllShardsTips,
       {},
       kAclDangerous | kAclKeyspace},
      {"flushdb",
       -1,
       kWrite,
       kServer,
       "1.0.0",
       "O(1); memory and disk are given back in the background",
       "Removes all keys of the database.",
       FlushDb,
       {},
       kAllShardsTips,
       {},
       kAclDangerous | kAclKeyspace},
      {"info",
       -1,
       kLoading | kStale,
       kServer,
       "1.0.0",
       "O(1)",
       "Tells the state of the server.",
       Info,
       {},
       kInfoTips,
       {},
       kAclDangerous},
      {"lastsave",
       1,
       kLoading | kStale | kFast,
       kServer,
       "1.0.0",
       "O(1)",
       "Gives the time of the last checkpoint.",
       LastSave,
       {},
       kOutputTips,
       {},
       kAclAdmin | kAclDangerous},
      {"latency",
       -2,
       0,
       kServer,
       "2.8.13",
       "Depends on subcommand.",
       "Everything about slow events.",
       nullptr,
       {},
       {},
       LatencySubcommands()},
      {"lolwut", -1, kReadOnly | kFast, kServer, "5.0.0", "O(1)", "Shows a picture, and the version.",
       Lolwut},
      {"memory",
       -2,
       0,
       kServer,
       "4.0.0",
       "Depends on subcommand.",
       "Everything about memory.",
       nullptr,
       {},
       {},
       MemorySubcommands()},
      {"monitor", 1, kManage, kServer, "1.0.0", "O(1); then each command of any client costs a line",
       "Shows all commands as they are run.", Monitor},
      {"role",
       1,
       kNoScript | kLoading | kStale | kFast,
       kServer,
       "2.8.12",
       "O(1)",
       "Tells the server's part in replication.",
       Role,
       {},
       {},
       {},
       kAclAdmin | kAclDangerous},
      {"save", 1, kAdmin | kNoScript | kNoAsyncLoading | kNoMulti, kServer, "1.0.0",
       "O(files), beside a sync of the log", "Makes a checkpoint, and waits for it.", Save},
      {"shutdown", -1, kManage | kNoMulti | kAllowBusy, kServer, "1.0.0", "O(1), beside a sync of the log",
       "Ends the server; nothing acknowledged is lost.", Shutdown},
      {"slowlog",
       -2,
       0,
       kServer,
       "2.2.12",
       "Depends on subcommand.",
       "Everything about slow commands.",
       nullptr,
       {},
       {},
       SlowLogSubcommands()},
      {"swapdb",
       3,
       kWrite | kFast,
       kServer,
       "4.0.0",
       "O(1)",
       "Exchanges two databases.",
       SwapDb,
       {},
       {},
       {},
       kAclDangerous | kAclKeyspace},
      {"time",
       1,
       kLoading | kStale | kFast,
       kServer,
       "2.6.0",
       "O(1)",
       "Gives the server's clock.",
       Time,
       {},
       kOutputTips},
  };
  return rows;
}

}  // namespace thermocline
