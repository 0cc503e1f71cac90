#pragma once

#include <rocksdb/options.h>

#include <atomic>
#include <memory>

#include "engine/store.h"

namespace thermocline {

/// The settings of the database and of one family. Every choice has its reason in rocksdb_options.cc.
/// `deletions_in_level0` is set when a table of little but deletions is written there. It and `coming` must
/// outlive the database.
rocksdb::DBOptions MakeDbOptions(const StoreOptions& options,
                                 std::shared_ptr<rocksdb::Statistics> statistics);
rocksdb::ColumnFamilyOptions MakeFamilyOptions(Family family, const StoreOptions& options,
                                               std::shared_ptr<rocksdb::Cache> block_cache,
                                               std::atomic<bool>* deletions_in_level0, ComingKeys* coming);

/// Small tables come often with small memtables: so many gather in level 0 before a compaction. The bloom
/// filters keep point reads cheap meanwhile.
inline constexpr int kLevel0TablesMax = 8;

/// Whether what holds so many entries is worth a compaction of its own for the space that it gives back.
inline bool MostlyDeletions(uint64_t entries, uint64_t deletions) {
  return deletions >= 1000 && deletions >= entries / 4 * 3;
}

}  // namespace thermocline
