#pragma once

#include <rocksdb/options.h>

#include <memory>

#include "engine/store.h"

namespace thermocline {

/// The settings of the database and of one family. Every choice has its reason in rocksdb_options.cc.
rocksdb::DBOptions MakeDbOptions(const StoreOptions& options,
                                 std::shared_ptr<rocksdb::Statistics> statistics);
rocksdb::ColumnFamilyOptions MakeFamilyOptions(Family family, const StoreOptions& options,
                                               std::shared_ptr<rocksdb::Cache> block_cache);

/// Whether what holds so many entries is worth a compaction of its own for the space that it gives back.
inline bool MostlyDeletions(uint64_t entries, uint64_t deletions) {
  return deletions >= 1000 && deletions >= entries / 4 * 3;
}

}  // namespace thermocline
