// MULTI, EXEC, WATCH: the session's side is in server/sessions.cc and transaction.h.

#include "server/client.h"
#include "server/command.h"
#include "server/commands/common.h"
#include "server/server.h"

namespace thermocline {

namespace {

void Multi(CommandContext& c) {
  if (c.client.transaction != nullptr) return c.reply.Error("ERR MULTI calls can not be nested");
  c.client.transaction = std::make_unique<Transaction>();
  c.reply.Ok();
}

void Discard(CommandContext& c) {
  if (c.client.transaction == nullptr) return c.reply.Error("ERR DISCARD without MULTI");
  c.server.DiscardTransaction(c.client);
  c.reply.Ok();
}

void Exec(CommandContext& c) {
  if (c.client.transaction == nullptr) return c.reply.Error("ERR EXEC without MULTI");
  if (c.client.transaction->aborted) {
    c.server.DiscardTransaction(c.client);
    return c.reply.Error("EXECABORT Transaction discarded because of previous errors.");
  }
  if (c.server.WatchBroken(c.txn, c.client)) {
    c.server.DiscardTransaction(c.client);
    return c.reply.NullArray();
  }
  c.server.RunQueued(c);
}

void Watch(CommandContext& c) {
  if (c.client.transaction != nullptr) return c.reply.Error("ERR WATCH inside MULTI is not allowed");
  const auto keys = c.args.subspan(1);
  c.txn.Prefetch(keys);
  for (const std::string_view key : keys) {
    c.server.watchers().Watch(c.client, c.client.db, key, c.txn.LooksExpired(key));
  }
  c.reply.Ok();
}

void Unwatch(CommandContext& c) {
  // In EXEC there is nothing to do: its end forgets the keys, and until then a cold read may make it run
  // again.
  if (c.client.transaction == nullptr) c.server.watchers().Unwatch(c.client);
  c.reply.Ok();
}

/// There are no replicas yet: a call that asks for none is answered at once, others wait for their time.
void Wait(CommandContext& c) {
  int64_t replicas, timeout_ms;
  if (!ReadInteger(c, c.args[1], &replicas)) return;
  if (!ReadTimeoutMs(c, c.args[2], &timeout_ms)) return;
  if (replicas <= 0) return c.reply.Integer(0);
  c.Block({}, static_cast<uint64_t>(timeout_ms), ":0\r\n");
}

constexpr CommandGroup kTransactions = CommandGroup::kTransactions;
constexpr uint32_t kFlags = kNoScript | kLoading | kStale | kFast | kAllowBusy;
constexpr KeySpec kWatched[] = {{.flags = kKeyRo, .last = -1}};

constexpr std::string_view kWaitTips[] = {"request_policy:all_shards", "response_policy:agg_min"};

constexpr Command kCommands[] = {
    {"discard", 1, kFlags | kNotQueued | kLeavesMulti, kTransactions, "2.0.0", "O(N) for N queued commands",
     "Closes a transaction without running it.", Discard},
    {"exec", 1, kNoScript | kLoading | kStale | kSkipSlowlog | kNotQueued | kRunsQueued | kLeavesMulti,
     kTransactions, "1.2.0", "Depends on the queued commands",
     "Runs the queued commands at one moment, all or none.", Exec},
    {"multi", 1, kFlags | kNotQueued, kTransactions, "1.2.0", "O(1)",
     "Opens a transaction: commands are queued until EXEC.", Multi},
    {"unwatch", 1, kFlags, kTransactions, "2.2.0", "O(N) for N watched keys", "Watches no key any more.",
     Unwatch},
    {"wait",
     3,
     kNoScript,
     CommandGroup::kGeneric,
     "3.0.0",
     "O(1)",
     "Waits until replicas have the writes.",
     Wait,
     {},
     kWaitTips,
     {},
     kAclConnection},
    {"watch", -2, kFlags | kNotQueued, kTransactions, "2.2.0", "O(N) for N keys",
     "Makes EXEC fail when one of the keys changes before it.", Watch, kWatched},
};

}  // namespace

std::span<const Command> TransactionCommands() { return kCommands; }

}  // namespace thermocline
