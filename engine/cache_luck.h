#pragma once

#include <cstdint>

namespace thermocline {

/// Whether it pays to look into RocksDB's caches on the keyspace thread before a reader thread is asked. A
/// look that finds nothing costs a fifth of what a hand-over to a reader does, so it pays while one of eight
/// is lucky. When few are, most are left out, and some are made to see whether that has changed.
class CacheLuck {
 public:
  bool ShouldLook() { return luck_ >= kLeast || ++skipped_ % kTryEach == 0; }
  void Note(bool found) { luck_ += ((found ? kOne : 0) - luck_) / kMemory; }

 private:
  static constexpr int32_t kOne = 1 << 20;
  static constexpr int32_t kLeast = kOne / 8;
  static constexpr int32_t kMemory = 64;  ///< looks, about
  static constexpr uint32_t kTryEach = 16;
  int32_t luck_ = kOne;
  uint32_t skipped_ = 0;
};

}  // namespace thermocline
