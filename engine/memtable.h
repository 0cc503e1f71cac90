#pragma once

#include <rocksdb/memtablerep.h>

#include <memory>

namespace rocksdb {
class Comparator;
}

namespace thermocline {

/// Makes the memtables of a column family: B+ trees whose nodes are searched by comparing integers in
/// contiguous memory. RocksDB's skip list meets a new node and a new key, two cache misses, at each of some
/// 25 comparisons. Only BytewiseComparator() is understood; for any other `comparator` the result is
/// RocksDB's own skip list. REQUIRES: allow_concurrent_memtable_write is off (RocksDB refuses to open
/// otherwise). Threads: one writer at a time; readers and iterators on any thread, at any time. The writer
/// never waits for them.
std::shared_ptr<rocksdb::MemTableRepFactory> NewTreeMemTableFactory(const rocksdb::Comparator* comparator);

}  // namespace thermocline
