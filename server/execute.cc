// One command: found, checked, run, its reply finished.

#include <algorithm>

#include "server/error_reply.h"
#include "server/server.h"

namespace thermocline {

namespace {

/// Arguments as Redis quotes them in "unknown command" errors: cut at 128 bytes in all.
std::string QuoteArguments(std::span<const std::string_view> args) {
  std::string text;
  for (size_t i = 1; i < args.size() && text.size() < 128; ++i) {
    text += '\'';
    text.append(Shown(args[i]).substr(0, 128 - std::min<size_t>(128, text.size() - 1)));
    text += "' ";
  }
  return text;
}

bool ArityFits(const Command& command, size_t args) {
  return command.arity >= 0 ? args == static_cast<size_t>(command.arity)
                            : args >= static_cast<size_t>(-command.arity);
}

}  // namespace

const CommandTable::Entry* Server::Resolve(std::span<const std::string_view> args, std::string* error) const {
  const CommandTable::Entry* entry = commands_.Find(args[0]);
  if (entry == nullptr) {
    *error = "ERR unknown command '" + std::string(Shown(args[0]).substr(0, 128)) +
             "', with args beginning with: " + QuoteArguments(args);
    return nullptr;
  }
  if (!entry->subcommands.empty() && args.size() >= 2) {
    const CommandTable::Entry* sub = CommandTable::FindSubcommand(*entry, args[1]);
    if (sub == nullptr) {
      // A container that is a command of its own too (COMMAND) takes no other arguments.
      std::string container(entry->command->name);
      std::transform(container.begin(), container.end(), container.begin(), ::toupper);
      *error = "ERR unknown subcommand '" + std::string(Shown(args[1]).substr(0, 128)) + "'. Try " +
               container + " HELP.";
      return nullptr;
    }
    entry = sub;
  }
  if (!ArityFits(*entry->command, args.size()) || entry->command->handler == nullptr) {
    ++entry->stats.rejected;
    *error = "ERR wrong number of arguments for '" + entry->full_name + "' command";
    return nullptr;
  }
  return entry;
}

/// Whether the command must not run when memory is full. In an open transaction that is nearly every one:
/// what is queued takes memory without end.
bool Server::NeedsMemory(const Client& client, const CommandTable::Entry& entry) const {
  const uint32_t flags = entry.command->flags;
  if ((flags & kRunsQueued) != 0) return client.transaction != nullptr && client.transaction->denies_oom();
  if (client.transaction != nullptr && (flags & kLeavesMulti) == 0) return true;
  return (flags & kDenyOom) != 0;
}

/// In delete mode memory is brought within its limit before each command, and not in one. False: that was not
/// possible.
bool Server::MakeRoom() {
  if (!keyspace_->over_limit()) return true;
  ListenToKeys();
  const bool room = keyspace_->MakeRoom();
  RunEffects(nullptr, nullptr);  // what is told of the evicted keys comes before the command
  return room;
}

/// Why the command may not run now; empty: it may.
std::string Server::Refusal(const Client& client, const CommandTable::Entry& entry,
                            bool out_of_memory) const {
  const uint32_t flags = entry.command->flags;
  if (!client.authenticated && (flags & kNoAuth) == 0) return "NOAUTH Authentication required.";
  if (client.transaction != nullptr && (flags & kNoMulti) != 0) {
    return "ERR Command not allowed inside a transaction";
  }
  if (out_of_memory && NeedsMemory(client, entry)) {
    return "OOM command not allowed when used memory > 'maxmemory'.";
  }
  if (!keyspace_->writable() && Writes(client, entry)) {
    return "MISCONF Errors writing to the log: " + keyspace_->failure().message();
  }
  if (client.only_subscribed() && (flags & kInSubscribed) == 0) {
    return "ERR Can't execute '" + entry.full_name +
           "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
  }
  // In Redis a monitor is a kind of replica.
  if (client.monitor && (flags & (kWrite | kReadOnly | kMayReplicate)) != 0) {
    return "ERR Replica can't interact with the keyspace";
  }
  return {};
}

/// Runs the client's next request. kWait: it is suspended and comes back to the same request.
Server::Step Server::ExecuteRequest(Client& client) {
  const std::span<const std::string_view> args = client.request();
  AddToTurn(client);
  const bool out_of_memory = !MakeRoom();
  const size_t reply_from = client.output().size();
  if (client.offload_finish) {  // a reader thread has done the work
    ReplyWriter reply(client.output(), client.protocol);
    std::exchange(client.offload_finish, nullptr)(reply);
    std::string ignored;
    const CommandTable::Entry* entry = Resolve(args, &ignored);
    FinishReply(client, entry, reply_from, clock_us_);
    EndStream(client);
    if (!monitors_.empty()) ShowToMonitors(client, *entry, args, client.db);
    return Step::kDone;
  }
  if (EqualIgnoreCase(args[0], "post") || EqualIgnoreCase(args[0], "host:")) {
    // A browser that a web page made talk to us: none of what follows may be executed.
    log_.Warning("Possible security attack: " + client.address + " sends HTTP. The connection is closed.");
    client.close_now = true;
    return Step::kDone;
  }
  std::string error;
  const CommandTable::Entry* entry = Resolve(args, &error);
  if (entry != nullptr) {
    error = Refusal(client, *entry, out_of_memory);
    if (!error.empty()) ++entry->stats.rejected;
  }
  if (!error.empty()) {
    if (client.transaction != nullptr) client.transaction->aborted = true;
    const CommandTable::Entry* named = commands_.Find(args[0]);
    if (named != nullptr && (named->command->flags & kRunsQueued) != 0 && client.authenticated) {
      if (error.starts_with("ERR ")) error.erase(0, 4);
      error = "EXECABORT Transaction discarded because of: " + error;
      DiscardTransaction(client);
    }
    ReplyWriter(client.output(), client.protocol).Error(error);
    FinishReply(client, nullptr, reply_from, clock_us_);
    return Step::kDone;
  }
  if (MustQueue(client, *entry)) {
    client.transaction->Queue(*entry, args);
    ReplyWriter(client.output(), client.protocol).SimpleString("QUEUED");
    FinishReply(client, nullptr, reply_from, clock_us_);
    return Step::kDone;
  }
  const bool writes = Writes(client, *entry);
  if (pause_mode_ == PauseMode::kAll || (pause_mode_ == PauseMode::kWrites && writes)) {
    client.paused = true;
    paused_.push_back(&client);
    return Step::kWait;
  }
  if (writes && keyspace_->stalled()) {
    keyspace_->SuspendWriter(client);
    return Step::kWait;
  }
  return RunCommand(client, *entry, args, reply_from);
}

Server::Step Server::RunCommand(Client& client, const CommandTable::Entry& entry,
                                std::span<const std::string_view> args, size_t reply_from) {
  const uint64_t started_us = clock_us_;
  const bool waited = client.waiting_since_us != 0;
  if (waited) FaultWaitIsOver(client);
  // One that was blocked has been counted and shown already.
  const bool first = !client.has_blocked();
  ReplyWriter reply(client.output(), client.protocol);
  Wanted wanted;
  ListenToKeys();
  // One that has read from disk looks at the key that woke it then.
  const DbKey* tried =
      client.blocked != nullptr && !client.blocked->trying.empty() ? client.blocked->trying.data() : nullptr;
  const std::string* ready_key = first ? nullptr : tried != nullptr ? &tried->key : ready_key_;
  if (!waited) client.set_urgent(client.hot());
  std::span<const std::string_view> ahead;
  if (client.may_wait() && !waited && TakesOneKey(*entry.command)) ahead = args.subspan(1, 1);
  const auto body = [&](Txn& txn) {
    txn.TellMisses((entry.command->flags & kReadOnly) != 0);
    CommandContext context{.args = args,
                           .txn = txn,
                           .reply = reply,
                           .client = client,
                           .server = *this,
                           .command = *entry.command,
                           .wanted = wanted,
                           .prepared = client.prepared,
                           .ready_key = ready_key};
    entry.command->handler(context);
  };
  const Keyspace::Ran ran = keyspace_->Run(client, client.db, body, ahead);
  if (ran == Keyspace::Ran::kWaiting) {
    effects_.clear();
    client.TruncateOutput(reply_from);
    client.waiting_since_us = clock_us_ = clock_.MonotonicUs();
    client.Waits((entry.command->flags & kReadOnly) != 0);
    if (client.blocked == nullptr && (entry.command->flags & kBlocking) != 0)
      TakePlaceInLine(client, entry, args);
    return Step::kWait;
  }
  client.prepared = nullptr;
  if (ran == Keyspace::Ran::kFailed) {
    effects_.clear();
    client.TruncateOutput(reply_from);
    NoteReadFailure(entry.full_name, keyspace_->error());
    WriteError(reply, keyspace_->error());
    if ((entry.command->flags & kRunsQueued) != 0) DiscardTransaction(client);
  } else {
    RunEffects(&client, &reply_from);
    if (wanted.job || wanted.piece || wanted.block != nullptr) {
      client.TruncateOutput(reply_from);
      const bool blocks = wanted.block != nullptr && first;
      Suspend(client, wanted);
      clock_us_ = clock_.MonotonicUs();  // a job may have had the turn committed first
      if (blocks) {
        ++stats_.commands_processed;
        ++entry.stats.calls;
        entry.stats.us += clock_us_ - started_us;
        if (!monitors_.empty()) ShowToMonitors(client, entry, args, client.db);
      }
      return Step::kWait;
    }
  }
  FinishReply(client, &entry, reply_from, started_us);
  blocked_.Unblock(client);
  client.Through(waited);
  if (client.hot()) ++hot_commands_;
  client.last_command = entry.command;
  if (first && !monitors_.empty()) ShowToMonitors(client, entry, args, client.db);
  return Step::kDone;
}

/// The command wants a reader thread or a changed key first; it is through when it has run again.
void Server::Suspend(Client& client, Wanted& wanted) {
  if (wanted.job) {
    // When the commit before it is stalled, the command begins again afterwards.
    if (!keyspace_->Offload(client, client.db, std::move(wanted.job), wanted.keep)) return;
    client.offload_finish = std::move(wanted.finish);
    client.prepared = std::move(wanted.prepared);
    return;
  }
  if (wanted.piece) return StartStream(client, std::move(wanted.piece));
  if (client.blocked == nullptr) {
    blocked_.Block(client, std::move(*wanted.block));
  } else if (client.blocked->undecided) {
    blocked_.Decide(client, std::move(*wanted.block));
  }  // else it keeps its place and its time
  if (client.peer_closed) {
    Kill(client, /*after_reply=*/false);
  } else if (client.blocked->unblocked != Blocked::Unblocked::kNo) {
    UnblockByCommand(client, client.blocked->unblocked == Blocked::Unblocked::kAsError);
  }
}

/// A command that may block has to read its keys from disk first. Who comes later to one of them stands
/// behind it.
void Server::TakePlaceInLine(Client& client, const CommandTable::Entry& entry,
                             std::span<const std::string_view> args) {
  std::vector<size_t> positions;
  Blocked place{.type = AwaitedType(*entry.command), .undecided = true};
  if (!FindKeys(*entry.command, args, &positions)) return;
  for (const size_t position : positions) {
    place.AddKey({client.db, std::string(args[position])});
  }
  if (!place.keys.empty()) blocked_.Block(client, std::move(place));
}

void CommandContext::Offload(std::function<void(const SnapshotView&)> job,
                             std::function<void(ReplyWriter&)> finish) {
  if (can_offload) {
    wanted.job = std::move(job);
    wanted.finish = std::move(finish);
    return;
  }
  job(txn.View());
  finish(reply);
}

void CommandContext::OffloadReply(std::function<Status(const SnapshotView&, ReplyWriter&)> job) {
  struct Made {
    std::string replies;
    Status status;
  };
  auto made = std::make_shared<Made>();
  Offload(
      [made, protocol = client.protocol, job = std::move(job)](const SnapshotView& view) {
        ReplyWriter writer(made->replies, protocol);
        made->status = job(view, writer);
      },
      [made, &server = server, name = command.name](ReplyWriter& to) {
        if (made->status.ok()) return to.Append(std::move(made->replies));
        server.NoteReadFailure(name, made->status);
        WriteError(to, made->status);
      });
}

void Server::FinishReply(Client& client, const CommandTable::Entry* entry, size_t reply_from,
                         uint64_t started_us) {
  std::string& output = client.output();
  const bool failed = output.size() > reply_from && output[reply_from] == '-';
  if (failed) CountError(std::string_view(output).substr(reply_from + 1));
  if (entry != nullptr) {
    clock_us_ = clock_.MonotonicUs();
    CountCall({.client = client,
               .entry = *entry,
               .args = client.request(),
               .us = clock_us_ - started_us,
               .failed = failed,
               .counted = client.has_blocked()});
  }
  switch (client.reply_mode) {
    case ReplyMode::kOn:
      if (output.size() > reply_from) ++client.turn_replies;  // SHUTDOWN and a second MONITOR give none
      return;
    case ReplyMode::kOff: break;
    case ReplyMode::kSkipNext:  // CLIENT REPLY SKIP itself
      client.reply_mode = ReplyMode::kSkipThis;
      break;
    case ReplyMode::kSkipThis: client.reply_mode = ReplyMode::kOn; break;
  }
  client.TruncateOutput(reply_from);
}

void Server::CountCall(const Call& call) {
  CommandStats& stats = call.entry.stats;
  if (!call.counted) {
    ++stats_.commands_processed;
    ++stats.calls;
  }
  stats.us += call.us;
  if (call.failed) ++stats.failed;
  if (options().latency_tracking) {
    if (stats.latencies == nullptr) stats.latencies = std::make_unique<LatencyHistogram>();
    stats.latencies->Record(call.us);
  }
  if (call.us >= slow_call_us_) NoteSlowCall(call);
}

void Server::CountError(std::string_view reply) {
  ++stats_.errors;
  // A client must not fill the table with codes of its own making: EVAL will be able to.
  constexpr size_t kCodesMax = 128;
  std::string code(reply.substr(0, std::min(reply.find(' '), reply.find('\r'))));
  const auto found = stats_.errors_by_code.find(code);
  if (found != stats_.errors_by_code.end()) {
    ++found->second;
  } else if (stats_.errors_by_code.size() < kCodesMax) {
    stats_.errors_by_code.emplace(std::move(code), 1);
  }
}

}  // namespace thermocline
