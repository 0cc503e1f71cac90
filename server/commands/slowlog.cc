// SLOWLOG: commands that ran long. What gets into it is decided in server/watching.cc.

#include "server/slowlog.h"

#include "encoding/numbers.h"
#include "server/client.h"
#include "server/commands/containers.h"
#include "server/server.h"

namespace thermocline {

namespace {

void SlowLogGet(CommandContext& c) {
  if (c.args.size() > 3) return ReplyBadSubcommand(c, "SLOWLOG");
  int64_t count = 10;
  if (c.args.size() == 3 && (!ParseInt64(c.args[2], &count) || count < -1)) {
    return c.reply.Error("ERR count should be greater than or equal to -1");
  }
  const std::deque<SlowLog::Entry>& entries = c.server.slowlog().entries();
  const size_t shown = count < 0 ? entries.size() : std::min(entries.size(), static_cast<size_t>(count));
  c.reply.ArrayHeader(shown);
  for (size_t i = 0; i < shown; ++i) {
    const SlowLog::Entry& entry = entries[i];
    c.reply.ArrayHeader(6);
    c.reply.Integer(static_cast<int64_t>(entry.id));
    c.reply.Integer(static_cast<int64_t>(entry.time_s));
    c.reply.Integer(static_cast<int64_t>(entry.us));
    c.reply.ArrayHeader(entry.args.size());
    for (const std::string& arg : entry.args) c.reply.Bulk(arg);
    c.reply.Bulk(entry.address);
    c.reply.Bulk(entry.client_name);
  }
}

void SlowLogLen(CommandContext& c) {
  c.reply.Integer(static_cast<int64_t>(c.server.slowlog().entries().size()));
}

void SlowLogReset(CommandContext& c) {
  c.server.slowlog().Clear();
  c.reply.Ok();
}

constexpr std::string_view kHelp[] = {
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
};

void SlowLogHelp(CommandContext& c) { ReplyHelp(c.reply, "SLOWLOG", kHelp); }

constexpr CommandGroup kServer = CommandGroup::kServer;
constexpr uint32_t kFlags = kAdmin | kLoading | kStale;
constexpr std::string_view kGetTips[] = {"request_policy:all_nodes", "nondeterministic_output"};
constexpr std::string_view kLenTips[] = {"request_policy:all_nodes", "response_policy:agg_sum",
                                         "nondeterministic_output"};
constexpr std::string_view kResetTips[] = {"request_policy:all_nodes", "response_policy:all_succeeded"};

constexpr Command kSubcommands[] = {
    {"get",
     -2,
     kFlags,
     kServer,
     "2.2.12",
     "O(N) for N entries",
     "Lists the commands that ran long lately.",
     SlowLogGet,
     {},
     kGetTips},
    {"help", 2, kLoading | kStale, kServer, "6.2.0", "O(1)", "Explains the subcommands.", SlowLogHelp},
    {"len", 2, kFlags, kServer, "2.2.12", "O(1)", "Counts the entries.", SlowLogLen, {}, kLenTips},
    {"reset",
     2,
     kFlags,
     kServer,
     "2.2.12",
     "O(N) for N entries",
     "Removes all entries.",
     SlowLogReset,
     {},
     kResetTips},
};

}  // namespace

std::span<const Command> SlowLogSubcommands() { return kSubcommands; }

}  // namespace thermocline
