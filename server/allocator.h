#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

namespace thermocline {

/// What the allocator knows of the process's memory. All zero where it is not jemalloc (sanitizer builds).
struct AllocatorNumbers {
  uint64_t allocated_bytes = 0;  ///< given out
  uint64_t active_bytes = 0;     ///< of pages with something in them
  uint64_t resident_bytes = 0;   ///< of pages that the system has backed with RAM
  uint64_t metadata_bytes = 0;   ///< of the allocator's own pages
  /// Of pages that nothing is in, and that go back to the system soon.
  uint64_t free_bytes() const {
    return resident_bytes - std::min(resident_bytes, active_bytes + metadata_bytes);
  }
};
AllocatorNumbers ReadAllocator();

/// "jemalloc-5.3.0" or "libc".
std::string AllocatorName();
/// Gives pages that nothing is in back to the system.
void PurgeAllocator();
/// The allocator's own report, for people; empty where there is none.
std::string AllocatorReport();

}  // namespace thermocline
