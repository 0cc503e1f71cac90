#pragma once

#include <rocksdb/memtablerep.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace rocksdb {
class Comparator;
}

namespace thermocline {

/// Which keys a write batch is about to insert into the memtable of one family, in the order in which it
/// will. An insert of a random key waits for three or four cache misses, one after the other; the tree looks
/// some keys ahead and has them fetched side by side. No more than a hint: wrong or missing keys cost time
/// only. The writer's thread only. (The idea: group prefetching, Chen et al., "Improving Hash Join
/// Performance through Prefetching", ICDE 2004.)
class ComingKeys {
 public:
  /// A user key. It must stay until Clear(), and the 8 bytes behind it be readable.
  void Add(const rocksdb::Slice& user_key) { keys_.push_back(user_key); }
  void Clear() {
    keys_.clear();
    inserted_ = 0;
  }
  /// Counts an insert. When it is the first of a group: that group, else nothing.
  std::span<const rocksdb::Slice> Next() {
    const size_t i = inserted_;
    if (i >= keys_.size()) return {};
    ++inserted_;
    if (i % kGroup != 0) return {};
    return std::span(keys_).subspan(i, std::min(kGroup, keys_.size() - i));
  }

  static constexpr size_t kGroup = 16;

 private:
  std::vector<rocksdb::Slice> keys_;
  size_t inserted_ = 0;
};

/// Makes the memtables of a column family: B+ trees whose nodes are searched by comparing integers in
/// contiguous memory. RocksDB's skip list meets a new node and a new key, two cache misses, at each of some
/// 25 comparisons. Only BytewiseComparator() is understood; for any other `comparator` the result is
/// RocksDB's own skip list. REQUIRES: allow_concurrent_memtable_write is off (RocksDB refuses to open
/// otherwise). Threads: one writer at a time; readers and iterators on any thread, at any time. The writer
/// never waits for them. `coming` must outlive the memtables.
std::shared_ptr<rocksdb::MemTableRepFactory> NewTreeMemTableFactory(const rocksdb::Comparator* comparator,
                                                                    ComingKeys* coming);

}  // namespace thermocline
