// What the keyspace does beside commands, in slices: expiry, purging. Eviction is in memory_limit.cc.

#include <algorithm>

#include "engine/keyspace.h"

namespace thermocline {

namespace {

constexpr int kRestsPerSlice = 2048;
// Of a small hot tier no more than about this share is for what packed collections cost more when unpacked.
constexpr uint64_t kUnpackedShare = 16;
constexpr uint64_t kUnpackedBytes = 1024;
constexpr size_t kSegmentsPerSlice = 8;
constexpr size_t kSweepKeysPerScan = 1024;
constexpr size_t kSweepKeysPerSlice = 64;
constexpr size_t kLingeringRowsPerSlice = 512;
constexpr size_t kPurgeIdsPerStep = 32;
constexpr size_t kPurgeHeadsPerStep = 2048;
/// Up to so many rows are deleted one by one; for more, a range tombstone is cheaper than its rows'
/// tombstones.
constexpr size_t kPurgePointRowsMax = 64;
// To guess how many rows a range has.
constexpr uint64_t kBytesPerRow = 64;
constexpr uint64_t kGiveBackEveryMs = 10'000;
constexpr uint64_t kGiveBackAgainMs = 1'000;

}  // namespace

void Keyspace::Tick() {
  StartSweep();
  StartPurge();
  StartSurvey();
  StartGivingBack();
}

bool Keyspace::Housekeeping() {
  bool more = RestSlice();
  more |= EvictSlice();
  if (restamping_) more |= RestampSlice();
  for (std::unique_ptr<ObjectRows>& rows : hot_.TakeDropped()) {
    // A reader frees them: nobody else knows them any more.
    readers_.Submit(
        ReaderPool::Lane::kLong,
        {[rows = std::shared_ptr<ObjectRows>(std::move(rows))]() mutable { rows.reset(); }, [] {}});
  }
  if (reclaiming_) more |= ReclaimSlice();
  if (!stalled_ && failure_.ok()) {
    more |= SweepSlice();
    more |= LingeringSlice();
  }
  more |= WarmSlice();
  more |= RememberSlice();
  if (std::exchange(purge_again_, false)) StartPurge();
  return more;
}

// ---- Rest ----

/// Packs what has no place on the workbench any more. Not while a command runs: it holds the rows.
bool Keyspace::RestSlice() {
  size_t places = options_.unpacked_max;
  if (options_.hot_bytes_max != 0) {
    places = std::min<size_t>(places, options_.hot_bytes_max / kUnpackedShare / kUnpackedBytes);
  }
  for (int rested = 0; rested < kRestsPerSlice; ++rested) {
    Object* object = hot_.ExcessOnBench(places);
    if (object == nullptr) return false;
    head_value_.clear();
    AppendPacked(*object->rows, &head_value_);
    hot_.BecomeAtRest(object, object->type, head_value_);
  }
  return true;
}

// ---- Dropped databases ----

/// Frees the objects of dropped databases.
bool Keyspace::ReclaimSlice() {
  for (size_t i = 0; i < kSegmentsPerSlice; ++i) {
    if (reclaim_segment_ >= hot_.segments()) {
      reclaim_segment_ = 0;
      if (!reclaim_again_) {
        reclaiming_ = false;
        return false;
      }
      reclaim_again_ = false;
      return true;
    }
    hot_.VisitSegment(reclaim_segment_++, [this](Object* object) {
      if (Logical(object->db) != kNone) return;
      if (object->pins > 0 || object->dirty() || object->state == Object::State::kLoading) {
        reclaim_again_ = true;  // in use just now: another round
        return;
      }
      hot_.Erase(object);
    });
  }
  return true;
}

// ---- Expiry ----

void Keyspace::StartSweep() {
  if (!options_.active_expiry || sweeping_ || due_next_ < due_.size() || ReadsFailed()) return;
  sweeping_ = true;
  indexed_low_.clear();
  struct Scan {
    std::string from;
    std::vector<std::string> rows;
    Status status;
  };
  auto job = std::make_shared<Scan>();
  job->from = sweep_from_;
  const uint64_t now = now_ms_;
  readers_.Submit(ReaderPool::Lane::kLong, {[this, job, now] {
                                              Store::ScanOptions options;
                                              options.fill_cache = false;
                                              options.lower = job->from;
                                              if (options.lower.empty())
                                                format::AppendExpiryIndexKey(options.lower, 0, 0, {});
                                              format::AppendExpiryIndexKey(
                                                  options.upper, now, 0,
                                                  {});  // keys whose time is before now
                                              // Keys whose index rows cannot be read expire when somebody
                                              // asks for them.
                                              store_->ScanPastDamage(
                                                  Family::kScores, std::move(options),
                                                  [&](std::string_view row, std::string_view) {
                                                    job->rows.emplace_back(row);
                                                    return job->rows.size() < kSweepKeysPerScan;
                                                  },
                                                  &job->status);
                                            },
                                            [this, job] {
                                              sweeping_ = false;
                                              // Something was indexed before the place where the scan began,
                                              // or the turn was lost: begin again.
                                              NoteReadFailure("the sweep of expired keys", job->status);
                                              if (job->from != sweep_from_) return;
                                              due_ = std::move(job->rows);
                                              due_next_ = 0;
                                              if (due_.empty()) return;
                                              sweep_from_ = due_.back() + '\0';
                                              if (!indexed_low_.empty() && indexed_low_ < sweep_from_)
                                                sweep_from_ = indexed_low_;
                                            }});
}

bool Keyspace::SweepSlice() {
  if (due_next_ >= due_.size() || sweeper_->suspended()) return false;
  const size_t end = std::min(due_.size(), due_next_ + sweep_step_);
  const uint64_t began_us = clock_.MonotonicUs();
  const Ran ran = Run(*sweeper_, 0, [&](Txn& txn) { SweepRows(txn, due_next_, end); });
  Took(KeyspaceWork::kSweep, &stats_.sweep_us, clock_.MonotonicUs() - began_us);
  if (ran == Ran::kWaiting) return false;
  if (ran == Ran::kFailed && sweep_step_ > 1) {
    sweep_step_ = 1;  // find the key that cannot be read, and pass over it alone: it is not served either
    return true;
  }
  if (ran == Ran::kFailed) NoteReadFailure("the sweep of expired keys", error());
  sweep_step_ = std::min(sweep_step_ * 2, kSweepKeysPerSlice);
  due_next_ = end;
  if (due_next_ < due_.size()) return true;
  const bool full = due_.size() == kSweepKeysPerScan;
  due_.clear();
  due_next_ = 0;
  if (full) StartSweep();
  return false;
}

void Keyspace::SweepRows(Txn& txn, size_t begin, size_t end) {
  std::vector<format::ExpiryIndexKey> rows;
  for (size_t i = begin; i < end; ++i) {
    format::ExpiryIndexKey row;
    if (format::DecodeExpiryIndexKey(due_[i], &row)) rows.push_back(row);
  }
  for (const format::ExpiryIndexKey& row : rows) {
    if (Logical(row.db) == kNone) continue;
    txn.Select(Logical(row.db));
    const std::string_view key = row.key;
    txn.StartLoading({&key, 1});
  }
  txn.WaitForLoading();
  for (size_t i = begin; i < end; ++i) {
    txn.batch().Delete(store_->handle(Family::kScores), due_[i]).PermitUncheckedError();
  }
  for (const format::ExpiryIndexKey& row : rows) {
    const int logical = Logical(row.db);
    if (logical == kNone) continue;
    txn.Select(logical);
    Object* object = txn.Known(row.key);
    if (object == nullptr || !object->live() || object->expire_at_ms == 0) continue;
    if (!txn.ExpireIfDue(object)) txn.IndexExpiry(object, object->expire_at_ms);
  }
}

// ---- Lingering rows ----

void Keyspace::NoteLingering(Object* object) {
  if (std::find(lingering_.begin(), lingering_.end(), object) != lingering_.end()) return;
  // It stays in RAM until it is done. After a restart the purge begins when the object is read again.
  ++object->pins;
  lingering_.push_back(object);
}

bool Keyspace::LingeringSlice() {
  if (lingering_.empty() || lingering_purger_->suspended()) return false;
  Object* object = lingering_.front();
  const auto lingers = [&] { return object->live() && object->has_rows && object->rows->lingering; };
  const int db = Logical(object->db);
  bool done = true;
  if (db != kNone && lingers()) {
    if (lingering_next_.empty()) lingering_round_ = object->rows->linger_round;
    std::string next = lingering_next_;
    bool last = false;
    const Ran ran = Run(*lingering_purger_, db, [&](Txn& txn) {
      next = lingering_next_;
      last = txn.PurgeLingering(object, &next, kLingeringRowsPerSlice);
      if (last && object->rows->linger_round == lingering_round_) {
        txn.TouchHead(object);
        object->rows->lingering = false;
      }
    });
    if (ran == Ran::kWaiting) return false;
    if (ran == Ran::kDone) {
      done = last && !lingers();
      lingering_next_ = last ? std::string() : std::move(next);
    }
    // What cannot be read stays as it is until the object is read again.
  }
  if (!done) return true;
  lingering_next_.clear();
  lingering_.erase(lingering_.begin());
  --object->pins;
  EraseIfUseless(object);
  return !lingering_.empty();
}

// ---- Purging ----

/// Now and then, so that a long series of deletions makes few tables.
void Keyspace::StartGivingBack() {
  if (giving_back_ || now_ms_ < give_back_at_ms_ || stalled_ || !failure_.ok()) return;
  giving_back_ = true;
  auto again = std::make_shared<bool>();
  readers_.Submit(ReaderPool::Lane::kLong, {[this, again] { *again = store_->GiveBack(); },
                                            [this, again] {
                                              giving_back_ = false;
                                              give_back_at_ms_ =
                                                  now_ms_ + (*again ? kGiveBackAgainMs : kGiveBackEveryMs);
                                            }});
}

/// What a step of the purge found on a reader thread.
struct Keyspace::PurgeJob {
  static void CollectRows(const Store& store, PurgeJob& job);
  static void CollectIds(const Store& store, PurgeJob& job);

  std::vector<uint64_t> ids;
  std::vector<std::pair<Family, std::string>> rows;  ///< to delete one by one
  struct Whole {
    Family family;
    uint64_t id;
    uint64_t rows;  ///< about
  };
  std::vector<Whole> whole;  ///< to delete as ranges
  // A dropped database:
  uint64_t round = 0;
  int physical = -1;
  std::string next;  ///< metadata key where the next step goes on
  size_t heads = 0;  ///< that this step saw
  bool done = false;
  Status status;
};

void Keyspace::PurgeJob::CollectRows(const Store& store, PurgeJob& job) {
  for (const uint64_t id : job.ids) {
    for (const Family family : {Family::kFields, Family::kScores}) {
      Store::ScanOptions options;
      options.fill_cache = false;
      AppendBig64(options.lower, id);
      AppendBig64(options.upper, id + 1);
      const Store::ScanIterator scan = store.Scan(family, std::move(options));
      const size_t before = job.rows.size();
      for (scan.it->SeekToFirst(); scan.it->Valid(); scan.it->Next()) {
        if (job.rows.size() - before == kPurgePointRowsMax) {
          job.rows.resize(before);
          const uint64_t bytes = store.BytesBetween(family, scan.options->lower, scan.options->upper);
          job.whole.push_back({family, id, bytes / kBytesPerRow});
          break;
        }
        job.rows.emplace_back(family, scan.it->key().ToString());
      }
      if (scan.it->status().ok()) continue;
      // To be deleted they need not be read.
      job.status = Store::ToReadStatus(scan.it->status());
      job.rows.resize(before);
      job.whole.push_back({family, id, kPurgePointRowsMax});
    }
  }
}

void Keyspace::PurgeJob::CollectIds(const Store& store, PurgeJob& job) {
  Store::ScanOptions options;
  options.fill_cache = false;
  options.lower = job.next;
  const auto db = static_cast<uint16_t>(job.physical);
  if (options.lower.empty()) format::AppendMetadataKey(options.lower, db, {});
  if (db < 0xffff) format::AppendMetadataKey(options.upper, static_cast<uint16_t>(db + 1), {});
  const auto take = [&job](std::string_view key, std::string_view value) {
    format::Head head;
    if (format::DecodeHead(value, &head).ok() && head.object_id != 0) job.ids.push_back(head.object_id);
    job.next = std::string(key) + '\0';
    return ++job.heads < kPurgeHeadsPerStep;
  };
  // The rows of objects whose heads cannot be read stay on the disk.
  job.done = store.ScanPastDamage(Family::kMetadata, std::move(options), take, &job.status);
}

/// One step at a time, on one reader thread: so purging takes a bounded share of the disk.
void Keyspace::StartPurge() {
  if (purging_ || stalled_ || !failure_.ok() || ReadsFailed()) return;
  auto job = std::make_shared<PurgeJob>();
  job->round = purge_round_;
  if (!purge_queue_.empty()) {
    const size_t n = std::min(kPurgeIdsPerStep, purge_queue_.size());
    job->ids.assign(purge_queue_.begin(), purge_queue_.begin() + static_cast<ptrdiff_t>(n));
    // Rows of an id that nobody has any more do not change: no snapshot is needed.
    readers_.Submit(ReaderPool::Lane::kLong, {[this, job] { PurgeJob::CollectRows(*store_, *job); },
                                              [this, job] { FinishPurge(*job); }});
  } else if (!committed_.dropped.empty() && !state_.dropped.empty() &&
             committed_.dropped.front() == state_.dropped.front()) {  // all its rows are on disk
    job->physical = state_.dropped.front();
    job->next = dropped_next_;
    readers_.Submit(ReaderPool::Lane::kLong, {[this, job] { PurgeJob::CollectIds(*store_, *job); },
                                              [this, job] { FinishDropped(*job); }});
  } else {
    return;
  }
  purging_ = true;
}

bool Keyspace::PurgeStepIsOver(const PurgeJob& job) {
  purging_ = false;
  NoteReadFailure("the purge", job.status);
  return job.round == purge_round_ && !stalled_ && failure_.ok();
}

/// Of background work, which then rests a while: it would meet the same again.
void Keyspace::NoteReadFailure(std::string_view work, const Status& why) {
  if (why.ok()) return;
  read_failed_ms_ = now_ms_;
  options_.read_failed(work, why);
}

void Keyspace::FinishPurge(PurgeJob& job) {
  if (!PurgeStepIsOver(job)) return;
  for (const auto& [family, key] : job.rows)
    batch_.Delete(store_->handle(family), key).PermitUncheckedError();
  for (const auto& [family, id, rows] : job.whole) {
    std::string from, to;
    AppendBig64(from, id);
    AppendBig64(to, id + 1);
    batch_.DeleteRange(store_->handle(family), from, to).PermitUncheckedError();
    store_->NoteRangeDeletion(family, rows);
  }
  for (const uint64_t id : job.ids) {
    std::string key;
    format::AppendPurgeKey(key, id);
    batch_.Delete(store_->handle(Family::kSystem), key).PermitUncheckedError();
    ++stats_.purged_objects;
  }
  purged_.insert(purged_.end(), job.ids.begin(), job.ids.end());
  purge_queue_.erase(purge_queue_.begin(), purge_queue_.begin() + static_cast<ptrdiff_t>(job.ids.size()));
  purge_again_ = true;
}

void Keyspace::FinishDropped(PurgeJob& job) {
  if (!PurgeStepIsOver(job)) return;
  for (const uint64_t id : job.ids) {
    std::string key, rows;
    format::AppendPurgeKey(key, id);
    AppendVarint(rows, 0);
    batch_.Put(store_->handle(Family::kSystem), key, rows).PermitUncheckedError();
    new_purges_.push_back(id);
  }
  store_->NoteRangeDeletion(Family::kMetadata, job.heads);  // at the end
  dropped_next_ = job.next;
  purge_again_ = true;
  if (!job.done || reclaiming_) return;
  // The number may be given out again once neither the disk nor RAM knows keys of it.
  std::string from, to;
  const auto db = static_cast<uint16_t>(job.physical);
  format::AppendMetadataKey(from, db, {});
  if (db < 0xffff) {
    format::AppendMetadataKey(to, static_cast<uint16_t>(db + 1), {});
  } else {
    to = std::string(3, '\xff') + std::string(64, '\xff');
  }
  batch_.DeleteRange(store_->handle(Family::kMetadata), from, to).PermitUncheckedError();
  state_.dropped.erase(state_.dropped.begin());
  state_changed_ = true;
  dropped_next_.clear();
}

}  // namespace thermocline
