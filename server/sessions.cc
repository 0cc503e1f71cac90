// What holds between commands and between clients: transactions, blocked clients, messages. All of it hears
// of changed keys from one place, the keyspace's key events (DispatchKeyEvents).

#include <algorithm>

#include "server/error_reply.h"
#include "server/notifications.h"
#include "server/server.h"

namespace thermocline {

// ---- Key events ----

/// Keys are reported only while somebody would hear of them.
void Server::ListenToKeys() {
  const uint32_t notify = options().notify_keyspace_events;
  keyspace_->Listen({.changes = notify != 0 || !watchers_.empty() || !blocked_.empty(),
                     .new_keys = (notify & kNotifyNew) != 0 || !blocked_.empty(),
                     .misses = (notify & kNotifyMiss) != 0});
}

void Server::DispatchKeyEvents() {
  if (!keyspace_->has_events()) return;
  for (KeyEvent& event : keyspace_->TakeEvents()) {
    if (options().notify_keyspace_events != 0) Notify(event);
    if (event.event_class == EventClass::kMiss) continue;
    const DbKey key{event.db, std::move(event.key)};
    // As in Redis a key wakes its clients when it comes into being, not when another type is written over it.
    if (event.event_class == EventClass::kNew) {
      blocked_.Changed(key, event.type);
    } else {
      watchers_.Changed(key);
    }
  }
}

void Server::Notify(const KeyEvent& event) {
  const uint32_t wanted = options().notify_keyspace_events;
  if ((wanted & NotifyFlagOf(event.event_class)) == 0) return;
  const std::string at = std::to_string(event.db) + "__:";
  if ((wanted & kNotifyKeyspace) != 0) Deliver("__keyspace@" + at + event.key, event.name, /*shard=*/false);
  if ((wanted & kNotifyKeyevent) != 0) Deliver("__keyevent@" + at + event.name, event.key, /*shard=*/false);
}

void Server::DatabasesWillChange(Txn& txn, int a, int b) {
  const int before = txn.db();
  std::vector<DbKey> keys;
  const auto add = [&](int db, int other) {
    for (DbKey& key : watchers_.KeysOf(db, other)) keys.push_back(std::move(key));
  };
  if (a < 0) {
    for (int db = 0; db < keyspace_->databases(); ++db) add(db, db);
  } else {
    add(a, b);
  }
  // A key that exists neither before nor after does not change.
  std::erase_if(keys, [&](const DbKey& key) {
    const auto exists = [&](int db) {
      txn.Select(db);
      return txn.Find(key.key, Txn::Access::kPeek) != nullptr;
    };
    if (a == b) return !exists(key.db);
    const bool here = exists(key.db), there = exists(key.db == a ? b : a);
    return !here && !there;
  });
  std::vector<std::pair<DbKey, ObjectType>> awaited;  // what the swap brings to those who wait for it
  if (a != b) {
    for (DbKey& key : blocked_.KeysOf(a, b)) {
      txn.Select(key.db == a ? b : a);
      const Object* object = txn.Find(key.key, Txn::Access::kPeek);
      if (object != nullptr) awaited.emplace_back(std::move(key), object->type);
    }
  }
  txn.Select(before);
  AfterRun([this, keys = std::move(keys), awaited = std::move(awaited)] {
    for (const DbKey& key : keys) watchers_.Changed(key);
    for (const auto& [key, type] : awaited) blocked_.Changed(key, type);
  });
}

// ---- Messages ----

/// A message to all who listen to the channel. It is put into words once for all those who read the same
/// protocol.
void Server::Deliver(std::string_view channel, std::string_view message, bool shard) {
  std::string words[2];
  pubsub_.Publish(channel, shard, [&](Client& to, const std::string* pattern) {
    if (pattern != nullptr) return Push(to, PubSubMessage(to.protocol, channel, message, pattern, shard));
    std::string& text = words[to.protocol >= 3];
    if (text.empty()) text = PubSubMessage(to.protocol, channel, message, nullptr, shard);
    Push(to, text);
  });
}

size_t Server::PublishMessage(std::string_view channel, std::string_view message, bool shard) {
  const size_t receivers = pubsub_.Receivers(channel, shard);
  if (receivers == 0) return 0;
  AfterRun([this, channel = std::string(channel), message = std::string(message), shard] {
    Deliver(channel, message, shard);
  });
  return receivers;
}

/// Appends a message to what the client gets with this turn. A client's own message comes before the reply of
/// the command that caused it.
void Server::Push(Client& client, std::string_view message) {
  if (client.fd < 0 || client.close_now) return;
  if (&client == running_) {
    client.output().insert(*running_reply_from_, message);
    *running_reply_from_ += message.size();
    return;
  }
  if (client.stream != nullptr) {
    client.stream->behind.append(message);
    return;
  }
  // One whose replies are held back by a stalled commit gets the message with them.
  if (!client.held) AddToTurn(client);
  client.output().append(message);
}

void Server::RunEffects(Client* client, size_t* reply_from) {
  if (effects_.empty() && !keyspace_->has_events()) return;
  running_ = client;
  running_reply_from_ = reply_from;
  DispatchKeyEvents();
  std::vector<std::function<void()>> effects;
  effects.swap(effects_);
  for (const std::function<void()>& effect : effects) effect();
  running_ = nullptr;
  running_reply_from_ = nullptr;
}

// ---- Transactions ----

bool Server::MustQueue(const Client& client, const CommandTable::Entry& entry) const {
  return client.transaction != nullptr && (entry.command->flags & kNotQueued) == 0;
}

bool Server::Writes(const Client& client, const CommandTable::Entry& entry) const {
  if ((entry.command->flags & kRunsQueued) != 0)
    return client.transaction != nullptr && client.transaction->writes();
  return (entry.command->flags & (kWrite | kMayReplicate)) != 0;
}

void Server::DiscardTransaction(Client& client) {
  client.transaction = nullptr;
  watchers_.Unwatch(client);
}

bool Server::WatchBroken(Txn& txn, Client& client) const {
  if (client.watch_broken) return true;
  const int before = txn.db();
  bool broken = false;
  for (const WatchedKey& watched : client.watched) {
    if (watched.was_expired) continue;
    txn.Select(watched.key.db);
    // Its time has come, and nobody has met it since: the look itself removes it, and tells.
    broken |= txn.LooksExpired(watched.key.key);
  }
  txn.Select(before);
  return broken;
}

namespace {

/// Unless EXEC comes to its end, its client's session is at once what it was before. A cold read unwinds
/// EXEC, and until it has run again nobody may see half of it: the client is in its old database and hears of
/// no channel that it has not subscribed to yet.
class SessionGuard {
 public:
  SessionGuard(Client& client, PubSub& pubsub) : client_(client), pubsub_(pubsub), session_(client) {
    const std::vector<Transaction::Queued>& commands = client.transaction->commands();
    const bool subscribes = std::any_of(commands.begin(), commands.end(), [](const auto& queued) {
      return (queued.entry->command->flags & (kPubSub | kInSubscribed)) == (kPubSub | kInSubscribed);
    });
    if (subscribes) subscriptions_ = client.subscriptions;
  }
  SessionGuard(const SessionGuard&) = delete;
  SessionGuard& operator=(const SessionGuard&) = delete;
  ~SessionGuard() {
    if (kept_) return;
    static_cast<Session&>(client_) = std::move(session_);
    if (subscriptions_.has_value()) pubsub_.Restore(client_, *subscriptions_);
  }
  void Keep() { kept_ = true; }

 private:
  Client& client_;
  PubSub& pubsub_;
  Session session_;
  std::optional<Subscriptions> subscriptions_;  ///< only if a command may change them
  bool kept_ = false;
};

}  // namespace

void Server::RunQueued(CommandContext& exec) {
  Client& client = exec.client;
  Transaction& transaction = *client.transaction;
  SessionGuard guard(client, pubsub_);
  struct Done {
    const Transaction::Queued* queued;
    size_t reply_from;
    uint64_t us;
    int db;
  };
  std::vector<Done> done;
  done.reserve(transaction.commands().size());
  std::string& out = client.output();
  exec.reply.ArrayHeader(transaction.commands().size());
  Wanted nothing;
  uint64_t began_us = clock_.MonotonicUs();
  for (const Transaction::Queued& queued : transaction.commands()) {
    exec.txn.Select(client.db);
    exec.txn.TellMisses((queued.entry->command->flags & kReadOnly) != 0);
    ReplyWriter reply(out, client.protocol);
    const size_t reply_from = out.size();
    CommandContext context{.args = queued.args,
                           .txn = exec.txn,
                           .reply = reply,
                           .client = client,
                           .server = *this,
                           .command = *queued.entry->command,
                           .wanted = nothing,
                           .can_offload = false,
                           .can_block = false};
    queued.entry->command->handler(context);
    const uint64_t ended_us = clock_.MonotonicUs();
    done.push_back({&queued, reply_from, ended_us - began_us, client.db});
    began_us = ended_us;
  }
  guard.Keep();  // nothing unwinds from here on
  for (const Done& one : done) {
    const bool failed = one.reply_from < out.size() && out[one.reply_from] == '-';
    if (failed) CountError(std::string_view(out).substr(one.reply_from + 1));
    CountCall({.client = client,
               .entry = *one.queued->entry,
               .args = one.queued->args,
               .us = one.us,
               .failed = failed});
    if (!monitors_.empty()) ShowToMonitors(client, *one.queued->entry, one.queued->args, one.db);
  }
  DiscardTransaction(client);
}

// ---- Blocked clients ----

void CommandContext::Block(std::span<const std::string_view> keys, uint64_t timeout_ms,
                           std::string timeout_reply) {
  if (timeout_reply.empty()) ReplyWriter(timeout_reply, client.protocol).NullArray();
  if (!can_block) {
    reply.buffer() += timeout_reply;
    return;
  }
  auto block = std::make_unique<Blocked>();
  block->type = AwaitedType(command);
  for (const std::string_view key : keys) {
    block->AddKey({client.db, std::string(key)});
  }
  if (timeout_ms > 0) block->deadline_us = server.clock().MonotonicUs() + timeout_ms * 1000;
  block->timeout_reply = std::move(timeout_reply);
  wanted.block = std::move(block);
}

/// Runs the commands of clients that wait for keys that have changed, in the order in which the keys changed
/// and the clients came. After each command, so that nobody gets in between.
void Server::ServeBlocked() {
  if (serving_ || pause_mode_ != PauseMode::kNone || keyspace_->stalled()) return;
  serving_ = true;
  clock_us_ = clock_.MonotonicUs();
  while (const std::optional<DbKey> key = blocked_.TakeReady()) ServeLine(*key, nullptr);
  serving_ = false;
}

/// Serves those who wait for the key, or only those behind `after`. Stops at one that has to read from disk:
/// what it leaves is for the next, and only then.
void Server::ServeLine(const DbKey& key, const Client* after) {
  std::vector<Client*> line = blocked_.WaitingFor(key);
  if (after != nullptr) line.erase(line.begin(), std::find(line.begin(), line.end(), after) + 1);
  for (Client* client : line) {
    if (!keyspace_->MayExist(key.db, key.key)) return;
    if (client->blocked == nullptr || client->close_now) continue;
    if (!client->suspended()) {
      std::string ignored;
      const CommandTable::Entry* entry = Resolve(client->request(), &ignored);
      AddToTurn(*client);
      ready_key_ = &key.key;
      const Step step = RunCommand(*client, *entry, client->request(), client->output().size());
      ready_key_ = nullptr;
      if (step == Step::kDone) {
        client->woken = woken_ = true;
        client->NextRequest();
        MakeRunnable(*client);
        continue;
      }
    }
    if (client->suspended()) {
      std::vector<DbKey>& trying = client->blocked->trying;
      if (std::find(trying.begin(), trying.end(), key) == trying.end()) trying.push_back(key);
      return;
    }
  }
}

/// A blocked client has read from disk, run again, and goes on waiting: the next in line is tried.
void Server::ContinueLine(Client& client) {
  const std::vector<DbKey> tried = std::exchange(client.blocked->trying, {});
  if (tried.empty()) return;
  if (pause_mode_ == PauseMode::kNone && !keyspace_->stalled()) {
    clock_us_ = clock_.MonotonicUs();
    ServeLine(tried[0], &client);
  } else {
    blocked_.MakeReady(tried[0]);
  }
  for (size_t i = 1; i < tried.size(); ++i) blocked_.MakeReady(tried[i]);
}

/// Ends the wait of a blocked client with this reply; it goes on with its next request.
void Server::EndBlocking(Client& client, std::string_view reply) {
  AddToTurn(client);
  const size_t reply_from = client.output().size();
  client.output().append(reply);
  blocked_.Unblock(client);
  // The call was counted when it blocked, and ends without another run.
  std::string ignored;
  if (reply.starts_with('-')) ++Resolve(client.request(), &ignored)->stats.failed;
  FinishReply(client, nullptr, reply_from, clock_us_);
  client.NextRequest();
  MakeRunnable(client);
}

void Server::UnblockByCommand(Client& client, bool error) {
  if (client.waits_for_disk()) {
    client.blocked->unblocked = error ? Blocked::Unblocked::kAsError : Blocked::Unblocked::kAsTimeout;
    return;
  }
  EndBlocking(client, error ? "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
                            : std::string(client.blocked->timeout_reply));
}

void Server::EndExpiredBlocking() {
  // While a commit is stalled their earlier replies may be held back; they can wait that long.
  if (keyspace_->stalled()) return;
  while (Client* client = blocked_.Expired(turn_us_)) {
    if (client->suspended()) {
      blocked_.Postpone(*client, turn_us_ + 1000);
      continue;
    }
    EndBlocking(*client, std::string(client->blocked->timeout_reply));
  }
}

}  // namespace thermocline
