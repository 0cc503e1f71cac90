#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <memory>
#include <string>

namespace thermocline {

/// The machine's file system, whose operations fail on demand. A fault stays until it is lifted. Thread-safe.
class FaultFs final : public rocksdb::FileSystemWrapper {
 public:
  enum class Fault : int {
    kNone,
    kNoSpace,     ///< no file takes another byte, none can be made
    kLogAppend,   ///< writing to the log fails, half of the bytes are written
    kLogSync,     ///< syncing the log fails; the bytes are in the file
    kTableWrite,  ///< writing a table fails
    kTableRead,   ///< reading a table fails
    kAllWrites,   ///< everything but reading fails: as a crash, nothing reaches the disk any more
    kManifest,    ///< a manifest can be neither made nor written: opening fails
  };

  FaultFs() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FaultFs"; }
  void Set(Fault fault) { fault_ = fault; }
  /// Appends to tables wait until this is taken back: flushes do not end.
  void HoldTables(bool hold) { hold_tables_ = hold; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    const Fault fault = fault_;
    if (fault == Fault::kNoSpace) return NoSpace();
    if (fault == Fault::kAllWrites || (fault == Fault::kManifest && IsManifest(name))) return Error();
    rocksdb::IOStatus s = target()->NewWritableFile(name, options, file, debug);
    if (s.ok()) file->reset(new Writable(this, name, std::move(*file)));
    return s;
  }
  rocksdb::IOStatus NewRandomAccessFile(const std::string& name, const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus s = target()->NewRandomAccessFile(name, options, file, debug);
    if (s.ok()) file->reset(new Readable(this, std::move(*file)));
    return s;
  }

 private:
  static bool EndsWith(const std::string& name, const char* end) {
    return name.size() >= 4 && name.compare(name.size() - 4, 4, end) == 0;
  }
  static bool IsManifest(const std::string& name) { return name.find("/MANIFEST-") != std::string::npos; }
  static rocksdb::IOStatus Error() { return rocksdb::IOStatus::IOError("injected"); }
  static rocksdb::IOStatus NoSpace() {
    rocksdb::IOStatus s = rocksdb::IOStatus::NoSpace("injected");
    s.SetRetryable(true);  // as RocksDB's own file system says it
    return s;
  }

  class Writable final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    Writable(FaultFs* fs, const std::string& name, std::unique_ptr<rocksdb::FSWritableFile>&& file)
        : FSWritableFileOwnerWrapper(std::move(file)),
          fs_(fs),
          log_(EndsWith(name, ".log") || EndsWith(name, ".tmp")),  // what probes for the log meets its faults
          table_(EndsWith(name, ".sst") || EndsWith(name, "blob")),
          manifest_(IsManifest(name)) {}
    using FSWritableFileOwnerWrapper::Append;
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      while (table_ && fs_->hold_tables_) rocksdb::Env::Default()->SleepForMicroseconds(500);
      switch (fs_->fault_) {
        case Fault::kNoSpace: return NoSpace();
        case Fault::kAllWrites: return Error();
        case Fault::kLogAppend:
          if (!log_) break;
          (void)target()->Append({data.data(), data.size() / 2}, options, debug);
          return Error();
        case Fault::kTableWrite:
          if (table_) return Error();
          break;
        case Fault::kManifest:
          if (manifest_) return Error();
          break;
        default: break;
      }
      return target()->Append(data, options, debug);
    }
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             const rocksdb::DataVerificationInfo&, rocksdb::IODebugContext* debug) override {
      return Append(data, options, debug);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      if (fs_->fault_ == Fault::kAllWrites || (log_ && fs_->fault_ == Fault::kLogSync)) return Error();
      return target()->Sync(options, debug);
    }
    rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      return Sync(options, debug);
    }

   private:
    FaultFs* const fs_;
    const bool log_;
    const bool table_;
    const bool manifest_;
  };

  class Readable final : public rocksdb::FSRandomAccessFileOwnerWrapper {
   public:
    Readable(FaultFs* fs, std::unique_ptr<rocksdb::FSRandomAccessFile>&& file)
        : FSRandomAccessFileOwnerWrapper(std::move(file)), fs_(fs) {}
    rocksdb::IOStatus Read(uint64_t offset, size_t size, const rocksdb::IOOptions& options,
                           rocksdb::Slice* result, char* scratch,
                           rocksdb::IODebugContext* debug) const override {
      if (fs_->fault_ == Fault::kTableRead) return Error();
      return target()->Read(offset, size, options, result, scratch, debug);
    }
    rocksdb::IOStatus MultiRead(rocksdb::FSReadRequest* requests, size_t count,
                                const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      if (fs_->fault_ != Fault::kTableRead) return target()->MultiRead(requests, count, options, debug);
      for (size_t i = 0; i < count; ++i) requests[i].status = Error();
      return rocksdb::IOStatus::OK();
    }

   private:
    FaultFs* const fs_;
  };

  std::atomic<Fault> fault_{Fault::kNone};
  std::atomic<bool> hold_tables_{false};
};

}  // namespace thermocline
