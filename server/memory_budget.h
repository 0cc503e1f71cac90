#pragma once

#include <algorithm>
#include <cstdint>

namespace thermocline {

/// Keeps the process within what its options promise. The hot tier counts its own bytes; what clients'
/// buffers, scratch and the allocator's half-empty pages take beyond the plan is measured, some times a
/// second, and taken from the hot tier's share until the whole fits again. (For demotion only: it loses
/// nothing.)
class MemoryBudget {
 public:
  /// What the process needs with nothing in it: code, RocksDB's own structures, stacks.
  static constexpr uint64_t kFixedBytes = 48ull << 20;
  /// Of the memory that there is: what the sizes we choose leave free, for a process that takes more than
  /// promised until the hot tier has made room, and for pages of files.
  static constexpr uint64_t kSparePercent = 15;

  /// How much the hot tier may take from now on, of its `maxmemory`, when the process takes `taken` of the
  /// `promised` bytes. No less than a quarter of maxmemory, however large the rest has grown.
  uint64_t HotBytesMax(uint64_t maxmemory, uint64_t promised, uint64_t taken) {
    // In steps, since pages become free some time after what was in them.
    if (taken > promised) {
      cut_ += (taken - promised) / 4;
    } else {
      cut_ -= std::min(cut_, (promised - taken) / 8);
    }
    cut_ = std::min(cut_, maxmemory / 4 * 3);
    return maxmemory - cut_;
  }
  /// What it has taken away at present.
  uint64_t cut() const { return cut_; }
  void Reset() { cut_ = 0; }

 private:
  uint64_t cut_ = 0;
};

}  // namespace thermocline
