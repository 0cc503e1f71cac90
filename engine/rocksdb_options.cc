#include "engine/rocksdb_options.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/statistics.h>
#include <rocksdb/table.h>

#include "engine/memtable.h"

namespace thermocline {

namespace {

// What a range deletion in a table counts for: ranges are for many rows, how many is not known there.
constexpr uint64_t kRowsPerRange = 1000;

/// Has a table compacted soon that holds little but deletions: until then what they delete takes up the disk.
/// Three of four: half of what a busy queue or a sorted set writes are deletions, too, whose compaction can
/// wait for its turn. (RocksDB's CompactOnDeletionCollector looks for many in a row, which a table of nothing
/// but a few thousand need not have.)
///
/// In level 0 it is not compacted at once: a flood of deletions would have the whole family rewritten for
/// each memtable. Store::GiveBack compacts several together.
class DeletionCollector final : public rocksdb::TablePropertiesCollector {
 public:
  explicit DeletionCollector(std::atomic<bool>* level0) : level0_(level0) {}
  rocksdb::Status AddUserKey(const rocksdb::Slice& /*key*/, const rocksdb::Slice& /*value*/,
                             rocksdb::EntryType type, rocksdb::SequenceNumber /*sequence*/,
                             uint64_t /*file_size*/) override {
    const bool range = type == rocksdb::kEntryRangeDeletion;
    const uint64_t entries = range ? kRowsPerRange : 1;
    entries_ += entries;
    if (range || type == rocksdb::kEntryDelete) deletions_ += entries;
    return rocksdb::Status::OK();
  }
  bool NeedCompact() const override { return level0_ == nullptr && MostlyDeletions(entries_, deletions_); }
  rocksdb::Status Finish(rocksdb::UserCollectedProperties* /*properties*/) override {
    if (level0_ != nullptr && MostlyDeletions(entries_, deletions_)) *level0_ = true;
    return rocksdb::Status::OK();
  }
  rocksdb::UserCollectedProperties GetReadableProperties() const override { return {}; }
  const char* Name() const override { return "ThermoclineDeletions"; }

 private:
  std::atomic<bool>* level0_;  ///< nullptr: a table of another level
  uint64_t entries_ = 0;
  uint64_t deletions_ = 0;
};

class DeletionCollectorFactory final : public rocksdb::TablePropertiesCollectorFactory {
 public:
  explicit DeletionCollectorFactory(std::atomic<bool>* level0) : level0_(level0) {}
  rocksdb::TablePropertiesCollector* CreateTablePropertiesCollector(Context context) override {
    return new DeletionCollector(context.level_at_creation == 0 ? level0_ : nullptr);
  }
  const char* Name() const override { return "ThermoclineDeletions"; }

 private:
  std::atomic<bool>* level0_;
};

}  // namespace

rocksdb::DBOptions MakeDbOptions(const StoreOptions& options,
                                 std::shared_ptr<rocksdb::Statistics> statistics) {
  rocksdb::DBOptions db;
  db.create_if_missing = true;
  db.create_missing_column_families = true;
  db.env = options.env;
  db.max_open_files =
      options.open_files_max;  // all tables stay open: a cold read must not begin with an open()
  db.max_background_jobs = options.background_jobs;
  // Past the page cache a cold read costs a fifth less CPU: no page is taken from others, charged to a memory
  // limit and copied. But who has memory to spare for the page cache has there a second, larger block cache.
  db.use_direct_reads = options.direct_reads;
  db.max_subcompactions = 1;  // few cores: leave them to reads and to the keyspace thread
  db.statistics = std::move(statistics);
  db.stats_dump_period_sec = 0;     // INFO shows them
  db.stats_persist_period_sec = 0;  // no rows of RocksDB's own beside ours
  db.keep_log_file_num = 3;
  db.max_log_file_size = 8 << 20;
  db.max_manifest_file_size = 16 << 20;

  // One thread writes, one batch per turn: nothing to gather, nobody to wait for, no atomic inserts.
  db.allow_concurrent_memtable_write = false;
  db.enable_write_thread_adaptive_yield = false;

  // What all memtables take together: the active ones of three families, and one more that is being flushed.
  db.db_write_buffer_size = kMemtablesPerStore * options.write_buffer_bytes;

  // The log is synced by appendfsync, not by size. A bound on its length bounds the time of a restart.
  db.max_total_wal_size = 8 * options.write_buffer_bytes;
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  // A restart keeps what it replayed in memtables instead of writing small tables first.
  db.avoid_flush_during_recovery = true;
  db.bytes_per_sync = 1 << 20;  // tables reach the disk evenly, not in one burst at their end
  // Obsolete files are deleted by background threads, never on the reader that held them last.
  db.avoid_unnecessary_blocking_io = true;
  // A full disk is noticed and retried by the keyspace's own timer, which also tells the clients.
  db.max_bgerror_resume_count = 2147483647;
  if (options.rate_limit_bytes_per_second > 0) {
    // Only writes of flush and compaction are limited; flush has the higher priority.
    db.rate_limiter.reset(
        rocksdb::NewGenericRateLimiter(static_cast<int64_t>(options.rate_limit_bytes_per_second), 100'000, 10,
                                       rocksdb::RateLimiter::Mode::kWritesOnly,
                                       /*auto_tuned=*/false));
  }
  return db;
}

rocksdb::ColumnFamilyOptions MakeFamilyOptions(Family family, const StoreOptions& options,
                                               std::shared_ptr<rocksdb::Cache> block_cache,
                                               std::atomic<bool>* deletions_in_level0, ComingKeys* coming) {
  rocksdb::ColumnFamilyOptions cf;
  // Four of them ride out a compaction before writes are slowed. Each compaction of level 0 reads and writes
  // the level below as well, so that twice the memtable is half the work: SETs of 1 KiB all over a million
  // keys take 15 us of CPU with 16 MiB, 9 with 32. With our trees a put into a larger one costs little more.
  cf.write_buffer_size = family == Family::kSystem ? std::min<uint64_t>(options.write_buffer_bytes, 1 << 20)
                                                   : options.write_buffer_bytes;
  cf.max_write_buffer_number = 4;
  cf.min_write_buffer_number_to_merge = 1;
  // Memtables are our own trees: a random insert takes 0.16 us instead of the skip list's 0.9 (16 MiB of
  // 100-byte entries; 0.35 instead of 1.7 with 64 MiB), a Get 0.3 instead of 1.2, for 5 bytes more per entry.
  // That is a third of the keyspace thread's time under small random writes.
  cf.memtable_factory = NewTreeMemTableFactory(cf.comparator, coming);
  cf.arena_block_size = 256 << 10;  // an idle family costs little

  cf.level0_file_num_compaction_trigger = kLevel0TablesMax;
  cf.level0_slowdown_writes_trigger = 24;
  cf.level0_stop_writes_trigger = 40;
  cf.target_file_size_base = 32 << 20;
  cf.max_bytes_for_level_base = 256 << 20;
  // Levels are sized from the last one upwards: space amplification stays near 1.1 at any size.
  cf.level_compaction_dynamic_level_bytes = true;

  cf.compression = rocksdb::kLZ4Compression;
  cf.compression_per_level = {rocksdb::kNoCompression, rocksdb::kNoCompression, rocksdb::kLZ4Compression};
  // Most data is at the bottom and is written there once: worth the stronger codec.
  if (options.zstd_bottom) {
    cf.bottommost_compression = rocksdb::kZSTD;
    cf.bottommost_compression_opts.enabled = true;
    cf.bottommost_compression_opts.level = 1;  // 3 saves a few percent more and costs twice the CPU
  }

  cf.table_properties_collector_factories.push_back(
      std::make_shared<DeletionCollectorFactory>(deletions_in_level0));

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(block_cache);
  table.block_size = 8 << 10;  // a packed object or an inline string is one block, hence one disk read
  table.format_version = 5;    // the faster filters
  table.checksum = rocksdb::kXXH3;
  // Whole-key filters: every read that matters is a point read. Bloom, not Ribbon: Ribbon saves a third of
  // the memory (0.4 bytes per key) but building it took a quarter of all compaction time under a load of
  // small writes.
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.whole_key_filtering = true;
  table.optimize_filters_for_memory = true;
  // Indexes and filters live in the one cache that is budgeted, above data blocks; those of level 0 are
  // pinned.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  // Partitioned, because under a tight limit they do not fit into the cache (11 MB for a million keys of 1
  // KiB): what a read then has to fetch is 4 KiB of an index, not the 100 to 200 of a whole table.
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.metadata_block_size = 4096;
  table.pin_top_level_index_and_filter = true;
  table.index_block_restart_interval = 8;  // neighbouring keys share most of their bytes
  // A hash index in each data block spares the binary search of point reads.
  table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
  cf.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));

  // Misses are common (SET of a new key asks first), so the last level keeps its filters too.
  cf.optimize_filters_for_hits = false;

  // Mid-size values stay out of the tree: compaction does not rewrite them, and a key's row stays small.
  if (options.blob_bytes_min > 0 && (family == Family::kMetadata || family == Family::kFields)) {
    cf.enable_blob_files = true;
    cf.min_blob_size = options.blob_bytes_min;
    cf.blob_file_size = 128 << 20;
    cf.blob_compression_type = rocksdb::kLZ4Compression;
    cf.enable_blob_garbage_collection = true;
    cf.blob_garbage_collection_age_cutoff = 0.1;
    cf.blob_garbage_collection_force_threshold = 0.5;
  }
  return cf;
}

}  // namespace thermocline
