#include "engine/store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/listener.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/snapshot.h>
#include <rocksdb/statistics.h>
#include <rocksdb/utilities/checkpoint.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "encoding/format.h"
#include "engine/last_read.h"
#include "engine/rocksdb_options.h"

namespace thermocline {

namespace {

constexpr const char* kFamilyNames[kFamilies] = {"default", "metadata", "fields", "scores"};

}  // namespace

/// Counts the families that RocksDB slows or stops, so that the keyspace need not ask before every write.
class StallListener final : public rocksdb::EventListener {
 public:
  explicit StallListener(Store* store) : store_(store) {}
  void OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) override {
    {
      const std::lock_guard lock(mutex_);
      if (info.condition.cur == rocksdb::WriteStallCondition::kNormal) {
        stalled_.erase(info.cf_name);
      } else {
        stalled_.insert(info.cf_name);
      }
      store_->stalled_families_ = static_cast<int>(stalled_.size());
    }
    if (store_->on_stall_change_) store_->on_stall_change_();
  }
  /// A compaction that meets a damaged block gives up, and its tables stay as they are: nothing is lost by
  /// going on to write, while RocksDB on its own would take no more writes. It tries again later; should
  /// tables gather meanwhile, writers are held back as by any compaction that is behind.
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override {
    if (reason == rocksdb::BackgroundErrorReason::kCompaction && error->IsCorruption()) {
      ++store_->damaged_compactions_;
      *error = rocksdb::Status::OK();
    }
  }

 private:
  Store* const store_;
  std::mutex mutex_;
  std::set<std::string> stalled_;
};

Status Store::ToStatus(const rocksdb::Status& status) {
  if (status.ok()) return {};
  const std::string text = status.ToString();
  if (status.IsCorruption()) return {Code::kCorruption, text};
  if (status.IsBusy() || status.IsTryAgain() || status.IsIncomplete()) return {Code::kBusy, text};
  return {Code::kIoError, text};
}

Status Store::ToReadStatus(const rocksdb::Status& status) {
  Status s = ToStatus(status);
  const bool failed = s.code() == Code::kCorruption || s.code() == Code::kIoError;
  const auto names = [&s](const char* ending) { return s.message().find(ending) != std::string::npos; };
  if (!failed || names(".sst") || names(".blob") || LastRead().empty()) return s;
  return {s.code(), s.message() + ", in " + LastRead()};
}

Store::Opened::~Opened() {
  if (db == nullptr) return;
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  // Nothing is lost when closing fails: all that was acknowledged is in the log.
  db->Close().PermitUncheckedError();
}

Status Store::OpenDb(bool read_only, Opened* opened) {
  rocksdb::DBOptions db_options = MakeDbOptions(options_, read_only ? nullptr : statistics_);
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (int i = 0; i < kFamilies; ++i) {
    families.emplace_back(kFamilyNames[i], MakeFamilyOptions(static_cast<Family>(i), options_, block_cache_,
                                                             &deletions_in_level0_[i], &coming_[i]));
  }
  rocksdb::DB* raw = nullptr;
  rocksdb::Status s;
  if (read_only) {
    db_options.create_if_missing = false;
    s = rocksdb::DB::OpenForReadOnly(db_options, path_, families, &opened->handles, &raw);
  } else {
    stalled_families_ = 0;
    db_options.listeners.push_back(std::make_shared<StallListener>(this));
    s = rocksdb::DB::Open(db_options, path_, families, &opened->handles, &raw);
  }
  opened->db.reset(raw);
  return ToStatus(s);
}

void Store::Use(std::unique_ptr<Opened> opened) {
  ++generation_;
  opened_ = std::move(opened);
  db_ = opened_->db.get();
  std::copy(opened_->handles.begin(), opened_->handles.end(), handles_);
  std::fill(std::begin(compacting_level0_), std::end(compacting_level0_), false);
}

/// Looks at the version, read-only: a directory of a newer format is not touched.
Status Store::CheckVersion() {
  rocksdb::DBOptions peek = MakeDbOptions(options_, nullptr);
  peek.create_if_missing = false;
  std::vector<std::string> existing;
  if (!rocksdb::DB::ListColumnFamilies(peek, path_, &existing).ok())
    return {};  // new, or Open will say why not
  rocksdb::DB* raw = nullptr;
  const std::vector<rocksdb::ColumnFamilyDescriptor> only_default = {
      {kFamilyNames[0],
       MakeFamilyOptions(Family::kSystem, options_, block_cache_, &deletions_in_level0_[0], &coming_[0])}};
  Opened reader;
  rocksdb::Status s = rocksdb::DB::OpenForReadOnly(peek, path_, only_default, &reader.handles, &raw);
  if (!s.ok()) return ToStatus(s);
  reader.db.reset(raw);
  std::string value;
  s = raw->Get({}, reader.handles[0], ToSlice(format::kVersionKey), &value);
  if (s.IsNotFound()) {
    // The version is the first row that is ever written: without it a database is new, or somebody else's.
    const std::unique_ptr<rocksdb::Iterator> rows(raw->NewIterator({}, reader.handles[0]));
    rows->SeekToFirst();
    if (!rows->Valid()) return ToStatus(rows->status());
    return {Code::kCorruption,
            "the database in " + path_ + " has no version row: not written by Thermocline"};
  }
  if (!s.ok()) return ToStatus(s);
  uint32_t version;
  std::string_view program;
  if (Status bad = format::DecodeVersion(value, &version, &program); !bad.ok()) return bad;
  if (version <= format::kFormatVersion) return {};
  return {Code::kNotSupported, "the data in " + path_ + " has format version " + std::to_string(version) +
                                   " (written by " + std::string(program) +
                                   "); this program reads up to version " +
                                   std::to_string(format::kFormatVersion) + ". Nothing was changed"};
}

Result<std::unique_ptr<Store>> Store::Open(const std::string& path, const StoreOptions& options,
                                           std::function<void()> on_stall_change) {
  auto store = std::unique_ptr<Store>(new Store());
  store->path_ = path;
  store->env_ = rocksdb::NewCompositeEnv(
      RememberLastRead((options.env != nullptr ? options.env : rocksdb::Env::Default())->GetFileSystem()));
  store->options_ = options;
  store->options_.env = store->env_.get();
  store->on_stall_change_ = std::move(on_stall_change);
  store->block_cache_ = rocksdb::NewLRUCache(options.block_cache_bytes, /*num_shard_bits=*/-1,
                                             /*strict_capacity_limit=*/false, /*high_pri_pool_ratio=*/0.8);
  store->statistics_ = rocksdb::CreateDBStatistics();
  // Counters only: a timer on each read would cost as much as a read from RAM.
  store->statistics_->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
  if (Status s = store->CheckVersion(); !s.ok()) return s;
  auto opened = std::make_unique<Opened>();
  if (Status s = store->OpenDb(/*read_only=*/false, opened.get()); !s.ok()) return s;
  store->Use(std::move(opened));

  rocksdb::PinnableSlice stored;
  Status why;
  const Found found = store->Get(Family::kSystem, format::kVersionKey, &stored, &why);
  if (found == Found::kError) return why;
  uint32_t version = 0;
  std::string_view program;
  if (found == Found::kYes) {
    if (Status bad = format::DecodeVersion(ToView(stored), &version, &program); !bad.ok()) return bad;
  }
  // An older program would misread what this one writes from now on.
  if (version < format::kFormatVersion) {
    std::string value;
    format::AppendVersion(value, format::kFormatVersion, "thermocline");
    rocksdb::WriteOptions write;
    write.sync = true;
    const rocksdb::Status s =
        store->db_->Put(write, store->handle(Family::kSystem), ToSlice(format::kVersionKey), value);
    if (!s.ok()) return ToStatus(s);
  }
  return store;
}

Store::~Store() = default;

namespace {

/// Tells the memtables which keys a batch has for them.
class KeyTeller final : public rocksdb::WriteBatch::Handler {
 public:
  KeyTeller(const rocksdb::WriteBatch& batch, std::span<ComingKeys> coming)
      : end_(batch.Data().data() + batch.Data().size()), coming_(coming) {}
  rocksdb::Status PutCF(uint32_t id, const rocksdb::Slice& key, const rocksdb::Slice& /*value*/) override {
    return Tell(id, key);
  }
  rocksdb::Status DeleteCF(uint32_t id, const rocksdb::Slice& key) override { return Tell(id, key); }
  rocksdb::Status DeleteRangeCF(uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override {
    return {};  // goes elsewhere
  }

 private:
  rocksdb::Status Tell(uint32_t id, const rocksdb::Slice& key) {
    constexpr ptrdiff_t kReadable = 8;
    if (id < coming_.size() && end_ - (key.data() + key.size()) >= kReadable) coming_[id].Add(key);
    return {};
  }
  const char* const end_;
  const std::span<ComingKeys> coming_;
};

}  // namespace

Store::Wrote Store::Write(rocksdb::WriteBatch& batch, bool sync, Status* why) {
  rocksdb::WriteOptions options;
  options.sync = sync;
  options.no_slowdown = true;
  // The families have the ids 0, 1, 2, 3. Should they ever have others, hints are missing.
  if (batch.Count() >= ComingKeys::kGroup) {
    KeyTeller teller(batch, coming_);
    batch.Iterate(&teller).PermitUncheckedError();
  }
  const rocksdb::Status s = db_->Write(options, &batch);
  for (ComingKeys& coming : coming_) coming.Clear();
  if (s.ok()) return Wrote::kYes;
  if (s.IsIncomplete()) return Wrote::kStalled;
  *why = ToStatus(s);
  return Wrote::kFailed;
}

Status Store::Resume() {
  if (read_only_) return {Code::kBusy, "the database is open for reading only"};
  if (Status s = ToStatus(db_->Resume()); !s.ok()) return s;
  // After a failed sync nobody knows what of the log is on the platter: the tables replace it.
  if (Status s = Flush(); !s.ok()) return s;
  return Sync();
}

/// Closing is not to be undone, so it should be likely that opening will succeed.
Status Store::CheckDiskTakesWrites() const {
  const std::string name = path_ + "/PROBE.tmp";
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status s = env_->NewWritableFile(name, &file, rocksdb::EnvOptions());
  constexpr int kProbeMiB = 4;
  const std::string bytes(1 << 20, 'x');
  for (int i = 0; i < kProbeMiB && s.ok(); ++i) s = file->Append(bytes);
  if (s.ok()) s = file->Sync();
  if (s.ok()) s = file->Close();
  file.reset();
  env_->DeleteFile(name).PermitUncheckedError();
  return ToStatus(s);
}

Status Store::Reopen() {
  if (snapshots_ > 0) return {Code::kBusy, "snapshots are in use"};
  if (Status s = CheckDiskTakesWrites(); !s.ok()) return s;
  const std::lock_guard lock(reopen_mutex_);
  // Should opening fail after all, reads are served from this one. It takes no lock, so it can be open
  // beside.
  auto reserve = std::make_unique<Opened>();
  if (Status s = OpenDb(/*read_only=*/true, reserve.get()); !s.ok()) return s;
  opened_.reset();
  auto fresh = std::make_unique<Opened>();
  Status s = OpenDb(/*read_only=*/false, fresh.get());
  read_only_ = !s.ok();
  Use(s.ok() ? std::move(fresh) : std::move(reserve));
  if (!s.ok()) return s;
  reserve.reset();
  // What was replayed came from the page cache, and the platter may not have it: a failed sync is not
  // repeated.
  return Flush();
}

Status Store::Sync() {
  const std::lock_guard lock(reopen_mutex_);
  return ToStatus(db_->SyncWAL());
}

Status Store::Flush() {
  const std::vector<rocksdb::ColumnFamilyHandle*> all(std::begin(handles_), std::end(handles_));
  return ToStatus(db_->Flush(rocksdb::FlushOptions(), all));
}

uint64_t Store::BytesBetween(Family family, std::string_view from, std::string_view to) const {
  const rocksdb::Range range(ToSlice(from), ToSlice(to));
  uint64_t bytes = 0;
  db_->GetApproximateSizes({}, handle(family), &range, 1, &bytes).PermitUncheckedError();
  return bytes;
}

// A failure is RocksDB's to tell: it makes the next write fail.
bool Store::GiveBack() {
  bool again = false;
  for (const Family family : {Family::kMetadata, Family::kFields, Family::kScores}) {
    const auto i = static_cast<size_t>(family);
    const uint64_t ranges = rows_in_ranges_[i];
    const uint64_t deletions =
        IntProperty(family, rocksdb::DB::Properties::kNumDeletesActiveMemTable) + ranges;
    const uint64_t entries = IntProperty(family, rocksdb::DB::Properties::kNumEntriesActiveMemTable) + ranges;
    // Of few deletions among many keys the flush and the compaction would cost more than they give back.
    const uint64_t keys = IntProperty(family, rocksdb::DB::Properties::kEstimateNumKeys);
    if (MostlyDeletions(entries, deletions) && deletions >= keys / 50 &&
        db_->Flush(rocksdb::FlushOptions(), handle(family)).ok()) {
      rows_in_ranges_[i] -= ranges;
    }
    // With a trigger of one table RocksDB compacts all that level 0 has, and nothing else.
    const bool compact = deletions_in_level0_[i].exchange(false);
    if (compact != compacting_level0_[i]) {
      const int trigger = compact ? 1 : kLevel0TablesMax;
      db_->SetOptions(handle(family), {{"level0_file_num_compaction_trigger", std::to_string(trigger)}})
          .PermitUncheckedError();
      compacting_level0_[i] = compact;
    }
    again |= compact;
  }
  return again;
}

namespace {

Store::Found ToFound(const rocksdb::Status& s, Status* why) {
  if (s.ok()) return Store::Found::kYes;
  if (s.IsNotFound()) return Store::Found::kNo;
  if (s.IsIncomplete()) return Store::Found::kNeedsDisk;
  *why = Store::ToReadStatus(s);
  return Store::Found::kError;
}

}  // namespace

Store::Found Store::GetCached(Family family, std::string_view key, rocksdb::PinnableSlice* value,
                              Status* why) const {
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kBlockCacheTier;
  return ToFound(db_->Get(options, handle(family), ToSlice(key), value), why);
}

Store::Found Store::Get(Family family, std::string_view key, rocksdb::PinnableSlice* value,
                        Status* why) const {
  return ToFound(db_->Get({}, handle(family), ToSlice(key), value), why);
}

void Store::MultiGet(Family family, const std::vector<std::string_view>& keys,
                     std::vector<rocksdb::PinnableSlice>* values, std::vector<Found>* found,
                     std::vector<Status>* why) const {
  std::vector<rocksdb::Slice> slices;
  slices.reserve(keys.size());
  for (const std::string_view key : keys) slices.push_back(ToSlice(key));
  std::vector<rocksdb::Status> statuses(keys.size());
  values->resize(keys.size());
  found->resize(keys.size());
  why->resize(keys.size());
  rocksdb::ReadOptions options;
  // What is read of a metadata row goes to the hot tier. The other keys of the block are not asked for sooner
  // than any, so it need not take the place of others, nor of indexes.
  options.fill_cache = family != Family::kMetadata;
  db_->MultiGet(options, handle(family), keys.size(), slices.data(), values->data(), statuses.data());
  for (size_t i = 0; i < keys.size(); ++i) {
    (*found)[i] = ToFound(statuses[i], &(*why)[i]);
    // Once more by itself, so that the file that was read last is this key's.
    if ((*found)[i] == Found::kError) (*found)[i] = Get(family, keys[i], &(*values)[i], &(*why)[i]);
  }
}

Store::ScanIterator Store::Scan(Family family, ScanOptions scan) const {
  ScanIterator result;
  result.options = std::make_unique<ScanOptions>(std::move(scan));
  result.bounds = std::make_unique<rocksdb::Slice[]>(2);
  rocksdb::ReadOptions options;
  options.snapshot = result.options->snapshot;
  options.fill_cache = result.options->fill_cache;
  if (result.options->cached_only) options.read_tier = rocksdb::kBlockCacheTier;
  if (!result.options->lower.empty()) {
    result.bounds[0] = result.options->lower;
    options.iterate_lower_bound = &result.bounds[0];
  }
  if (!result.options->upper.empty()) {
    result.bounds[1] = result.options->upper;
    options.iterate_upper_bound = &result.bounds[1];
  }
  result.it.reset(db_->NewIterator(options, handle(family)));
  return result;
}

bool Store::ScanPastDamage(Family family, ScanOptions options,
                           const std::function<bool(std::string_view key, std::string_view value)>& visit,
                           Status* failure) const {
  std::string from = options.lower;
  ScanIterator scan = Scan(family, options);
  for (scan.it->SeekToFirst();;) {
    for (; scan.it->Valid(); scan.it->Next()) {
      from.assign(ToView(scan.it->key()));
      if (!visit(from, ToView(scan.it->value()))) return false;
    }
    if (scan.it->status().ok()) return true;
    if (failure->ok()) *failure = ToReadStatus(scan.it->status());
    if (!scan.it->status().IsCorruption()) return false;
    // Where the next block begins nobody knows: keys further and further away are tried.
    if (!NextReadable(family, &options, from, &scan)) return true;
  }
}

/// Moves the scan to the first key of those tried behind `from` from which on it can be read. False: there is
/// none.
bool Store::NextReadable(Family family, ScanOptions* options, const std::string& from,
                         ScanIterator* scan) const {
  constexpr size_t kBytesMax = 256;
  for (size_t size = std::min(from.size(), kBytesMax); size > 0; --size) {
    for (int step = 1; step <= 0xff - static_cast<uint8_t>(from[size - 1]); step *= 2) {
      options->lower = from.substr(0, size);
      options->lower.back() = static_cast<char>(options->lower.back() + step);
      if (!options->upper.empty() && options->lower >= options->upper) return false;
      *scan = Scan(family, *options);
      scan->it->SeekToFirst();
      if (scan->it->Valid() || !scan->it->status().IsCorruption()) return true;
    }
  }
  return false;
}

std::shared_ptr<const rocksdb::Snapshot> Store::TakeSnapshot() const {
  ++snapshots_;
  return {db_->GetSnapshot(), [this](const rocksdb::Snapshot* snapshot) {
            db_->ReleaseSnapshot(snapshot);
            --snapshots_;
          }};
}

Status Store::Checkpoint(const std::string& path) const {
  rocksdb::Checkpoint* raw = nullptr;
  rocksdb::Status s = rocksdb::Checkpoint::Create(db_, &raw);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(raw);
  if (s.ok()) s = checkpoint->CreateCheckpoint(path);
  return ToStatus(s);
}

uint64_t Store::IntProperty(Family family, const std::string& name) const {
  uint64_t value = 0;
  db_->GetIntProperty(handle(family), name, &value);
  return value;
}

std::string Store::TextProperty(Family family, const std::string& name) const {
  std::string value;
  db_->GetProperty(handle(family), name, &value);
  return value;
}

uint64_t Store::Ticker(uint32_t ticker) const { return statistics_->getTickerCount(ticker); }

uint64_t Store::block_cache_usage_bytes() const { return block_cache_->GetUsage(); }

uint64_t Store::memtable_bytes() const {
  uint64_t sum = 0;
  for (int i = 0; i < kFamilies; ++i) {
    sum += IntProperty(static_cast<Family>(i), rocksdb::DB::Properties::kSizeAllMemTables);
  }
  return sum;
}

uint64_t Store::disk_bytes() const {
  uint64_t sum = 0;
  for (int i = 0; i < kFamilies; ++i) {
    const auto family = static_cast<Family>(i);
    sum += IntProperty(family, rocksdb::DB::Properties::kTotalSstFilesSize);
    sum += IntProperty(family, rocksdb::DB::Properties::kTotalBlobFileSize);
  }
  return sum;
}

void Store::SetBlockCacheBytes(uint64_t bytes) { block_cache_->SetCapacity(bytes); }

}  // namespace thermocline
