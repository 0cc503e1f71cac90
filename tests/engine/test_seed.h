#pragma once

#include <cstdint>
#include <cstdlib>

namespace thermocline {

/// The seed of a random test: `fixed`, so that every run is the same, or that of the environment variable
/// SEED. Print it with SCOPED_TRACE, and a failure can be run again alone.
inline uint64_t TestSeed(uint64_t fixed) {
  const char* given = std::getenv("SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : fixed;
}

}  // namespace thermocline
