#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "loadgen/random.h"

namespace thermocline::loadgen {

/// Ranks in [0, count), rank r with a probability in proportion to 1 / (r + 1)^theta. 0 < theta < 1.
/// Source: Gray et al., "Quickly generating billion-record synthetic databases", 1994, as YCSB does it.
class Zipfian {
 public:
  Zipfian(uint64_t count, double theta);
  uint64_t Next(Random& random) const;
  /// The sum of 1 / r^theta for r in [1, count]: rank 0 has the probability 1 / zeta.
  double zeta() const { return zeta_; }

 private:
  uint64_t count_;
  double theta_, alpha_, zeta_, eta_;
};

/// Spreads ranks over the key space, so that keys that are asked for equally often are not neighbours on
/// disk. A bijection of [0, count).
uint64_t Scatter(uint64_t rank, uint64_t count);

struct PatternOptions {
  enum class Kind : uint8_t {
    kUniform,
    kZipfian,
    kHotSet,  ///< `hot_requests` of the requests go to `hot_keys` of the keys, the rest to the others
    kScan,    ///< key after key in their order, over and over
    kOnce,    ///< each key once, scattered
  };
  Kind kind = Kind::kUniform;
  uint64_t ranks = 0;      ///< how many keys are asked for
  uint64_t key_count = 0;  ///< how many there are: the ranks are scattered over them
  double theta = 0.99;
  double hot_requests = 0.9;
  double hot_keys = 0.1;
};

/// Which key comes next. Thread-safe.
class Pattern {
 public:
  /// REQUIRES: 0 < ranks <= key_count.
  explicit Pattern(const PatternOptions& options);
  /// Nothing when the pattern has come to its end.
  std::optional<uint64_t> Next(Random& random);

 private:
  uint64_t Scattered(uint64_t rank) const { return Scatter(rank, options_.key_count); }

  const PatternOptions options_;
  std::optional<Zipfian> zipfian_;
  uint64_t hot_ranks_ = 0;
  std::atomic<uint64_t> next_{0};
};

}  // namespace thermocline::loadgen
