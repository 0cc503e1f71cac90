#pragma once

#include <rocksdb/iterator.h>
#include <rocksdb/slice.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "encoding/status.h"
#include "engine/memtable.h"
#include "engine/object.h"

namespace rocksdb {
class DB;
class Env;
class Cache;
class ColumnFamilyHandle;
class Snapshot;
class Statistics;
}  // namespace rocksdb

namespace thermocline {

/// Column families; see encoding/format.h for what is in them.
enum class Family : uint8_t { kSystem, kMetadata, kFields, kScores };
inline constexpr int kFamilies = 4;

/// Where the rows of a spread object's space are.
inline Family FamilyOf(RowSpace space) {
  return space == RowSpace::kFields ? Family::kFields : Family::kScores;
}

inline rocksdb::Slice ToSlice(std::string_view view) { return {view.data(), view.size()}; }
inline std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

/// All memtables together take so many times StoreOptions::write_buffer_bytes.
inline constexpr uint64_t kMemtablesPerStore = 4;

/// What an operator may set of RocksDB; engine/rocksdb_options.cc has the rest, each with its reason.
struct StoreOptions {
  uint64_t block_cache_bytes = 64 << 20;
  uint64_t write_buffer_bytes = 32 << 20;    ///< one memtable of one family
  int background_jobs = 2;                   ///< flush and compaction threads
  uint64_t rate_limit_bytes_per_second = 0;  ///< of flush and compaction; 0: none
  bool zstd_bottom = true;
  bool direct_reads = false;       ///< past the system's page cache
  uint64_t blob_bytes_min = 4096;  ///< values from this size go to blob files; 0: none do
  int open_files_max = -1;
  rocksdb::Env* env = nullptr;  ///< for tests that inject faults; nullptr: the machine's
};

/// The RocksDB database of one directory: opened, checked, written, read, synced. Knows families and bytes,
/// but not what the rows mean. Thread-safe, except Write, which one thread may call.
class Store {
 public:
  enum class Found : uint8_t { kYes, kNo, kNeedsDisk, kError };
  enum class Wrote : uint8_t {
    kYes,
    kStalled,  ///< RocksDB cannot take more for now (flush or compaction is behind); nothing was written
    kFailed,   ///< the disk failed or is full; the log's state is unknown until Recover() succeeds
  };

  /// Opens or creates the database at `path`. Refuses, and touches nothing, when its format version is newer.
  /// `on_stall_change` is called from RocksDB's threads whenever stalled() may have changed.
  static Result<std::unique_ptr<Store>> Open(const std::string& path, const StoreOptions& options,
                                             std::function<void()> on_stall_change);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  rocksdb::ColumnFamilyHandle* handle(Family family) const { return handles_[static_cast<int>(family)]; }

  /// Writes `batch` with one log write; with `sync` it is on the platter before this returns. Never waits for
  /// flush or compaction. `why` is set when kFailed.
  Wrote Write(rocksdb::WriteBatch& batch, bool sync, Status* why);
  /// Writers should hold back. Changes on RocksDB's threads.
  bool stalled() const { return stalled_families_.load(std::memory_order_relaxed) > 0; }
  /// After a failed write or sync: brings the database back to a state that can be written, without losing
  /// what was acknowledged; reads go on meanwhile. Not all errors can be mended so: then Reopen(). Blocking.
  Status Resume();
  /// Closes the database and opens it again, as a restart would: of a write that failed, all or nothing is
  /// there afterwards. Changes nothing when the disk cannot be written yet. Whatever happens, the database
  /// can be read afterwards. Blocking: it replays the log. kBusy while there are snapshots. REQUIRES: no
  /// other thread reads, no iterator or value read from the database is in use.
  Status Reopen();
  /// Changes when Reopen has replaced the database, be it by one for reading only.
  uint64_t generation() const { return generation_; }
  /// Makes all that was written so far durable. Blocking; any thread.
  Status Sync();

  /// Writes the memtables out to tables. Blocking; any thread.
  Status Flush();
  /// A batch that is written soon deletes about so many rows of the family by a range. (RocksDB counts
  /// deletions of single rows only.)
  void NoteRangeDeletion(Family family, uint64_t rows) {
    rows_in_ranges_[static_cast<size_t>(family)] += rows;
  }
  /// About how many bytes on disk lie between the keys.
  uint64_t BytesBetween(Family family, std::string_view from, std::string_view to) const;
  /// Gives back what has been deleted, which without new writes would stay on the disk for ever: writes
  /// memtables out that hold little but deletions, and has level 0 compacted where there are tables of that
  /// kind. True: to be called again within a second or two, since that lasts until then. Blocking; a reader
  /// thread, one at a time.
  bool GiveBack();

  /// Reads without touching the disk: kNeedsDisk when the caches do not hold the answer.
  Found GetCached(Family family, std::string_view key, rocksdb::PinnableSlice* value, Status* why) const;
  /// Reads, from the disk if need be. Blocking. Never kNeedsDisk.
  Found Get(Family family, std::string_view key, rocksdb::PinnableSlice* value, Status* why) const;
  /// Reads several keys of one family, from the disk if need be, in one call to RocksDB.
  void MultiGet(Family family, const std::vector<std::string_view>& keys,
                std::vector<rocksdb::PinnableSlice>* values, std::vector<Found>* found,
                std::vector<Status>* why) const;

  struct ScanOptions {
    const rocksdb::Snapshot* snapshot = nullptr;
    bool cached_only = false;  ///< the iterator becomes Incomplete where disk is needed
    bool fill_cache = true;    ///< false for scans over data that nobody asked for by key
    std::string lower;  ///< inclusive; empty: none. Both must outlive the iterator: kept by ScanIterator.
    std::string upper;  ///< exclusive; empty: none
  };
  /// An iterator together with the bounds that it refers to.
  struct ScanIterator {
    std::unique_ptr<ScanOptions> options;
    std::unique_ptr<rocksdb::Slice[]> bounds;
    std::unique_ptr<rocksdb::Iterator> it;
  };
  ScanIterator Scan(Family family, ScanOptions options) const;
  /// Calls `visit(key, value)` for the rows within the bounds, in order, until it returns false. Passes over
  /// blocks that are damaged and goes on behind them; `failure` is then the first such block's. An I/O error,
  /// which may pass, ends the scan. For background work, which one block must not stop for ever. Returns
  /// whether the end was reached.
  bool ScanPastDamage(Family family, ScanOptions options,
                      const std::function<bool(std::string_view key, std::string_view value)>& visit,
                      Status* failure) const;

  /// A consistent view of everything written so far. Released when the handle goes; any thread.
  std::shared_ptr<const rocksdb::Snapshot> TakeSnapshot() const;

  /// A consistent copy at `path` (which must not exist) that can be opened by itself; hard links where
  /// possible.
  Status Checkpoint(const std::string& path) const;

  /// RocksDB's own numbers, for INFO and MEMORY.
  uint64_t IntProperty(Family family, const std::string& name) const;
  std::string TextProperty(Family family, const std::string& name) const;
  uint64_t Ticker(uint32_t ticker) const;
  uint64_t block_cache_usage_bytes() const;
  uint64_t memtable_bytes() const;
  uint64_t disk_bytes() const;
  /// Compactions that have met a damaged block. RocksDB's own log (rocksdb/LOG) names the file.
  uint64_t damaged_compactions() const { return damaged_compactions_; }
  void SetBlockCacheBytes(uint64_t bytes);

  static Status ToStatus(const rocksdb::Status& status);
  /// The same for a read by this thread that has just come to its end: a failure's text names the file.
  static Status ToReadStatus(const rocksdb::Status& status);

 private:
  friend class StallListener;
  /// An open database with the handles of its families.
  struct Opened {
    ~Opened();
    std::unique_ptr<rocksdb::DB> db;
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
  };
  Store() = default;
  Status OpenDb(bool read_only, Opened* opened);
  void Use(std::unique_ptr<Opened> opened);
  Status CheckVersion();
  Status CheckDiskTakesWrites() const;
  bool NextReadable(Family family, ScanOptions* options, const std::string& from, ScanIterator* scan) const;

  std::string path_;
  StoreOptions options_;
  std::unique_ptr<rocksdb::Env> env_;
  std::shared_ptr<rocksdb::Cache> block_cache_;
  std::shared_ptr<rocksdb::Statistics> statistics_;
  // These two are used by what is open.
  std::atomic<bool> deletions_in_level0_[kFamilies] = {};
  ComingKeys coming_[kFamilies];
  std::unique_ptr<Opened> opened_;
  rocksdb::DB* db_ = nullptr;  ///< opened_'s
  rocksdb::ColumnFamilyHandle* handles_[kFamilies] = {};
  std::mutex
      reopen_mutex_;  ///< held while db_ changes, and by those who use it from threads of their own (Sync)
  uint64_t generation_ = 0;
  bool read_only_ = false;  ///< Reopen came half way: what is open serves reads only
  mutable std::atomic<int> snapshots_{0};
  std::atomic<int> stalled_families_{0};
  std::atomic<uint64_t> damaged_compactions_{0};
  std::atomic<uint64_t> rows_in_ranges_[kFamilies] = {};  ///< since GiveBack wrote that family's out
  bool compacting_level0_[kFamilies] = {};                ///< GiveBack's
  std::function<void()> on_stall_change_;
};

}  // namespace thermocline
