#pragma once

#include <rocksdb/write_batch.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "encoding/format.h"
#include "encoding/status.h"
#include "engine/admission.h"
#include "engine/cache_luck.h"
#include "engine/clock.h"
#include "engine/eviction.h"
#include "engine/hot_keys.h"
#include "engine/hot_tier.h"
#include "engine/load.h"
#include "engine/packed_rows.h"
#include "engine/reader_pool.h"
#include "engine/store.h"
#include "engine/sync_mode.h"
#include "engine/txn.h"
#include "engine/waiter.h"

namespace thermocline {

/// A string up to this size is one metadata row; a larger one is kept in chunks.
inline constexpr size_t kInlineBytesMax = 64 << 10;
/// Rows up to this many bytes in all (PackedBytes) are packed into the metadata row: a hash of a kibibyte and
/// its field names is one read.
inline constexpr size_t kPackedBytesMax = 1536;
/// So many packed collections keep their rows unpacked in RAM; the others are at rest, and a command that
/// asks for one pays a third of a microsecond to unpack it, and another to pack it again. At half a kilobyte
/// each these are as much as a core's second-level cache holds: beyond it, being unpacked saves ever less.
inline constexpr size_t kUnpackedMax = 4096;

/// Until when Redis keeps a collection in its compact form, which OBJECT ENCODING tells. Nothing here depends
/// on it but that name.
struct CompactLimits {
  int64_t hash_entries = 512;        ///< "listpack" up to so many fields
  int64_t hash_value_bytes = 64;     ///<   none of which, nor their values, is longer
  int64_t set_intset_entries = 512;  ///< "intset" up to so many members, all of them integers
  int64_t sorted_set_entries = 128;
  int64_t sorted_set_value_bytes = 64;
  bool operator==(const CompactLimits&) const = default;
};

/// Work beside the commands that they may have to wait for.
enum class KeyspaceWork : uint8_t {
  kCommit,  ///< one write batch went into the log; in SyncMode::kAlways onto the disk too
  kStall,   ///< a commit was held up, from its first attempt until it was through
  kSweep,   ///< a slice of the sweep of expired keys
  kSync,    ///< the log was synced beside the commands
  kEvict,   ///< a slice of eviction
};

struct KeyspaceOptions {
  std::string dir;  ///< the database is in `dir`/rocksdb
  int databases = 16;
  uint64_t hot_bytes_max = 0;  ///< 0: no limit
  size_t unpacked_max = kUnpackedMax;
  EvictionOptions eviction;
  SyncMode sync_mode = SyncMode::kEverySecond;
  uint64_t string_bytes_max = 512ull << 20;
  int readers = 4;
  bool active_expiry = true;
  /// Bring the keys back into RAM that were hottest before a restart, and remember them (`dir`/hot-keys).
  bool warm_start = false;
  CompactLimits compact;
  StoreOptions store;
  /// Called from other threads when the keyspace thread has something to take in (TakeIn). Must not block.
  std::function<void()> wake = [] {};
  /// Called on the keyspace thread with how long a piece of work took, in microseconds.
  std::function<void(KeyspaceWork, uint64_t us)> took = [](KeyspaceWork, uint64_t) {};
  /// Called on the keyspace thread when background work met what cannot be read.
  std::function<void(std::string_view work, const Status& why)> read_failed = [](std::string_view,
                                                                                 const Status&) {};
};

/// Counters since the start (or CONFIG RESETSTAT), for INFO.
struct KeyspaceStats {
  uint64_t keyspace_hits = 0;
  uint64_t keyspace_misses = 0;
  uint64_t hot_hits = 0;       ///< key look-ups answered from RAM
  uint64_t cached_reads = 0;   ///< answered from RocksDB's caches without waiting
  uint64_t faults = 0;         ///< reads from disk that commands waited for
  uint64_t shared_faults = 0;  ///< commands that wait for a read which another one asked for
  uint64_t fault_jobs = 0;  ///< jobs that these reads went to the readers in, each one MultiGet or one scan
  uint64_t commands_rerun = 0;
  uint64_t commits = 0;
  uint64_t committed_bytes = 0;
  uint64_t commit_stalls = 0;
  uint64_t commit_failures = 0;
  uint64_t expired_keys = 0;
  uint64_t evicted_keys = 0;  ///< in delete mode
  uint64_t demoted_objects = 0;
  uint64_t demoted_leaves = 0;  ///< blocks of rows of large objects
  uint64_t purged_objects = 0;
  uint64_t warmed_keys = 0;  ///< that a warm start has brought into RAM
  uint64_t sync_failures = 0;
  uint64_t commit_us = 0;        ///< in the store's write
  uint64_t commit_stall_us = 0;  ///< that commits were held up
  uint64_t sweep_us = 0;
  uint64_t syncs = 0;  ///< beside the commands, once a second
  uint64_t sync_us = 0;
  uint64_t evict_us = 0;
  uint64_t over_limit_us = 0;  ///< that memory was over the limit and one slice could not change that
};

/// All keys of all databases: the hot tier over the store, the turn and its one commit, faults, expiry,
/// eviction, purging. One thread, the keyspace thread, calls everything here but where it says otherwise;
/// DESIGN and engine/README.md tell why.
///
/// A turn, as the server drives it:
///   TakeIn(); Run(...) for each command; Commit(); then the replies may leave; Housekeeping().
///
/// Invariants:
/// - what the batch holds and what the dirty objects hold is the same;
/// - a dirty object is in RAM until its commit; what is not in RAM is as the store says;
/// - counts in `state_` are those of the objects as they are in RAM now; `committed_` those on disk.
class Keyspace {
 public:
  enum class Ran : uint8_t {
    kDone,     ///< the command has run
    kWaiting,  ///< it had no effect; run it again when TakeReady gives the waiter back
    kFailed,   ///< it had no effect: the store could not be read (error()); the reply is an error
  };
  enum class Committed : uint8_t {
    kYes,
    kStalled,  ///< not yet: RocksDB is behind. Nothing may be published; RetryCommit() later
    kFailed,   ///< lost: what the turn wrote is gone from RAM, every reply of the turn becomes an error
  };

  static Result<std::unique_ptr<Keyspace>> Open(KeyspaceOptions options, const Clock& clock);
  ~Keyspace();
  Keyspace(const Keyspace&) = delete;
  Keyspace& operator=(const Keyspace&) = delete;

  // -- Commands

  /// Runs `body(Txn&)` with `db` selected. All or nothing: an unwound body leaves no trace.
  /// `ahead`: keys that it needs before all else and that are likely not in RAM. To look for them first costs
  /// less than to find them missing half way and to unwind.
  template <typename Body>
  Ran Run(Waiter& waiter, int db, Body&& body, std::span<const std::string_view> ahead = {}) {
    if (!BeginRun(waiter, db)) return Ran::kFailed;
    try {
      if (!waiter.late_.empty()) txn_.BringLateRows();
      if (!ahead.empty()) {
        txn_.StartLoading(ahead);
        if (waiter.suspended()) return EndUnwound(waiter);
      }
      body(txn_);
    } catch (const Unwind&) {
      return EndUnwound(waiter);
    }
    EndRun(waiter);
    return Ran::kDone;
  }
  /// A hint: commands on these keys of `db` will be run next.
  void WillUse(int db, std::span<const KeyHint> hints) const {
    if (Physical(db) != kNone) hot_.Prefetch(static_cast<uint16_t>(Physical(db)), hints);
  }
  /// Why the last Run gave kFailed.
  const Status& error() const { return error_; }

  /// Runs `job` on a reader thread against a snapshot of all that was executed so far. The waiter is
  /// suspended until the job is done. Commits what the turn has pending; false (and nothing done) when that
  /// is not possible now: the waiter is then suspended until it is, and the command runs again.
  /// `keep`, if not nullptr, stays in RAM until the waiter's command has run again.
  bool Offload(Waiter& waiter, int db, std::function<void(const class SnapshotView&)> job,
               Object* keep = nullptr);

  /// The same for a long read in pieces: `read` is called on a reader thread for each of them and gives false
  /// with the last, when the waiter's command is to run again. After every other one `ready` is called on the
  /// keyspace thread; from then on NextPiece has the next one read, at any time. EndPieces: no more are
  /// wanted.
  bool OffloadPieces(Waiter& waiter, int db, std::function<bool(const class SnapshotView&)> read,
                     std::function<void()> ready);
  void NextPiece(Waiter& waiter);
  void EndPieces(Waiter& waiter);

  /// Frees a large buffer on a reader thread.
  void FreeElsewhere(std::string&& buffer);

  /// Lets go of a waiter that is not suspended and will not come back.
  void Forget(Waiter& waiter);
  /// Waiters whose wait is over, in the order in which their waits ended. Appends.
  void TakeReady(std::vector<Waiter*>* ready);

  // -- The turn

  /// Hands the reads that commands of the turn wait for to the readers, as few jobs. To be called when the
  /// turn has run its commands, and before the thread sleeps.
  void StartReads();
  /// Takes in what other threads have finished, and the time. Starts reads that are still held.
  void TakeIn();
  /// The one function that writes: everything since the last commit, as one write batch.
  Committed Commit();
  bool pending() const { return batch_.Count() > 0 || state_changed_ || !heads_.empty(); }
  size_t pending_bytes() const { return batch_.GetDataSize() + pending_head_bytes_; }
  /// A commit is held up by a stall: writes must wait (SuspendWriter), reads of clean objects go on.
  bool stalled() const { return stalled_; }
  Committed RetryCommit();
  /// Suspends a command that writes until the stalled commit is through.
  void SuspendWriter(Waiter& waiter);
  /// Not writable: the last commit or sync failed. Writes are refused; TryRecover() is to be called now and
  /// then.
  bool writable() const { return failure_.ok(); }
  const Status& failure() const { return failure_; }
  bool TryRecover();
  /// In delete mode: evicts until memory is within its limit, to be called before each command. Bounded to
  /// half a millisecond, as in Redis; housekeeping goes on with what is left. False: the policy finds nothing
  /// more to evict, so that commands which may need memory (CommandFlag kDenyOom) must be refused. Nothing is
  /// evicted while nothing can be written.
  bool MakeRoom() { return !over_limit() || !DeletesKeys() || MakeRoomByDeleting(); }
  bool over_limit() const {
    return options_.hot_bytes_max != 0 && hot_.used_bytes() - leaving_bytes_ > options_.hot_bytes_max;
  }
  /// Since when (monotonic) a slice of eviction has not brought memory back within its limit; 0: it has.
  uint64_t over_limit_since_us() const { return over_limit_since_us_; }
  /// Slices of background work: eviction, expiry, purging. Bounded to about a millisecond.
  /// Returns true when there is more to do at once.
  bool Housekeeping();
  /// Starts what is due by time (the sweep of the expiry index, the purge); call about ten times a second.
  void Tick();
  /// Key changes of the commands since the last TakeEvents, in their order, for those who listen. They are
  /// not committed yet: what is sent because of them must wait for the turn's commit.
  void Listen(ListenTo what) { listening_ = what; }
  bool has_events() const { return !events_.empty(); }
  std::vector<KeyEvent> TakeEvents() { return std::exchange(events_, {}); }

  // -- Databases

  int databases() const { return options_.databases; }
  uint64_t KeyCount(int db) const;
  uint64_t ExpiryCount(int db) const;
  /// O(1); rows are purged in the background, RAM is given back in slices.
  Status FlushDb(int db);
  Status FlushAll();
  void SwapDb(int a, int b);
  /// A random key among those in RAM when all of the database is; otherwise nullopt (ask a snapshot).
  std::optional<std::string> RandomResidentKey(int db);
  bool AllResident(int db) const;
  /// False: there surely is no such key. Reads nothing.
  bool MayExist(int db, std::string_view key) const;

  // -- The store

  /// Syncs the log now. Blocking.
  Status SyncNow();
  /// Writes a consistent copy that a server can be started on (`--dir path`), replacing an older one; on a
  /// reader thread. `done` is called on the keyspace thread. kBusy, and nothing started, when what was
  /// executed cannot be committed first.
  Status StartCheckpoint(const std::string& path, std::function<void(const Status&)> done);
  /// The same, blocking; kBusy also when the commit failed.
  Status CheckpointNow(const std::string& path);

  /// Writes down which keys are hottest, for a warm start; at a shutdown. Blocking.
  Status RememberHotKeys();
  /// A warm start has not come to its end.
  bool warming() const { return warming_ != nullptr; }

  // -- Settings and numbers

  KeyspaceOptions& options() { return options_; }
  const KeyspaceOptions& options() const { return options_; }
  void SetHotBytesMax(uint64_t bytes) { options_.hot_bytes_max = bytes; }
  void SetEviction(const EvictionOptions& eviction);
  void SetSyncMode(SyncMode mode);
  void SetActiveExpiry(bool on) { options_.active_expiry = on; }

  const Clock& clock() const { return clock_; }
  uint64_t now_ms() const { return now_ms_; }
  HotTier& hot() { return hot_; }
  const HotTier& hot() const { return hot_; }
  Store& store() { return *store_; }
  const Store& store() const { return *store_; }
  KeyspaceStats& stats() { return stats_; }
  size_t loads_under_way() const { return loads_.size(); }
  /// How many point reads a second commands may begin; 0: as fast as the readers can. ReaderPool::Pace.
  void PaceReads(uint32_t reads_per_second) { readers_.Pace(reads_per_second); }
  /// Jobs that no reader has begun yet.
  size_t reader_queue() const { return readers_.queued(); }
  uint64_t purge_backlog() const { return purge_queue_.size() + state_.dropped.size(); }
  const Eviction& eviction() const { return eviction_; }
  const Admission& admission() const { return admission_; }

 private:
  friend class Txn;
  struct PurgeJob;
  struct Pieces;
  struct HotSurvey;
  struct Warming;
  class Sweeper final : public Waiter {};  ///< on whose behalf background work reads
  struct DbCounts {
    uint64_t keys = 0;
    uint64_t expires = 0;
  };

  Keyspace(KeyspaceOptions options, const Clock& clock);
  Status Start();
  Status ReadState();
  Status ReadPurges();
  bool ReopenStore();

  bool BeginRun(Waiter& waiter, int db);
  Ran EndUnwound(Waiter& waiter);
  void EndRun(Waiter& waiter);
  void Unpin(Waiter& waiter);
  void Wake(Waiter* waiter);
  void Abandon(Waiter& waiter);
  std::shared_ptr<class SnapshotView> ViewFor(Waiter& waiter, int db);
  void Access(Object* object) {
    if (object->admission != Object::kAdmitted) Admission::OnUse(object);
    eviction_.OnAccess(object, eviction_.lfu() ? random_() : 0);
  }
  /// The rows of an object were changed in place.
  void Recount(Object* object) {
    hot_.Recount(object);
    if (object->admission != Object::kAdmitted && object->live() && object->has_rows)
      admission_.Recount(object);
  }

  Committed CommitBatch(bool wait_for_stall);
  Store::Wrote WriteBatch(Status* why);
  void PutHeads();
  void PutHead(const Object* object, std::string_view head, std::string_view body);
  void AfterCommit();
  void AfterFailure(Status why);
  void ResetTurn();
  void EraseIfUseless(Object* object);
  void SyncEverySecond();
  void Took(KeyspaceWork work, uint64_t* total_us, uint64_t us);
  Status MakeCheckpoint(const std::string& path) const;

  // Physical databases.
  static constexpr int kNone = -1;
  int Physical(int logical) const { return physical_[static_cast<size_t>(logical)]; }
  int PhysicalForWrite(int logical);
  int Logical(int physical) const;
  int FreePhysical();
  /// All live keys of the database are in RAM: what is not there does not exist.
  bool AllResidentPhysical(uint16_t physical) const {
    return hot_.live_count(physical) == (physical < counts_.size() ? counts_[physical].keys : 0);
  }
  uint64_t NewObjectId();
  uint64_t NewVersion() { return ++versions_; }
  DbCounts& counts(uint16_t physical) {
    if (physical >= counts_.size()) counts_.resize(physical + 1u);
    return counts_[physical];
  }
  format::State MakeState() const;
  void TakeState(const format::State& state);

  // Loads: reads from disk on behalf of commands (loads.cc).
  Store::Found LookIntoCaches(Family family, std::string_view key, rocksdb::PinnableSlice* value);
  Load* StartHeadLoad(Object* object);
  Load* StartRowLoad(Object* object, RowSpace space, std::string_view row_key);
  Load* AddRowLoad(std::unique_ptr<Load> load);
  Load* AddLoad(std::unique_ptr<Load> load);
  void WaitFor(Load* load, Waiter* waiter);
  void Install(Load* load);
  void InstallHead(Load& load);
  void InstallRows(Load& load);
  Status DecodeInto(Object* object, std::string_view value);

  // The limit of memory (memory_limit.cc).
  enum class From : uint8_t { kDisk, kWrite };
  void Enter(Object* object, From from);
  bool DeletesKeys() const { return options_.eviction.action == EvictionAction::kDelete; }
  bool EvictSlice();
  bool MakeRoomByDeleting();
  enum class Evicted : uint8_t { kEnough, kOutOfTime, kNothingLeft };
  Evicted Evict(uint64_t us_max);
  bool ForgetRows();
  bool ForgetRowsOf(Object* object);
  bool DemoteOne();
  bool DeleteOne();
  bool LetOneWaitingGo();
  bool AnyCandidate() const;
  bool MayLeave(const Object* object) const;
  void Consider(Object* object);
  void SearchTable();
  Object* ChooseVictim();
  bool RestampSlice();

  // Warm start (warm_start.cc).
  std::string HotKeysPath() const { return options_.dir + "/hot-keys"; }
  std::optional<size_t> GradeOf(const Object* object) const;
  bool SurveySlice(size_t segments);
  std::vector<HotKey> TakeSurvey();
  void StartSurvey();
  bool RememberSlice();
  void StartWarming();
  bool WarmSlice();

  // Slices of background work (housekeeping.cc).
  bool RestSlice();
  bool ReclaimSlice();
  void StartSweep();
  bool SweepSlice();
  void SweepRows(Txn& txn, size_t begin, size_t end);
  void NoteLingering(Object* object);
  bool LingeringSlice();
  void StartPurge();
  void StartGivingBack();
  bool PurgeStepIsOver(const PurgeJob& job);
  void NoteReadFailure(std::string_view work, const Status& why);
  static constexpr uint64_t kReadAgainAfterMs = 1000;
  bool ReadsFailed() const { return now_ms_ - read_failed_ms_ < kReadAgainAfterMs; }
  void FinishPurge(PurgeJob& job);
  void FinishDropped(PurgeJob& job);

  KeyspaceOptions options_;
  const Clock& clock_;
  uint64_t now_ms_ = 0;
  std::unique_ptr<Store> store_;
  HotTier hot_;
  Eviction eviction_;
  EvictionPool eviction_pool_;
  Admission admission_;
  std::unique_ptr<Sweeper> evictor_;
  size_t leaving_bytes_ = 0;   ///< of objects that were evicted by deleting them; freed with the commit
  size_t search_segment_ = 0;  ///< where the search for candidates goes on
  uint64_t over_limit_since_us_ = 0;
  size_t restamp_segment_ = 0;  ///< where objects are being told that Object::access has a new meaning
  bool restamping_ = false;
  Txn txn_;
  std::mt19937_64 random_;
  KeyspaceStats stats_;
  CacheLuck cache_luck_[kFamilies];
  Status error_;

  // The turn.
  rocksdb::WriteBatch batch_;
  std::vector<Txn::Touched> touched_;
  std::vector<Object*> heads_;     ///< objects with head_dirty
  size_t pending_head_bytes_ = 0;  ///< about what they will take in the batch
  std::string saved_heads_;  ///< metadata values as earlier commands of the turn would have written them
  std::vector<Object*> useless_;
  std::vector<KeyEvent> events_;
  ListenTo listening_;
  uint64_t versions_ = 0;
  uint32_t mark_ = 0;           ///< number of the command in the turn, from 1
  bool state_changed_ = false;  ///< since it was last put into the batch
  bool state_in_batch_ = false;
  std::string state_row_;
  std::string head_value_;
  UnpackScratch unpack_scratch_;
  std::vector<uint64_t> new_purges_;  ///< object ids that this turn gave to the purge
  std::vector<uint64_t> purged_;      ///< object ids that this turn purged
  bool stalled_ = false;
  uint64_t stalled_since_us_ = 0;   ///< 0: no commit is held up
  bool databases_changed_ = false;  ///< a database was flushed or swapped since the last commit
  bool turn_lost_ = false;          ///< a commit in the middle of the turn failed: the whole turn is told
  Status failure_;
  std::vector<std::pair<uint16_t, std::string>>
      lost_keys_;  ///< keys that the lost turn wrote, by physical db

  // Databases.
  std::vector<int> physical_;     ///< by logical; kNone: never written
  std::vector<DbCounts> counts_;  ///< by physical
  format::State state_;  ///< next_object_id, next_physical and dropped are current; databases: MakeState
  format::State committed_;
  format::State committing_;

  // Waiting.
  std::unordered_map<Load*, std::unique_ptr<Load>> loads_;
  std::unordered_map<Object*, int> keep_whole_;  ///< how many waiters have asked for many rows of an object
  std::unordered_map<std::string, Load*> row_loads_;  ///< by QuestionOf
  std::vector<Load*> unsubmitted_;
  std::unordered_map<Waiter*, std::shared_ptr<Pieces>> pieces_;
  std::vector<Waiter*> commit_waiters_;
  std::vector<Waiter*> ready_;

  // Background work.
  std::unique_ptr<Sweeper> sweeper_;
  std::string
      sweep_from_;  ///< expiry index key where the next scan begins: none walks over earlier deletions
  std::string indexed_low_;       ///< the lowest key indexed while a scan was under way; empty: none
  std::vector<std::string> due_;  ///< index rows whose time has come
  size_t due_next_ = 0;
  size_t sweep_step_ = 1;
  bool sweeping_ = false;
  std::unique_ptr<Sweeper> lingering_purger_;
  std::unique_ptr<Sweeper> warmer_;
  std::shared_ptr<Warming> warming_;   ///< nullptr: it is over
  std::shared_ptr<HotSurvey> survey_;  ///< under way
  uint64_t remembered_ms_ = 0;         ///< when the last survey began
  uint64_t read_failed_ms_ = 0;        ///< when background work met what cannot be read
  bool giving_back_ = false;           ///< Store::GiveBack runs,
  uint64_t give_back_at_ms_ = 0;       ///<   and is to run next
  std::vector<Object*> lingering_;     ///< objects to be freed of lingering rows; each pinned
  std::string lingering_next_;         ///< the field where the purge of the first one goes on
  uint32_t lingering_round_ = 0;       ///< its linger_round when this pass began
  std::vector<uint64_t> purge_queue_;
  std::string dropped_next_;  ///< metadata key where the purge of the first dropped database goes on
  bool purging_ = false;      ///< a step is on a reader thread
  bool purge_again_ = false;
  uint64_t purge_round_ = 0;    ///< counts lost turns: a step that began before one is of no use
  size_t reclaim_segment_ = 0;  ///< where dropped databases are being freed in the hot tier
  bool reclaiming_ = false;
  bool reclaim_again_ = false;

  // Other threads.
  ReaderPool readers_;
  std::atomic<SyncMode> sync_mode_;
  std::atomic<bool> unsynced_{false};
  std::atomic<bool> sync_failed_{false};
  std::atomic<uint64_t> sync_took_us_{0};  ///< by the last sync; 0: taken in already
  std::mutex sync_mutex_;
  std::condition_variable sync_condition_;
  Status sync_error_;      ///< under sync_mutex_
  bool stopping_ = false;  ///< under sync_mutex_
  std::thread sync_thread_;
};

}  // namespace thermocline
