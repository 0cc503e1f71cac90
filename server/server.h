#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/clock.h"
#include "engine/keyspace.h"
#include "server/blocked_clients.h"
#include "server/client.h"
#include "server/command_table.h"
#include "server/config.h"
#include "server/latency_histogram.h"
#include "server/latency_monitor.h"
#include "server/log.h"
#include "server/memory_budget.h"
#include "server/monitor.h"
#include "server/pubsub.h"
#include "server/rate.h"
#include "server/read_pace.h"
#include "server/ready_set.h"
#include "server/slowlog.h"
#include "server/watchers.h"

namespace thermocline {

/// Reads of the disk, on behalf of commands, that failed.
struct ReadFailures {
  uint64_t count = 0;
  std::string last_file;  ///< empty: the error did not name it
  uint64_t last_s = 0;    ///< Unix time
  uint64_t logged_us = 0;
  uint64_t unlogged = 0;  ///< since then
};

/// Counts since the start (or CONFIG RESETSTAT), for INFO.
struct ServerStats {
  uint64_t connections_received = 0;
  uint64_t connections_rejected = 0;
  uint64_t commands_processed = 0;
  uint64_t turns = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t errors = 0;  ///< error replies
  uint64_t protocol_errors = 0;
  uint64_t input_limit_closes = 0;
  uint64_t output_limit_closes = 0;
  uint64_t fault_waits = 0;  ///< times that a command waited for a cold read
  uint64_t fault_wait_us = 0;
  LatencyHistogram fault_wait_histogram;
  ReadFailures read_failures;
  std::unordered_map<std::string, uint64_t> errors_by_code;  ///< "WRONGTYPE" -> count
};

struct AllocatorNumbers;
struct CommandContext;
struct Wanted;
class SnapshotView;
using PieceOfReply = std::function<Status(const SnapshotView&, ReplyWriter&, bool* more)>;

enum class PauseMode : uint8_t { kNone, kWrites, kAll };

/// The server: connections, the turn, and what commands see of both. Everything here runs on the keyspace
/// thread, but for RequestShutdown. The turn (Turn()) is where to begin reading:
///
///   take in what other threads finished -> read and parse -> execute -> commit once -> publish
class Server {
 public:
  /// Opens the data directory and the listening sockets. `config` and `clock` must outlive the server.
  static Result<std::unique_ptr<Server>> Start(Config& config, Log& log, const Clock& clock);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Serves until a shutdown is asked for; then commits, syncs and closes. Returns the exit status.
  int Run();

  // -- For commands

  Config& config() { return config_; }
  const ServerOptions& options() const { return config_.options(); }
  Keyspace& keyspace() { return *keyspace_; }
  const CommandTable& commands() const { return commands_; }
  const Clock& clock() const { return clock_; }
  Log& log() { return log_; }
  ServerStats& stats() { return stats_; }
  /// How many cold reads a second are let through now; 0: no limit.
  uint32_t reads_per_second_max() const { return read_pace_.limit(); }
  /// CONFIG RESETSTAT: all counts of INFO start over, those of the keyspace and of each command too.
  void ResetStats();
  const std::string& run_id() const { return run_id_; }
  uint64_t started_at_us() const { return started_at_us_; }

  /// In no order.
  const std::list<std::unique_ptr<Client>>& clients() const { return clients_; }
  Client* FindClient(uint64_t id) const;
  uint64_t last_client_id() const { return next_client_id_ - 1; }
  /// Ends a connection, at once or, when it is the one whose command is running, after its reply.
  void Kill(Client& client, bool after_reply);
  /// Stops executing commands (all, or those that write) until `until_us` (monotonic).
  void Pause(PauseMode mode, uint64_t until_us);
  void Unpause();
  PauseMode pause_mode() const { return pause_mode_; }

  // -- Watching (watching.cc)

  SlowLog& slowlog() { return slowlog_; }
  LatencyMonitor& latency() { return latency_; }
  Monitors& monitors() { return monitors_; }
  /// The disk could not be read for `what`: a command, which is answered by an error, or background work. For
  /// INFO and the log.
  void NoteReadFailure(std::string_view what, const Status& why);

  // -- Between commands and between clients (sessions.cc)

  Watchers& watchers() { return watchers_; }
  BlockedClients& blocked() { return blocked_; }
  PubSub& pubsub() { return pubsub_; }
  /// Has `effect` done once the running command is through: what it does outside the keyspace to others, and
  /// what must not happen twice. An unwound command's effects are forgotten with it.
  void AfterRun(std::function<void()> effect) { effects_.push_back(std::move(effect)); }
  /// Sends a message to all who listen to the channel, once the running command is through. Returns to how
  /// many.
  size_t PublishMessage(std::string_view channel, std::string_view message, bool shard);
  /// The body of EXEC: runs what is queued, and closes the transaction.
  void RunQueued(CommandContext& exec);
  void DiscardTransaction(Client& client);
  /// Whether a key that the client watches has changed, or its time has come meanwhile. May unwind.
  bool WatchBroken(Txn& txn, Client& client) const;
  /// Marks what FLUSHDB, FLUSHALL or SWAPDB does to watched and awaited keys of two databases (-1: of all).
  /// May unwind: to be called before the change.
  void DatabasesWillChange(Txn& txn, int a, int b);
  /// CLIENT UNBLOCK of a blocked client: it gets the error, or what it gets when its time is over.
  void UnblockByCommand(Client& client, bool error);

  /// BGSAVE. Errors: a text for the client.
  Status StartCheckpoint();
  /// SAVE.
  Status Checkpoint();
  bool checkpoint_running() const { return checkpoint_running_; }
  uint64_t last_checkpoint_s() const { return last_checkpoint_s_; }
  bool last_checkpoint_ok() const { return last_checkpoint_ok_; }
  uint64_t checkpoints() const { return checkpoints_; }
  /// 0: none is running.
  uint64_t checkpoint_started_us() const { return checkpoint_running_ ? checkpoint_started_us_ : 0; }
  /// Of the last one in the background; -1: there was none.
  int64_t last_checkpoint_took_s() const { return last_checkpoint_took_s_; }
  std::string checkpoint_path() const { return options().dir + "/checkpoint"; }

  /// Ends Run() after this turn. Any thread, any signal.
  void RequestShutdown();

  /// SCAN cursors: integers that stand for the key at which the scan goes on.
  class Cursors {
   public:
    /// A number for this place; never 0.
    uint64_t Save(std::string next_key);
    /// The place; nullptr: not known (any more).
    const std::string* Find(uint64_t cursor) const;

   private:
    static constexpr size_t kPlacesMax = 16384;
    struct Place {
      uint64_t cursor = 0;
      std::string next_key;
    };
    std::vector<Place> places_;
    uint64_t next_ = 1;
  };
  Cursors& cursors() { return cursors_; }

  /// INFO's text for the named sections (lower case; "all", "default", "everything" as in Redis).
  std::string Info(const std::vector<std::string>& sections);
  /// What was allocated when the server was ready to serve.
  uint64_t startup_memory_bytes() const { return startup_memory_bytes_; }
  uint64_t peak_memory_bytes() const { return peak_memory_bytes_; }
  /// What the hot tier, the block cache, the memtables and the rest may take together; 0: no limit.
  uint64_t PromisedMemory() const;
  const MemoryBudget& memory_budget() const { return budget_; }
  /// Bytes allocated by the process: what INFO calls used_memory.
  uint64_t UsedMemory() const;

 private:
  struct Network;  ///< asio: acceptors, timers, signals, and the wake-up from other threads

  Server(Config& config, Log& log, const Clock& clock);
  Status Listen();
  void InstallConfigHooks();
  void LookAtMemory();
  uint64_t UsedMemory(const AllocatorNumbers& allocator) const;
  void CheckpointDone(const Status& status);

  // The loop and the turn (turn.cc).
  void Turn();
  void Send(Client& client);
  int SleepMs() const;
  void TakeReadyClients();
  void ReadClients();
  bool ReadClient(Client& client);
  void ExecuteClients();
  void ServeCold();
  void ServeColdAsOthers();
  void ExecuteClient(Client& client);
  void PrefetchFirstKeys(std::span<Client* const> clients);
  void CommitAndPublish();
  void Publish(std::vector<Client*>& clients);
  void FailTurn(std::vector<Client*>& clients);
  void CloseDoomed();
  bool HasWork() const {
    return !runnable_.empty() || !cold_.empty() || !to_read_.empty() || !doomed_.empty() ||
           !turn_clients_.empty() || !to_send_.empty() || housekeeping_ ||
           (keyspace_->pending() && !keyspace_->stalled());
  }
  void Cron();
  void PaceReads();

  // One command (execute.cc).
  enum class Step : uint8_t { kDone, kWait };
  Step ExecuteRequest(Client& client);
  Step RunCommand(Client& client, const CommandTable::Entry& entry, std::span<const std::string_view> args,
                  size_t reply_from);
  const CommandTable::Entry* Resolve(std::span<const std::string_view> args, std::string* error) const;
  std::string Refusal(const Client& client, const CommandTable::Entry& entry, bool out_of_memory) const;
  bool NeedsMemory(const Client& client, const CommandTable::Entry& entry) const;
  bool MakeRoom();
  bool Writes(const Client& client, const CommandTable::Entry& entry) const;
  bool MustQueue(const Client& client, const CommandTable::Entry& entry) const;
  void Suspend(Client& client, Wanted& wanted);
  void TakePlaceInLine(Client& client, const CommandTable::Entry& entry,
                       std::span<const std::string_view> args);
  /// One call of a command that is through.
  struct Call {
    const Client& client;
    const CommandTable::Entry& entry;
    std::span<const std::string_view> args;
    uint64_t us;
    bool failed;
    bool counted = false;  ///< as a call, when it blocked; this is the end of its wait
  };
  void CountCall(const Call& call);
  void CountError(std::string_view reply);
  void FinishReply(Client& client, const CommandTable::Entry* entry, size_t reply_from, uint64_t started_us);
  void AddToTurn(Client& client);
  void MakeRunnable(Client& client);
  void MakeReadable(Client& client);
  ParseLimits Limits(const Client& client) const;

  // Watching (watching.cc).
  void InstallWatchHooks();
  void NoteSlowCall(const Call& call);
  void NoteLatency(LatencyEvent event, uint64_t us);
  void NoteWork(KeyspaceWork work, uint64_t us);
  void FaultWaitIsOver(Client& client);
  void ShowToMonitors(const Client& client, const CommandTable::Entry& entry,
                      std::span<const std::string_view> args, int db);

  // Between clients (sessions.cc).
  void ListenToKeys();
  void DispatchKeyEvents();
  void Notify(const KeyEvent& event);
  void RunEffects(Client* client, size_t* reply_from);
  void Deliver(std::string_view channel, std::string_view message, bool shard);
  void Push(Client& client, std::string_view message);
  void ServeBlocked();
  void ServeLine(const DbKey& key, const Client* after);
  void ContinueLine(Client& client);
  void EndBlocking(Client& client, std::string_view reply);
  void EndExpiredBlocking();

  // Long replies (streaming.cc).
  void StartStream(Client& client, PieceOfReply piece);
  void SendPiece(Client& client);
  void GoOnStreaming(Client& client);
  void EndStream(Client& client);

  // Connections (connections.cc).
  void Accepted(int fd, bool unix_socket);
  void AcceptClients();
  void MakeClient(int fd, bool unix_socket);
  void Close(Client& client);
  void CheckOutputLimit(Client& client);

  Config& config_;
  Log& log_;
  const Clock& clock_;
  CommandTable commands_;
  ReadySet ready_set_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Keyspace> keyspace_;
  BufferPool buffers_;
  ServerStats stats_;
  Rate commands_rate_, bytes_received_rate_, bytes_sent_rate_;
  Cursors cursors_;
  std::string run_id_;
  uint64_t started_at_us_ = 0;

  SlowLog slowlog_;
  LatencyMonitor latency_;
  Monitors monitors_;
  uint64_t slow_call_us_ = 0;  ///< a call that took as long is for the slow log or the latency monitor

  Watchers watchers_;
  BlockedClients blocked_;
  PubSub pubsub_;
  std::vector<std::function<void()>> effects_;  ///< of the command that runs
  Client* running_ = nullptr;                   ///< whose effects are being done,
  size_t* running_reply_from_ = nullptr;        ///<   and where its reply begins: messages come before it
  bool serving_ = false;
  const std::string* ready_key_ = nullptr;  ///< of the blocked client that is being served

  std::list<std::unique_ptr<Client>> clients_;
  std::unordered_map<uint64_t, std::list<std::unique_ptr<Client>>::iterator> by_id_;
  uint64_t next_client_id_ = 1;
  std::vector<Client*> to_read_;       ///< may be readable, and have no requests left
  std::vector<Client*> runnable_;      ///< have requests and wait for nothing
  std::vector<Client*> cold_;          ///< one or the other, and they are cold: served behind the others
  std::vector<Client*> turn_clients_;  ///< have replies of this turn
  std::vector<Client*> held_clients_;  ///< have replies of the turn whose commit is stalled
  std::vector<Client*> to_send_;       ///< whose sockets may take more of a long reply
  std::vector<Client*> doomed_;        ///< to be closed at the end of the turn
  std::vector<Client*> paused_;
  std::vector<Waiter*> ready_waiters_;
  bool woken_ = false;  ///< there is such a client in turn_clients_
  bool housekeeping_ = false;
  uint64_t turn_us_ = 0;  ///< monotonic time at which the turn began
  uint64_t hot_us_ = 0;   ///< when a turn last had a client that is not cold
  /// Monotonic time as it was last read, which is when the last command ended: the next one began then. So a
  /// command costs one look at the clock, not two.
  uint64_t clock_us_ = 0;
  uint64_t next_recover_us_ = 0;

  RunDelay run_delay_;
  ReadPace read_pace_;
  uint64_t hot_commands_ = 0;  ///< run for clients that are hot()

  PauseMode pause_mode_ = PauseMode::kNone;
  uint64_t pause_until_us_ = 0;

  bool checkpoint_running_ = false;
  uint64_t last_checkpoint_s_ = 0;
  bool last_checkpoint_ok_ = true;
  uint64_t checkpoints_ = 0;
  uint64_t checkpoint_started_us_ = 0;
  int64_t last_checkpoint_took_s_ = -1;
  MemoryBudget budget_;
  uint64_t startup_memory_bytes_ = 0;
  uint64_t peak_memory_bytes_ = 0;

  std::atomic<bool> shutdown_{false};
  std::atomic<bool> accepted_{false};  ///< sockets that are not clients yet
  uint64_t next_cron_us_ = 0;
};

}  // namespace thermocline
