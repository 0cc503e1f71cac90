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

}  // namespace thermocline
