#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "encoding/status.h"
#include "loadgen/objects.h"

namespace thermocline::loadgen {

/// How many objects of each type there are, and what they look like.
struct Population {
  uint64_t counts[kTypes] = {};
  Shape shape;
};

/// Which version of each object was sent to the server, and which it has acknowledged, in a file that is
/// mapped: it outlives the generator, so that values are checked across its runs and the server's. One write
/// of an object is on its way at a time. Then a read that was sent when version a was acknowledged, and
/// answered when version s was the last one sent, must show a version from a to s: neither a lost write nor
/// one that nobody made. Thread-safe.
class Ledger {
 public:
  /// A new file at `path`, all versions 0: no object exists.
  static Result<std::unique_ptr<Ledger>> Create(const std::string& path, const Population& population);
  static Result<std::unique_ptr<Ledger>> Open(const std::string& path);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  const Population& population() const;
  uint32_t acknowledged(Type type, uint64_t key) const {
    return entry(type, key).acknowledged.load(std::memory_order_acquire);
  }
  uint32_t sent(Type type, uint64_t key) const {
    return entry(type, key).sent.load(std::memory_order_acquire);
  }
  /// The version to write, or 0 if a write is on its way already, or has failed so that nobody knows its
  /// outcome.
  uint32_t BeginWrite(Type type, uint64_t key) {
    Entry& e = entry(type, key);
    uint32_t version = e.acknowledged.load(std::memory_order_acquire);
    return e.sent.compare_exchange_strong(version, version + 1, std::memory_order_acq_rel) ? version + 1 : 0;
  }
  void EndWrite(Type type, uint64_t key, uint32_t version) {
    entry(type, key).acknowledged.store(version, std::memory_order_release);
  }

 private:
  struct Header;
  struct Entry {
    std::atomic<uint32_t> sent;
    std::atomic<uint32_t> acknowledged;
  };
  static_assert(sizeof(Entry) == 8);

  static Result<std::unique_ptr<Ledger>> Map(int fd, uint64_t bytes);
  Ledger(void* memory, uint64_t bytes);
  Entry& entry(Type type, uint64_t key) const { return first_[static_cast<int>(type)][key]; }

  void* memory_;
  uint64_t bytes_;
  Entry* first_[kTypes] = {};
};

}  // namespace thermocline::loadgen
