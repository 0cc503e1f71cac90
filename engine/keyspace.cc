#include "engine/keyspace.h"

#include <algorithm>
#include <filesystem>

#include "engine/snapshot.h"

namespace thermocline {

namespace {

// Reads of a turn are handed over together, but the first of many need not wait for the last.
constexpr size_t kLoadsHeldMax = 64;

}  // namespace

Keyspace::Keyspace(KeyspaceOptions options, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      hot_(std::random_device{}() | static_cast<uint64_t>(std::random_device{}()) << 32),
      eviction_(options_.eviction),
      admission_(hot_),
      evictor_(std::make_unique<Sweeper>()),
      txn_(*this),
      random_(std::random_device{}()),
      physical_(static_cast<size_t>(options_.databases), kNone),
      sweeper_(std::make_unique<Sweeper>()),
      lingering_purger_(std::make_unique<Sweeper>()),
      warmer_(std::make_unique<Sweeper>()),
      readers_(options_.readers, options_.wake),
      sync_mode_(options_.sync_mode) {
  // Expiry and purging keep up whatever the pace of clients' reads is. The warm start has time.
  sweeper_->set_urgent(true);
  lingering_purger_->set_urgent(true);
}

Result<std::unique_ptr<Keyspace>> Keyspace::Open(KeyspaceOptions options, const Clock& clock) {
  auto keyspace = std::unique_ptr<Keyspace>(new Keyspace(std::move(options), clock));
  if (Status s = keyspace->Start(); !s.ok()) return s;
  return keyspace;
}

Status Keyspace::Start() {
  std::error_code error;
  std::filesystem::create_directories(options_.dir, error);
  if (error) return {Code::kIoError, "cannot create " + options_.dir + ": " + error.message()};
  Result<std::unique_ptr<Store>> store =
      Store::Open(options_.dir + "/rocksdb", options_.store, options_.wake);
  if (!store.ok()) return store.status();
  store_ = std::move(*store);

  if (Status s = ReadState(); !s.ok()) return s;
  if (Status s = ReadPurges(); !s.ok()) return s;
  now_ms_ = clock_.WallMs();
  eviction_.SetNow(now_ms_);
  sync_thread_ = std::thread([this] { SyncEverySecond(); });
  StartWarming();
  return {};
}

/// The counters and the map of databases, as they are on disk.
Status Keyspace::ReadState() {
  rocksdb::PinnableSlice value;
  Status why;
  format::State state;
  switch (store_->Get(Family::kSystem, format::kStateKey, &value, &why)) {
    case Store::Found::kYes:
      if (Status s = format::DecodeState(ToView(value), &state); !s.ok()) return s;
      break;
    case Store::Found::kNo: break;
    default: return why;
  }
  for (const format::State::Database& db : state.databases) {
    if (db.logical >= options_.databases && db.keys > 0) {
      return {Code::kInvalid, "database " + std::to_string(db.logical) + " has keys, but `databases` is " +
                                  std::to_string(options_.databases)};
    }
  }
  std::erase_if(state.databases, [this](const auto& db) { return db.logical >= options_.databases; });
  TakeState(state);
  committed_ = state;
  return {};
}

/// Purges that the last run did not get to.
Status Keyspace::ReadPurges() {
  purge_queue_.clear();
  Store::ScanOptions purges;
  purges.lower = std::string(1, format::kPurgePrefix);
  purges.upper = std::string(1, format::kPurgePrefix + 1);
  const Store::ScanIterator scan = store_->Scan(Family::kSystem, std::move(purges));
  for (scan.it->SeekToFirst(); scan.it->Valid(); scan.it->Next()) {
    uint64_t id;
    if (!format::DecodePurgeKey(ToView(scan.it->key()), &id))
      return {Code::kCorruption, "a purge row does not decode"};
    purge_queue_.push_back(id);
  }
  if (!scan.it->status().ok()) return Store::ToReadStatus(scan.it->status());
  return {};
}

Keyspace::~Keyspace() {
  readers_.Stop();
  {
    const std::lock_guard lock(sync_mutex_);
    stopping_ = true;
  }
  sync_condition_.notify_all();
  if (sync_thread_.joinable()) sync_thread_.join();
}

// ---- Running a command ----

bool Keyspace::BeginRun(Waiter& waiter, int db) {
  CHECK(waiter.pending_ == 0);
  if (!waiter.error_.ok()) {
    error_ = std::exchange(waiter.error_, Status());
    waiter.late_.clear();
    waiter.random_seed_ = 0;
    Unpin(waiter);
    return false;
  }
  error_ = Status();
  waiter.asked_.clear();
  txn_.Begin(&waiter, db);
  return true;
}

void Keyspace::EndRun(Waiter& waiter) {
  txn_.Finish();
  waiter.late_.clear();
  waiter.random_seed_ = 0;
  if (!waiter.pins_.empty()) Unpin(waiter);
}

Keyspace::Ran Keyspace::EndUnwound(Waiter& waiter) {
  txn_.TakeBack();
  if (!error_.ok()) {
    // Loads that it already waits for give it back to nobody: it has its answer.
    Abandon(waiter);
    waiter.late_.clear();
    waiter.random_seed_ = 0;
    Unpin(waiter);
    return Ran::kFailed;
  }
  CHECK(waiter.suspended());
  if (unsubmitted_.size() >= kLoadsHeldMax) StartReads();
  ++stats_.commands_rerun;
  return Ran::kWaiting;
}

void Keyspace::Abandon(Waiter& waiter) {
  if (waiter.pending_ == 0) return;
  for (const auto& [raw, load] : loads_) std::erase(load->waiters, &waiter);
  std::erase(commit_waiters_, &waiter);
  waiter.pending_ = 0;
}

void Keyspace::Unpin(Waiter& waiter) {
  std::vector<Object*> pins;
  pins.swap(waiter.pins_);
  for (Object* object : pins) {
    --object->pins;
    EraseIfUseless(object);
  }
  for (Object* object : waiter.whole_) {
    if (--keep_whole_[object] == 0) keep_whole_.erase(object);
  }
  waiter.whole_.clear();
  pins.clear();
  waiter.pins_.swap(pins);  // keeps its capacity
}

void Keyspace::Forget(Waiter& waiter) {
  CHECK(!waiter.suspended());
  std::erase(ready_, &waiter);
  waiter.error_ = Status();
  waiter.late_.clear();
  waiter.random_seed_ = 0;
  Unpin(waiter);
}

void Keyspace::Wake(Waiter* waiter) {
  const bool own = waiter == sweeper_.get() || waiter == lingering_purger_.get() || waiter == warmer_.get();
  if (--waiter->pending_ == 0 && !own) {
    ready_.push_back(waiter);
  }
}

void Keyspace::TakeReady(std::vector<Waiter*>* ready) {
  ready->insert(ready->end(), ready_.begin(), ready_.end());
  ready_.clear();
}

void Keyspace::SuspendWriter(Waiter& waiter) {
  commit_waiters_.push_back(&waiter);
  ++waiter.pending_;
}

/// All that was executed so far. nullptr: it cannot be committed now, and the waiter waits until it is.
std::shared_ptr<SnapshotView> Keyspace::ViewFor(Waiter& waiter, int db) {
  if (stalled_ || (pending() && CommitBatch(/*wait_for_stall=*/false) == Committed::kStalled)) {
    SuspendWriter(waiter);
    return nullptr;
  }
  return std::make_shared<SnapshotView>(*store_, store_->TakeSnapshot(), Physical(db), now_ms_);
}

bool Keyspace::Offload(Waiter& waiter, int db, std::function<void(const SnapshotView&)> job, Object* keep) {
  std::shared_ptr<SnapshotView> view = ViewFor(waiter, db);
  if (view == nullptr) return false;
  ++waiter.pending_;
  if (keep != nullptr) {
    ++keep->pins;
    waiter.pins_.push_back(keep);
  }
  readers_.Submit(ReaderPool::Lane::kLong, {[view, job = std::move(job)]() mutable {
                                              job(*view);
                                              view.reset();
                                            },
                                            [this, &waiter] { Wake(&waiter); }});
  return true;
}

struct Keyspace::Pieces {
  std::shared_ptr<SnapshotView> view;
  std::function<bool(const SnapshotView&)> read;
  std::function<void()> ready;
};

bool Keyspace::OffloadPieces(Waiter& waiter, int db, std::function<bool(const SnapshotView&)> read,
                             std::function<void()> ready) {
  std::shared_ptr<SnapshotView> view = ViewFor(waiter, db);
  if (view == nullptr) return false;
  ++waiter.pending_;
  pieces_[&waiter] = std::make_shared<Pieces>(Pieces{std::move(view), std::move(read), std::move(ready)});
  NextPiece(waiter);
  return true;
}

void Keyspace::NextPiece(Waiter& waiter) {
  const std::shared_ptr<Pieces> pieces = pieces_.at(&waiter);
  auto more = std::make_shared<bool>();
  readers_.Submit(ReaderPool::Lane::kLong,
                  {[pieces, more] { *more = pieces->read(*pieces->view); },
                   [this, &waiter, pieces, more] { *more ? pieces->ready() : EndPieces(waiter); }});
}

void Keyspace::EndPieces(Waiter& waiter) {
  pieces_.erase(&waiter);
  Wake(&waiter);
}

void Keyspace::FreeElsewhere(std::string&& buffer) {
  readers_.Submit(
      ReaderPool::Lane::kLong,
      {[freed = std::make_shared<std::string>(std::move(buffer))]() mutable { freed.reset(); }, [] {}});
}

void Keyspace::EraseIfUseless(Object* object) {
  if (!object->live() && object->state != Object::State::kLoading && object->pins == 0 && !object->dirty()) {
    hot_.Erase(object);
  }
}

// ---- The turn ----

void Keyspace::TakeIn() {
  StartReads();
  now_ms_ = clock_.WallMs();
  eviction_.SetNow(now_ms_);
  readers_.TakeIn();
  if (sync_took_us_.load(std::memory_order_relaxed) != 0) {
    ++stats_.syncs;
    Took(KeyspaceWork::kSync, &stats_.sync_us, sync_took_us_.exchange(0, std::memory_order_relaxed));
  }
  if (sync_failed_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(sync_mutex_);
    sync_failed_ = false;
    ++stats_.sync_failures;
    failure_ = sync_error_;
  }
}

Keyspace::Committed Keyspace::Commit() {
  const Committed committed = CommitBatch(/*wait_for_stall=*/false);
  return std::exchange(turn_lost_, false) ? Committed::kFailed : committed;
}

void Keyspace::Took(KeyspaceWork work, uint64_t* total_us, uint64_t us) {
  *total_us += us;
  options_.took(work, us);
}

/// One attempt, with its time.
Store::Wrote Keyspace::WriteBatch(Status* why) {
  const uint64_t began_us = clock_.MonotonicUs();
  const Store::Wrote wrote = store_->Write(batch_, sync_mode_ == SyncMode::kAlways, why);
  if (wrote == Store::Wrote::kStalled) {
    if (stalled_since_us_ == 0) {
      stalled_since_us_ = began_us;
      ++stats_.commit_stalls;
    }
    return wrote;
  }
  const uint64_t ended_us = clock_.MonotonicUs();
  Took(KeyspaceWork::kCommit, &stats_.commit_us, ended_us - began_us);
  if (stalled_since_us_ != 0) {
    Took(KeyspaceWork::kStall, &stats_.commit_stall_us, ended_us - std::exchange(stalled_since_us_, 0));
  }
  return wrote;
}

Keyspace::Committed Keyspace::CommitBatch(bool wait_for_stall) {
  if (!pending()) {
    AfterCommit();  // objects may have been touched without effect
    return Committed::kYes;
  }
  PutHeads();
  if (state_changed_ && !stalled_) {
    state_row_.clear();
    committing_ = MakeState();
    format::AppendState(state_row_, committing_);
    batch_.Put(store_->handle(Family::kSystem), ToSlice(format::kStateKey), state_row_)
        .PermitUncheckedError();
    state_changed_ = false;
    state_in_batch_ = true;
  }
  Status why;
  for (;;) {
    switch (WriteBatch(&why)) {
      case Store::Wrote::kYes:
        ++stats_.commits;
        stats_.committed_bytes += batch_.GetDataSize();
        unsynced_.store(true, std::memory_order_relaxed);
        if (state_in_batch_) std::swap(committed_, committing_);
        AfterCommit();
        return Committed::kYes;
      case Store::Wrote::kStalled:
        if (!wait_for_stall) {
          stalled_ = true;
          return Committed::kStalled;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        break;
      case Store::Wrote::kFailed: AfterFailure(std::move(why)); return Committed::kFailed;
    }
  }
}

/// Puts the heads that the turn changed into the batch, each once, in key order: neighbours in the memtable
/// are found from each other, which halves the cost of inserting many.
void Keyspace::PutHeads() {
  if (heads_.size() > 1) {
    std::sort(heads_.begin(), heads_.end(), [](const Object* a, const Object* b) {
      return a->db != b->db ? a->db < b->db : a->key() < b->key();
    });
  }
  for (Object* object : heads_) {
    if (!object->head_dirty) continue;
    object->head_dirty = false;
    head_value_.clear();
    if (object->live()) txn_.EncodeHead(object, &head_value_);
    PutHead(object, head_value_,
            object->live() && !object->has_rows ? object->inline_value() : std::string_view());
  }
  heads_.clear();
  pending_head_bytes_ = 0;
}

/// The value is `head` and then `body`; both empty: the key does not exist.
void Keyspace::PutHead(const Object* object, std::string_view head, std::string_view body) {
  char db[2];
  StoreBig16(db, object->db);
  const rocksdb::Slice key[2] = {{db, 2}, ToSlice(object->key())};
  const rocksdb::Slice value[2] = {ToSlice(head), ToSlice(body)};
  if (head.empty()) {
    batch_.Delete(store_->handle(Family::kMetadata), rocksdb::SliceParts(key, 2)).PermitUncheckedError();
  } else {
    batch_.Put(store_->handle(Family::kMetadata), rocksdb::SliceParts(key, 2), rocksdb::SliceParts(value, 2))
        .PermitUncheckedError();
  }
}

Keyspace::Committed Keyspace::RetryCommit() { return stalled_ ? Commit() : Committed::kYes; }

void Keyspace::AfterCommit() {
  for (const uint64_t id : new_purges_) purge_queue_.push_back(id);
  ResetTurn();
}

void Keyspace::AfterFailure(Status why) {
  ++stats_.commit_failures;
  turn_lost_ = true;
  failure_ = std::move(why);
  // The disk is the truth: all that the turn wrote leaves RAM.
  for (const Txn::Touched& touched : touched_) {
    lost_keys_.emplace_back(touched.object->db, touched.object->key());
    if (touched.object->dirty()) hot_.BecomeCold(touched.object);
    touched.object->head_dirty = false;
  }
  TakeState(committed_);
  events_.clear();
  // The sweep and the purge start over: what they deleted is there again.
  sweep_from_.clear();
  due_.clear();
  due_next_ = 0;
  ++purge_round_;
  dropped_next_.clear();
  purge_queue_.insert(purge_queue_.end(), purged_.begin(), purged_.end());
  ResetTurn();
}

void Keyspace::ResetTurn() {
  batch_.Clear();
  stalled_ = false;
  leaving_bytes_ = 0;
  state_in_batch_ = false;
  databases_changed_ = false;
  heads_.clear();
  pending_head_bytes_ = 0;
  saved_heads_.clear();
  new_purges_.clear();
  purged_.clear();
  mark_ = 0;
  for (const Txn::Touched& touched : touched_) {
    if (!touched.object->dirty()) continue;
    touched.object->mark = 0;
    if (!touched.object->live()) useless_.push_back(touched.object);
  }
  touched_.clear();
  for (Object* object : useless_) EraseIfUseless(object);
  useless_.clear();
  for (Waiter* waiter : std::exchange(commit_waiters_, {})) Wake(waiter);
}

bool Keyspace::TryRecover() {
  if (failure_.ok()) return true;
  if (pending()) return false;  // the next commit fails and throws it away
  if (!store_->Resume().ok() && !ReopenStore()) return false;
  failure_ = Status();
  lost_keys_.clear();
  return true;
}

/// For errors after which RocksDB takes no more writes: it is closed and opened again, while nobody reads.
bool Keyspace::ReopenStore() {
  readers_.Pause();
  readers_.TakeIn();
  const uint64_t before = store_->generation();
  bool reopened = store_->Reopen().ok();
  if (store_->generation() != before) {
    reopened = ReadState().ok() && ReadPurges().ok() && reopened;
    // The write that failed may have reached the log as a whole, and then it is there now.
    for (const auto& [db, key] : lost_keys_) {
      Object* object = hot_.Find(db, key);
      if (object == nullptr || object->state == Object::State::kLoading) continue;
      hot_.BecomeCold(object);
      EraseIfUseless(object);
    }
    reclaim_segment_ = 0;
    reclaiming_ = true;
    reclaim_again_ = true;
    ++purge_round_;
    dropped_next_.clear();
  }
  readers_.Resume();
  return reopened;
}

void Keyspace::SetSyncMode(SyncMode mode) { sync_mode_ = mode; }

void Keyspace::SyncEverySecond() {
  std::unique_lock lock(sync_mutex_);
  while (!stopping_) {
    sync_condition_.wait_for(lock, std::chrono::seconds(1));
    if (sync_mode_ != SyncMode::kEverySecond || stopping_ || !unsynced_.exchange(false)) continue;
    lock.unlock();
    const uint64_t began_us = clock_.MonotonicUs();
    Status s = store_->Sync();
    sync_took_us_.store(std::max<uint64_t>(1, clock_.MonotonicUs() - began_us), std::memory_order_relaxed);
    lock.lock();
    if (s.ok()) continue;
    unsynced_ = true;
    sync_error_ = std::move(s);
    sync_failed_.store(true, std::memory_order_release);
    options_.wake();
  }
}

Status Keyspace::SyncNow() {
  unsynced_ = false;
  return store_->Sync();
}

Status Keyspace::CheckpointNow(const std::string& path) {
  if (pending() && Commit() != Committed::kYes) return {Code::kBusy, "writes are held up"};
  return MakeCheckpoint(path);
}

Status Keyspace::MakeCheckpoint(const std::string& path) const {
  namespace fs = std::filesystem;
  const std::string fresh = path + ".new", old = path + ".old";
  std::error_code error;
  fs::remove_all(fresh, error);
  if (!error) fs::create_directories(fresh, error);
  if (error) return {Code::kIoError, "cannot create " + fresh + ": " + error.message()};
  if (Status s = store_->Checkpoint(fresh + "/rocksdb"); !s.ok()) {
    fs::remove_all(fresh, error);
    return s;
  }
  // A crash between the renames leaves the old copy under its other name, never none.
  fs::remove_all(old, error);
  if (fs::exists(path)) fs::rename(path, old, error);
  if (!error) fs::rename(fresh, path, error);
  if (error) return {Code::kIoError, "cannot move the checkpoint to " + path + ": " + error.message()};
  fs::remove_all(old, error);
  return {};
}

Status Keyspace::StartCheckpoint(const std::string& path, std::function<void(const Status&)> done) {
  if (pending() && Commit() != Committed::kYes) return {Code::kBusy, "writes are held up"};
  auto result = std::make_shared<Status>();
  readers_.Submit(ReaderPool::Lane::kLong, {[this, path, result] { *result = MakeCheckpoint(path); },
                                            [result, done = std::move(done)] { done(*result); }});
  return {};
}

// ---- Databases ----

void Keyspace::TakeState(const format::State& state) {
  const uint64_t next_id = std::max(state_.next_object_id, state.next_object_id);
  state_ = state;
  state_.next_object_id = next_id;  // an id that was given out is never used again, committed or not
  std::fill(physical_.begin(), physical_.end(), kNone);
  counts_.clear();
  for (const format::State::Database& db : state.databases) {
    physical_[db.logical] = db.physical;
    counts(db.physical) = {db.keys, db.expires};
  }
  state_changed_ = false;
}

format::State Keyspace::MakeState() const {
  format::State state;
  state.next_object_id = state_.next_object_id;
  state.next_physical = state_.next_physical;
  state.dropped = state_.dropped;
  for (size_t logical = 0; logical < physical_.size(); ++logical) {
    if (physical_[logical] == kNone) continue;
    const auto physical = static_cast<uint16_t>(physical_[logical]);
    const DbCounts counts = physical < counts_.size() ? counts_[physical] : DbCounts();
    state.databases.push_back({static_cast<uint16_t>(logical), physical, counts.keys, counts.expires});
  }
  return state;
}

uint64_t Keyspace::NewObjectId() {
  state_changed_ = true;
  return state_.next_object_id++;
}

int Keyspace::Logical(int physical) const {
  const auto found = std::find(physical_.begin(), physical_.end(), physical);
  return found == physical_.end() ? kNone : static_cast<int>(found - physical_.begin());
}

int Keyspace::PhysicalForWrite(int logical) {
  int& physical = physical_[static_cast<size_t>(logical)];
  if (physical == kNone) {
    physical = FreePhysical();
    CHECK(physical != kNone);  // FlushDb sees to it that there is always one
    counts(static_cast<uint16_t>(physical)) = {};
    state_changed_ = true;
  }
  return physical;
}

int Keyspace::FreePhysical() {
  if (state_.next_physical <= 0xffff) return static_cast<int>(state_.next_physical++);
  std::vector<bool> used(0x10000);
  for (const int physical : physical_) {
    if (physical != kNone) used[static_cast<size_t>(physical)] = true;
  }
  for (const uint16_t physical : state_.dropped) used[physical] = true;
  const auto found = std::find(used.begin(), used.end(), false);
  return found == used.end() ? kNone : static_cast<int>(found - used.begin());
}

uint64_t Keyspace::KeyCount(int db) const {
  const int physical = Physical(db);
  return physical == kNone || static_cast<size_t>(physical) >= counts_.size()
             ? 0
             : counts_[static_cast<size_t>(physical)].keys;
}

uint64_t Keyspace::ExpiryCount(int db) const {
  const int physical = Physical(db);
  return physical == kNone || static_cast<size_t>(physical) >= counts_.size()
             ? 0
             : counts_[static_cast<size_t>(physical)].expires;
}

bool Keyspace::AllResident(int db) const {
  const int physical = Physical(db);
  return physical == kNone || AllResidentPhysical(static_cast<uint16_t>(physical));
}

bool Keyspace::MayExist(int db, std::string_view key) const {
  const int physical = Physical(db);
  if (physical == kNone) return false;
  const Object* object = hot_.Find(static_cast<uint16_t>(physical), key);
  if (object == nullptr) return !AllResidentPhysical(static_cast<uint16_t>(physical));
  return object->state != Object::State::kAbsent;
}

Status Keyspace::FlushDb(int db) {
  const int physical = Physical(db);
  if (physical == kNone || KeyCount(db) == 0) return {};
  // Thousands of flushed databases that wait for their purge: let it catch up.
  if (state_.dropped.size() + physical_.size() >= 0xff00)
    return {Code::kBusy, "too many flushed databases to purge"};
  state_.dropped.push_back(static_cast<uint16_t>(physical));
  physical_[static_cast<size_t>(db)] = kNone;
  state_changed_ = true;
  databases_changed_ = true;
  reclaim_segment_ = 0;
  reclaiming_ = true;
  reclaim_again_ = true;
  return {};
}

Status Keyspace::FlushAll() {
  for (int db = 0; db < options_.databases; ++db) {
    if (Status s = FlushDb(db); !s.ok()) return s;
  }
  return {};
}

void Keyspace::SwapDb(int a, int b) {
  if (a == b) return;
  std::swap(physical_[static_cast<size_t>(a)], physical_[static_cast<size_t>(b)]);
  state_changed_ = true;
  databases_changed_ = true;
}

std::optional<std::string> Keyspace::RandomResidentKey(int db) {
  const int physical = Physical(db);
  // A sample is of any database; a small share among many would take too long to meet.
  for (int tries = 0; tries < 1000; ++tries) {
    const Object* object = hot_.Sample(random_());
    if (object == nullptr) break;
    if (object->db != physical || !object->live()) continue;
    if (object->expire_at_ms != 0 && now_ms_ > object->expire_at_ms) continue;
    return std::string(object->key());
  }
  return std::nullopt;
}

}  // namespace thermocline
