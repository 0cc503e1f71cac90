#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace thermocline::loadgen {

/// Counts of durations in log-linear buckets: exact below 256 ns, then 128 buckets for each doubling, so that
/// what is read out is less than 1% too long. Durations above four hours count as four hours. 38 KiB.
/// Threads: none; give each its own and merge. Source: the layout of hdrhistogram.org.
class Histogram {
 public:
  void Record(uint64_t ns) {
    ns = std::min(ns, kLongestNs);
    ++counts_[Bucket(ns)];
    ++count_;
    max_ns_ = std::max(max_ns_, ns);
  }

  void Merge(const Histogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    max_ns_ = std::max(max_ns_, other.max_ns_);
  }

  uint64_t count() const { return count_; }
  uint64_t max_ns() const { return max_ns_; }

  /// The duration that `percentile` (0 to 100) of all did not exceed: the end of its bucket. 0 if there is
  /// none.
  uint64_t PercentileNs(double percentile) const {
    const double wanted = percentile / 100 * static_cast<double>(count_);
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > 0 && static_cast<double>(seen) >= wanted) return std::min(BucketEnd(i), max_ns_);
    }
    return 0;
  }

 private:
  static constexpr int kDigits = 7;
  static constexpr size_t kPerOctave = size_t{1} << kDigits;
  static constexpr int kOctaves = 44 - kDigits - 1;
  static constexpr uint64_t kLongestNs = (uint64_t{1} << 44) - 1;

  static size_t Bucket(uint64_t ns) {
    const int shift = std::max(0, static_cast<int>(std::bit_width(ns)) - kDigits - 1);
    return static_cast<size_t>(shift) * kPerOctave + static_cast<size_t>(ns >> shift);
  }
  static uint64_t BucketEnd(size_t bucket) {
    const size_t shift = bucket < 2 * kPerOctave ? 0 : bucket / kPerOctave - 1;
    return ((bucket - shift * kPerOctave + 1) << shift) - 1;
  }

  std::array<uint64_t, (kOctaves + 2) * kPerOctave> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ns_ = 0;
};

}  // namespace thermocline::loadgen
