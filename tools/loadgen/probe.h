#pragma once

#include <cstdint>
#include <string>

#include "encoding/status.h"
#include "loadgen/histogram.h"

namespace thermocline::loadgen {

struct ProbeOptions {
  std::string path;  ///< a file, or a folder whose files (and those of its folders) are read
  uint32_t threads = 8;
  uint32_t read_bytes = 8192;  ///< a multiple of the device's block
  double seconds = 3;
  uint64_t seed = 1;
};

struct ProbeResult {
  Histogram latencies;
  double seconds = 0;
};

/// Reads blocks at random places with as many threads as told, past the system's cache (O_DIRECT): what the
/// disk can do. Blocking. kIoError: a read failed, or there is nothing to read.
Result<ProbeResult> RunProbe(const ProbeOptions& options);

}  // namespace thermocline::loadgen
