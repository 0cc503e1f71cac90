#pragma once

#include <cstdint>

namespace thermocline {

/// When an acknowledged write is on the platter: once a second, before its reply leaves, or when the system
/// likes. Redis's appendfsync.
enum class SyncMode : uint8_t { kEverySecond, kAlways, kNo };

}  // namespace thermocline
