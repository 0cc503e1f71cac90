#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace thermocline {

/// How long the calls of one command took: counts per bucket, exact up to 131 us, in steps of under one
/// percent from there to one second; what took longer counts as one second. The buckets, and what is read out
/// of them, are those of the HDR histogram in which Redis 7.0 keeps nanoseconds with two digits, so that
/// LATENCY HISTOGRAM and INFO latencystats give the same numbers for the same durations. (Redis can ask its
/// histogram for nanoseconds; a call is measured in microseconds in both servers, and those alone are kept
/// here.) 14 KiB, whatever is recorded. Threads: none.
/// Source: hdrhistogram.org; redis.io/commands/latency-histogram.
class LatencyHistogram {
 public:
  /// A few nanoseconds: one increment.
  void Record(uint64_t us) {
    ++calls_;
    ++counts_[Bucket(us)];
  }
  uint64_t calls() const { return calls_; }

  /// The duration that `percentile` (0 to 100) of the calls did not exceed; 0 gives the shortest one. As in
  /// Redis it is the end of a bucket, so that 2 us are told as 2.007.
  double PercentileUs(double percentile) const;

  /// One line of a cumulative distribution: `calls` took up to `us`.
  struct Step {
    uint64_t us;
    uint64_t calls;
    bool operator==(const Step&) const = default;
  };
  /// Steps at powers of two of 1024 ns, without those that add nothing.
  std::vector<Step> Cumulative() const;

 private:
  static constexpr uint64_t kExactUs = 132;  ///< 131 us are the last below 2^17 ns
  static constexpr uint64_t kLongestUs = 1'000'000;
  static constexpr int kFirstOctave = 17, kLastOctave = 29;  ///< of nanoseconds; the last holds one second
  static constexpr int kDigits = 7;                          ///< 128 buckets per octave
  static constexpr size_t kBuckets =
      kExactUs + static_cast<size_t>(kLastOctave - kFirstOctave + 1) * (1 << kDigits);

  /// The nanoseconds that fall into one bucket of Redis's histogram.
  struct Range {
    uint64_t low, high;
  };
  static Range RangeAround(uint64_t ns);
  static Range RangeOf(size_t bucket);
  static size_t Bucket(uint64_t us) { return us < kExactUs ? us : LongBucket(us); }
  static size_t LongBucket(uint64_t us);

  uint64_t calls_ = 0;
  std::array<uint64_t, kBuckets> counts_{};
};

/// "99.9": up to six decimals, without zeros at the end.
std::string PercentileName(double percentile);

}  // namespace thermocline
