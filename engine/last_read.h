#pragma once

#include <rocksdb/file_system.h>

#include <memory>
#include <string>

namespace thermocline {

/// The file system `base`, which also remembers for each thread which file it has read last. Of a block of a
/// table that is damaged RocksDB's message tells the file, of a blob it does not.
std::shared_ptr<rocksdb::FileSystem> RememberLastRead(std::shared_ptr<rocksdb::FileSystem> base);
/// The path of the file that this thread has read last through such a file system. Empty: it has read none.
const std::string& LastRead();

}  // namespace thermocline
