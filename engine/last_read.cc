#include "engine/last_read.h"

#include <utility>

namespace thermocline {

namespace {

std::string& LastReadOfThread() {
  thread_local std::string path;
  return path;
}

class Readable final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  Readable(std::string path, std::unique_ptr<rocksdb::FSRandomAccessFile>&& file)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), path_(std::move(path)) {}
  rocksdb::IOStatus Read(uint64_t offset, size_t size, const rocksdb::IOOptions& options,
                         rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext* debug) const override {
    LastReadOfThread() = path_;
    return target()->Read(offset, size, options, result, scratch, debug);
  }
  rocksdb::IOStatus MultiRead(rocksdb::FSReadRequest* requests, size_t count,
                              const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    LastReadOfThread() = path_;
    return target()->MultiRead(requests, count, options, debug);
  }

 private:
  const std::string path_;
};

class RememberingFs final : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "ThermoclineLastRead"; }
  rocksdb::IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus s = target()->NewRandomAccessFile(path, options, file, debug);
    if (s.ok()) file->reset(new Readable(path, std::move(*file)));
    return s;
  }
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> RememberLastRead(std::shared_ptr<rocksdb::FileSystem> base) {
  return std::make_shared<RememberingFs>(std::move(base));
}

const std::string& LastRead() { return LastReadOfThread(); }

}  // namespace thermocline
