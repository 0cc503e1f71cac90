// What is told to those who watch the server: the slow log, the latency monitor, MONITOR's lines.

#include <algorithm>

#include "server/server.h"

namespace thermocline {

namespace {

/// The arguments without secrets. `copy` holds them when there are any.
std::span<const std::string_view> WithoutSecrets(const Command& command,
                                                 std::span<const std::string_view> args,
                                                 std::vector<std::string_view>* copy) {
  if (command.is_secret == nullptr) return args;
  copy->assign(args.begin(), args.end());
  for (size_t i = 0; i < args.size(); ++i) {
    if (command.is_secret(args, i)) (*copy)[i] = kRedacted;
  }
  return *copy;
}

}  // namespace

void Server::InstallWatchHooks() {
  const auto set_slow_call = [this](const ServerOptions& o) {
    slow_call_us_ = UINT64_MAX;
    if (o.slowlog_slower_than_us >= 0) slow_call_us_ = static_cast<uint64_t>(o.slowlog_slower_than_us);
    if (o.latency_threshold_ms > 0) {
      const auto threshold_ms = static_cast<uint64_t>(o.latency_threshold_ms);
      // Past this many milliseconds the product would overflow; nothing takes as long.
      slow_call_us_ = std::min(slow_call_us_, std::min(threshold_ms, UINT64_MAX / 1000) * 1000);
    }
  };
  set_slow_call(options());
  config_.OnChange({"slowlog-log-slower-than", "latency-monitor-threshold"},
                   [set_slow_call](ServerOptions& o) -> Status {
                     set_slow_call(o);
                     return {};
                   });
  config_.OnChange({"slowlog-max-len"}, [this](ServerOptions& o) -> Status {
    slowlog_.Trim(static_cast<size_t>(o.slowlog_entries_max));
    return {};
  });
}

void Server::NoteSlowCall(const Call& call) {
  const ServerOptions& o = options();
  const uint32_t flags = call.entry.command->flags;
  NoteLatency((flags & kFast) != 0 ? LatencyEvent::kFastCommand : LatencyEvent::kCommand, call.us);
  if (o.slowlog_slower_than_us < 0 || call.us < static_cast<uint64_t>(o.slowlog_slower_than_us) ||
      (flags & kSkipSlowlog) != 0) {
    return;
  }
  std::vector<std::string_view> copy;
  slowlog_.Add({.time_s = clock_.WallMs() / 1000,
                .us = call.us,
                .args = CutArguments(WithoutSecrets(*call.entry.command, call.args, &copy)),
                .address = call.client.address,
                .client_name = call.client.name},
               static_cast<size_t>(o.slowlog_entries_max));
}

void Server::NoteLatency(LatencyEvent event, uint64_t us) {
  const auto threshold_ms = static_cast<uint64_t>(options().latency_threshold_ms);
  if (threshold_ms == 0 || us / 1000 < threshold_ms) return;
  latency_.Add(event, us / 1000, clock_.WallMs() / 1000);
}

void Server::NoteWork(KeyspaceWork work, uint64_t us) {
  switch (work) {
    case KeyspaceWork::kCommit: return NoteLatency(LatencyEvent::kCommit, us);
    case KeyspaceWork::kStall: return NoteLatency(LatencyEvent::kFlushStall, us);
    case KeyspaceWork::kSweep: return NoteLatency(LatencyEvent::kSweep, us);
    case KeyspaceWork::kSync: return NoteLatency(LatencyEvent::kFsync, us);
    case KeyspaceWork::kEvict: return NoteLatency(LatencyEvent::kEviction, us);
  }
}

namespace {

/// The table or blob file that RocksDB's message names; empty: none.
std::string FileIn(std::string_view message) {
  for (const std::string_view ending : {".sst", ".blob"}) {
    const size_t at = message.rfind(ending);
    if (at == std::string_view::npos) continue;
    const size_t begin = message.find_last_of(" \t", at);
    return std::string(message.substr(begin + 1, at + ending.size() - (begin + 1)));
  }
  return {};
}

constexpr uint64_t kLogReadFailureEveryUs = 1'000'000;

}  // namespace

void Server::NoteReadFailure(std::string_view what, const Status& why) {
  ReadFailures& failures = stats_.read_failures;
  ++failures.count;
  failures.last_file = FileIn(why.message());
  failures.last_s = clock_.WallMs() / 1000;
  const uint64_t now_us = clock_.MonotonicUs();
  // A damaged block that many ask for would fill the log's disk, too.
  if (failures.logged_us != 0 && now_us - failures.logged_us < kLogReadFailureEveryUs) {
    ++failures.unlogged;
    return;
  }
  failures.logged_us = now_us;
  const uint64_t unlogged = std::exchange(failures.unlogged, 0);
  log_.Warning("A read failed (" + std::string(what) + "): " + why.message() +
               (unlogged == 0 ? "" : " (and " + std::to_string(unlogged) + " before it)"));
}

/// The command that had to wait for a cold read runs again.
void Server::FaultWaitIsOver(Client& client) {
  const uint64_t us = clock_us_ - std::exchange(client.waiting_since_us, 0);
  ++stats_.fault_waits;
  stats_.fault_wait_us += us;
  stats_.fault_wait_histogram.Record(us);
  NoteLatency(LatencyEvent::kFaultWait, us);
}

/// Once per command that has run. `db`: the client's, after it.
void Server::ShowToMonitors(const Client& client, const CommandTable::Entry& entry,
                            std::span<const std::string_view> args, int db) {
  if ((entry.command->flags & (kAdmin | kSkipMonitor)) != 0) return;
  std::vector<std::string_view> copy;
  const std::string source = client.unix_socket ? "unix:" + options().unixsocket : client.address;
  const std::string line =
      MonitorLine(clock_.WallUs(), db, source, WithoutSecrets(*entry.command, args, &copy));
  for (Client* monitor : monitors_.clients()) {
    // Its own commands it sees behind their replies. One that wants no replies gets nothing else either, nor
    // does one that has said QUIT.
    if (monitor->reply_mode == ReplyMode::kOn && !monitor->close_after_reply) Push(*monitor, line);
  }
}

void Server::ResetStats() {
  stats_ = {};
  keyspace_->stats() = {};
  for (const std::unique_ptr<CommandTable::Entry>& entry : commands_.entries()) {
    entry->stats = {};
    for (const CommandTable::Entry& sub : entry->subcommands) sub.stats = {};
  }
  commands_rate_ = bytes_received_rate_ = bytes_sent_rate_ = {};
}

}  // namespace thermocline
