#pragma once

#include <cstdint>

namespace thermocline {

/// Resident set size of this process.
uint64_t ResidentBytes();
/// What this process may use: the least of the machine's memory, the cgroup's limits and the address space
/// limit.
uint64_t UsableMemoryBytes();

}  // namespace thermocline
